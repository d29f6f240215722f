"""Constants of the maps of one image. This module imports nothing: processes without torch read it too."""

STRIDE = 4  # pixels of the image per cell of the attention, of IRNet's answer and of the random walk's grid
UNSURE = 255  # in a class map: neither a class nor background
MAX_TAGS = 254  # of an image: class maps are uint8, where 0 is background and 255 is unsure
