"""Captions of an image and where its bytes are, one file a format."""
