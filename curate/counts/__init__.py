"""Data and what its captions say: which images show which words."""
