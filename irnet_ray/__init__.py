"""IRNet on Ray: image-level tags in, instance masks out."""

__version__ = "0.1.0"
