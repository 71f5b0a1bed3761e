"""rapgen: a line of text in, a rap instrumental out."""

__version__ = "0.1.0"
