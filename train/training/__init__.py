"""A run: what it costs, the loop, what is kept of it."""
