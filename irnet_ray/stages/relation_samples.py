"""Samples for learning inter-pixel relations: crops of images with their confident maps (paper 4.2)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import torch

from irnet_ray.algorithms.maps import UNSURE
from irnet_ray.config.load import Config
from irnet_ray.engine.task import Batch
from irnet_ray.inputs.decode import ImageError
from irnet_ray.masks import decode_png
from irnet_ray.runs.shards import Shards
from irnet_ray.stages.images import GREY, crop, load_image, random_corner, resize, resize_map


class RelationSamples:
    """The images that have seeds, and their confident maps."""

    def __init__(self, config: Config, images: Shards, seeds: Shards) -> None:
        self.max_side, self.window, self.rescale = config.max_side, config.window, config.irnet.rescale
        uris: dict[str, str] = {}
        maps = []
        for name in seeds.rows.files():
            table = images.rows.read_table(name, columns=["image_id", "uri"])
            uris.update(zip(table["image_id"].to_pylist(), table["uri"].to_pylist(), strict=True))
            maps.append(seeds.rows.read_table(name, columns=["image_id", "confident_map"]))
        table = pa.concat_tables(maps)
        self.maps = table["confident_map"]
        self.uris = pa.array([uris[image_id] for image_id in table["image_id"].to_pylist()], pa.string())

    def __len__(self) -> int:
        return len(self.maps)

    def sample(self, index: int, rng: np.random.Generator, side: int, stride: int) -> Batch:
        """A rescaled, mirrored and cropped image, uint8 (3, side, side), with its class map at `stride`.

        `side` must be a multiple of `stride`. So is the corner of the crop, so that the map's pixels stay on the
        image's grid.
        """
        image, class_map = self.pair(index)
        scale = rng.uniform(*self.rescale)
        size = tuple(max(1, round(n * scale)) for n in class_map.shape)
        image, class_map = resize(image, size), resize_map(class_map, size)
        if rng.random() < 0.5:
            image, class_map = image[:, ::-1], class_map[:, ::-1]
        top, left = (n // stride * stride for n in random_corner(size, side, rng))
        image = crop(image, top, left, side, GREY)
        class_map = crop(class_map, top, left, side, UNSURE)[stride // 2 :: stride, stride // 2 :: stride]
        return {
            "image": torch.from_numpy(image.transpose(2, 0, 1).copy()),
            "class_map": torch.from_numpy(class_map.copy()),
        }

    def pair(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """An image at working size, uint8 (H, W, 3), and its confident map, uint8 (H, W).

        All images were readable when their seeds were made. The next image replaces one that is gone since then.

        Raises:
            RuntimeError: all images are gone.
        """
        for offset in range(len(self)):
            row = (index + offset) % len(self)
            class_map = decode_png(self.maps[row].as_py())
            try:
                image = load_image(self.uris[row].as_py(), self.max_side, self.window)
            except ImageError:
                continue
            if image.shape[:2] == class_map.shape:
                return image, class_map
        raise RuntimeError("None of the images with seeds can be decoded.")
