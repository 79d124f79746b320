"""Decode safely, measure, hash, find copies."""
