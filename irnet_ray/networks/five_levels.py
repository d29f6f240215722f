"""The interface of a backbone's network: an image in, five levels of features out (paper 3 and 4.1).

The last stride is 1 instead of 2, so levels 4 and 5 share a resolution, and class attention maps are 1/16 of the image.
Batch normalization keeps its ImageNet statistics in training too: the small batches of a labeling run would estimate
worse ones.

Shape suffixes: B images, C channels, H W pixels.
"""

from __future__ import annotations

from torch import Tensor, nn

STRIDES = (4, 4, 8, 16, 16)


class FiveLevels(nn.Module):
    """A network without its classifier. A backbone derives from it and sets `channels`, those of the five levels."""

    channels: tuple[int, ...]

    def forward(self, image_B3HW: Tensor) -> list[Tensor]:
        """Float (B, 3, H, W) in 0..255 to the five levels, each (B, C, ceil(H / stride), ceil(W / stride)).

        The network normalizes the image itself.
        """
        raise NotImplementedError

    def low_levels(self) -> list[nn.Module]:
        """The modules of levels 1 and 2, which hold generic edges and colours."""
        raise NotImplementedError
