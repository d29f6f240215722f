"""Which pairs of pixels the losses sum over, and the kind of each pair (paper 4.2; Eq. 2 to 4).

Shape legend: B images; H, W pixels of a class map.
"""

import torch
from torch import Tensor

from irnet_ray.algorithms.affinity import Offset
from irnet_ray.algorithms.maps import UNSURE

# Kinds of pairs. A pair with an unsure end is ignored by every loss.
BACKGROUND, FOREGROUND, NEGATIVE, IGNORED = range(4)

Window = tuple[slice, slice]


def sources(radius: int, height: int, width: int) -> Window:
    """Rows and columns of the first pixels of all pairs: their whole half disc of ``radius`` lies in the image.

    They are the same for every offset. An image smaller than the half disc has none.
    """
    rows, columns, left = max(height - radius + 1, 0), max(width - 2 * radius + 2, 0), radius - 1
    return slice(0, rows), slice(left, left + columns)


def shifted(window: Window, offset: Offset) -> Window:
    """The window moved by an offset (dy, dx): from the sources to the other ends of their pairs."""
    (rows, columns), (dy, dx) = window, offset
    return slice(rows.start + dy, rows.stop + dy), slice(columns.start + dx, columns.stop + dx)


def kinds(class_map: Tensor) -> tuple[Tensor, Tensor]:
    """Kind of a pixel's pairs with pixels of its own class, and of its pairs with pixels of other classes.

    class_map: uint8 (B, H, W), 0 background, 1..K the image's tags, 255 unsure. Returns two int32 (B, H, W). The
    kind of a pair of different classes is the larger value of its two ends.
    """
    same = torch.full_like(class_map, FOREGROUND, dtype=torch.int32)
    same[class_map == 0] = BACKGROUND
    same[class_map == UNSURE] = IGNORED
    return same, same.clamp(min=NEGATIVE)
