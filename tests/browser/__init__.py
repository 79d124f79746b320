"""Checks of the coverage page in a real browser: `python -m tests.browser`."""
