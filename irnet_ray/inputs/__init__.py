"""Anything with tags becomes the images table: folders of photos, and the generated default scenes."""
