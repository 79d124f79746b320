"""Worked recipes: each is a program of the commands a user would type."""
