"""A run directory, on a disk or in an object store."""
