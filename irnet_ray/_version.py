"""The version of this package, where everything may import it."""

__version__ = "0.6.0"
