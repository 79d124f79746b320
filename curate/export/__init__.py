"""Datasets as other trainers read them: images, captions, settings and credits in one folder."""
