"""Weights in files: what they hold, what they answer for."""
