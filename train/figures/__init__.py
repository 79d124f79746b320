"""Images that are looked at: grids of samples, curves, lettering."""
