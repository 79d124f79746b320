"""Prompt files as people write them, taken apart into what they ask for."""
