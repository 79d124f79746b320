"""The data half: from a name on the web to a tar file that a trainer reads."""

__version__ = "0.1.0"
