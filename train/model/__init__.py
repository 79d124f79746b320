"""What is trained: networks, the formulas of diffusion, EMAs of weights, optimisers."""
