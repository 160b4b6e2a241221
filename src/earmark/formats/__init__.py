"""Formats of other systems and of our own, each read and written by one module."""
