"""Models that see images: one wrapper of open_clip, search with it, and encoders of images."""
