"""Bring a big Hub model through a line that breaks, know what is there, and load it."""

__version__ = "0.1.0"
