"""The version of Earmark."""

__version__ = "0.1.0"
