"""Image-text models: one wrapper of open_clip, and search with it."""
