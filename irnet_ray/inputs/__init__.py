"""Reads images with tags, in any of the formats of `formats.py`, into the images table."""
