"""What learns: networks, the formulas of diffusion, averages of weights, optimisers."""
