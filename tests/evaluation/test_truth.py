import json

import numpy as np
import pytest
from pycocotools import mask as coco

from irnet_ray.errors import UserError
from irnet_ray.evaluation.average_precision import TruthInstance
from irnet_ray.evaluation.truth import load_truth, semantic_map

SQUARE = np.zeros((4, 6), np.uint8, order="F")
SQUARE[1:3, 2:5] = 1
COUNTS = [9, 2, 2, 2, 2, 2, 5]  # column by column: zeros first
SEGMENTATIONS = {
    "compressed": {"size": [4, 6], "counts": coco.encode(SQUARE)["counts"].decode()},
    "uncompressed": {"size": [4, 6], "counts": COUNTS},
    "polygon": [[2, 1, 5, 1, 5, 3, 2, 3]],
}


def document(**changes):
    made = {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 4, "width": 6}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 3,
                "iscrowd": 0,
                "segmentation": SEGMENTATIONS["uncompressed"],
            }
        ],
        "categories": [{"id": 3, "name": "dog"}, {"id": 1, "name": "cat"}],
    }
    return made | changes


def write(tmp_path, made):
    path = tmp_path / "truth.json"
    path.write_text(made if isinstance(made, str) else json.dumps(made))
    return path


@pytest.mark.parametrize("segmentation", SEGMENTATIONS.values(), ids=SEGMENTATIONS)
def test_every_segmentation(tmp_path, segmentation):
    made = document()
    made["annotations"][0]["segmentation"] = segmentation
    truth = load_truth(write(tmp_path, made))
    (instance,) = truth.images["a.jpg"].instances
    assert (instance.image_id, instance.class_name, instance.crowd) == ("a.jpg", "dog", False)
    assert np.array_equal(coco.decode(instance.rle), SQUARE)


def test_images_without_instances_stay(tmp_path):
    truth = load_truth(write(tmp_path, document(annotations=[])))
    assert truth.images["a.jpg"].instances == []
    assert (truth.images["a.jpg"].height, truth.images["a.jpg"].width) == (4, 6)


def annotation(**changes):
    return {"annotations": [document()["annotations"][0] | changes]}


IMAGE = document()["images"][0]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must hold the lists"),
        (document(images={}), "must hold the lists"),
        (document(images=[]), "lists no images"),
        (document(images=[{"id": 7, "file_name": "a.jpg", "height": 4}]), "image a.jpg has no width"),
        (document(images=[IMAGE, IMAGE]), "a.jpg shares its id or file name"),
        (document(categories=[{"id": 3}]), "category has no name"),
        (document(categories=[{"id": 3, "name": "dog"}, {"id": 4, "name": "dog"}]), "share an id or a name"),
        (document(**annotation(category_id=9)), "annotation 1 names image 7 and category 9"),
        (document(**annotation(image_id=9)), "annotation 1 names image 9"),
        (document(annotations=[5]), "annotation 0 has no image_id"),
        (document(**annotation(segmentation=None)), "annotation 1 has no segmentation"),
        (document(**annotation(segmentation=[[1, 2]])), "annotation 1 has no segmentation"),
        (document(**annotation(segmentation={"size": [6, 4], "counts": COUNTS})), r"size \[6, 4\].*\[4, 6\]"),
        (
            document(**annotation(segmentation={"size": [4, 6], "counts": [1]})),
            "annotation 1 has no segmentation",
        ),
    ],
)
def test_what_is_no_truth(tmp_path, made, message):
    path = write(tmp_path, made)
    with pytest.raises(UserError, match=message) as caught:
        load_truth(path)
    assert str(path) in str(caught.value)


def test_no_such_file(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_truth(tmp_path / "gone.json")
    with pytest.raises(UserError, match="cannot be read"):
        load_truth(tmp_path)


def instance(name, top, bottom, crowd=False):
    mask = np.zeros((6, 2), np.uint8, order="F")
    mask[top:bottom] = 1
    return TruthInstance("a", name, coco.encode(mask), crowd)


def test_semantic_map_draws_the_larger_first_and_crowds_below_all():
    made = semantic_map(
        [instance("cat", 2, 4), instance("dog", 1, 4), instance("dog", 3, 6, crowd=True)],
        {"cat": 1, "dog": 2},
        (6, 2),
    )
    assert np.array_equal(made[:, 0], [0, 2, 1, 1, -1, -1])
    assert np.array_equal(made[:, 0], made[:, 1])


def test_semantic_map_refuses_what_does_not_decode():
    with pytest.raises(UserError, match="truth of a has a mask that is not RLE"):
        semantic_map([TruthInstance("a", "cat", {"size": [6, 2], "counts": b"9999"})], {"cat": 1}, (6, 2))
