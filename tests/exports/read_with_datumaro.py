"""A program for datumaro's own environment: writes what datumaro reads of an export to a file of masks.

    python read_with_datumaro.py FORMAT FOLDER OUT.npz

Keys of the file are JSON lists: id of the item, its split, class, "box" or "mask", and the number of the annotation. A
value is the box (x, y, width, height) or the bool (H, W) mask. An item has one more entry, without a class: its image.
"""

import json
import sys

import numpy as np
from datumaro.components.annotation import AnnotationType
from datumaro.components.dataset import Dataset
from PIL import Image, ImageDraw


def mask_of(annotation, size):
    """Bool (H, W), of datumaro's mask or polygon."""
    if annotation.type == AnnotationType.mask:
        return np.asarray(annotation.image, dtype=bool)
    canvas = Image.new("1", size[::-1])
    ImageDraw.Draw(canvas).polygon([*map(round, annotation.points)], fill=1, outline=1)
    return np.asarray(canvas)


format, folder, out = sys.argv[1:]
options = {"coordinate_mode": "voc-one-based"} if format == "voc" else {}
data = Dataset.import_from(folder, format, **options)
names = [label.name for label in data.categories()[AnnotationType.label]]
found = {}
for item in data:
    pixels = item.media.data if item.media is not None and format != "coco" else np.zeros(0)
    found[json.dumps([item.id, item.subset, None, "image", 0])] = np.asarray(pixels)
    for number, annotation in enumerate(item.annotations):
        if annotation.type == AnnotationType.bbox:
            value, kind = np.array(annotation.get_bbox()), "box"
        else:
            value, kind = mask_of(annotation, pixels.shape[:2]), "mask"
        found[json.dumps([item.id, item.subset, names[annotation.label], kind, number])] = value
print(len(data), "items", names)
np.savez(out, **found)
