"""The backbones by the name that the config gives: how each is built, where its weights lie, what suits it.

Adding one takes a row here, and its network in a module of its own. Importing this module does not import torch:
config files and `--help` need only names and defaults.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from irnet_ray.networks.backbone import Backbone, UnknownBackboneError

if TYPE_CHECKING:
    from torch import Tensor

    from irnet_ray.networks.body import Body
    from irnet_ray.networks.five_levels import FiveLevels


def find_backbone(name: str) -> Backbone:
    """A row of `BACKBONES`, or for any other name a network of torchvision or timm, which only students can use.

    This imports no library. So a name that no library knows fails only when something is built, with an
    `UnknownBackboneError`.
    """
    if name in BACKBONES:
        return BACKBONES[name]
    return Backbone(name, partial(_no_network, name), partial(_library_body, name), partial(_library_weights, name))


def _no_network(name: str) -> FiveLevels:
    raise UnknownBackboneError(f"Unknown backbone {name!r}: choose one of {', '.join(BACKBONES)}.")


def _library_body(name: str, output_stride: int) -> Body:
    from irnet_ray.networks.library import library_body

    try:
        return library_body(name, output_stride)
    except UnknownBackboneError as error:
        raise _unknown(name) from error


def _library_weights(name: str) -> dict[str, Tensor]:
    from irnet_ray.networks.library import library_weights

    try:
        return library_weights(name)
    except UnknownBackboneError as error:
        raise _unknown(name) from error


def _unknown(name: str) -> UnknownBackboneError:
    return UnknownBackboneError(
        f"Unknown backbone {name!r}: give {', '.join(BACKBONES)}, a name of "
        "torchvision.models.list_models(module=torchvision.models), or one of timm.list_models() (extra `lite`)."
    )


def _resnet50() -> FiveLevels:
    from irnet_ray.networks.resnet50 import ResNet50

    return ResNet50()


def _resnet50_body(output_stride: int) -> Body:
    return _library_body("resnet50", output_stride)


def _resnet50_weights() -> dict[str, Tensor]:
    from irnet_ray.networks.resnet50 import weights_path
    from irnet_ray.networks.weights import read_state

    return read_state(weights_path())


def _lite0() -> FiveLevels:
    from irnet_ray.networks.lite0 import Lite0

    return Lite0()


def _lite0_body(output_stride: int) -> Body:
    from irnet_ray.networks.lite0 import student_body

    return student_body(output_stride)


def _lite0_weights() -> dict[str, Tensor]:
    from irnet_ray.networks.lite0 import weights_path
    from irnet_ray.networks.weights import read_state

    return read_state(weights_path())


def _lite0_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    from irnet_ray.networks.lite0 import timm_names

    return timm_names(state)


# Half-size crops, so that a processor can train. The scales are smaller with them: the displacement field learns at the
# borders of objects, and a small crop of a large object shows too little of them.
_LITE0_DEFAULTS: dict[str, Any] = {
    "classifier": {"crop": 320, "resize": [288, 480], "batch_size": 16},
    "irnet": {"crop": 256, "rescale": [0.25, 1.25], "batch_size": 8, "min_iterations": 1000, "mean_images": 256},
    "affinitynet": {"min_iterations": 500},
    "mask_rcnn": {
        "epochs": 5,
        "min_iterations": 200,
        "batch_size": 8,
        "rate": 0.01,
        "sides": [192, 224],
        "max_side": 320,
        "proposals": "small",
    },
    # The body learns at a tenth of the published rate: at the full one it memorizes a few hundred images.
    "deeplab": {
        "epochs": 2,
        "min_iterations": 200,
        "batch_size": 8,
        "rate": 2.5e-5,
        "head_factor": 100.0,
        "crop": 512,
        "rescale": [0.75, 1.25],
        "scales": [0.75, 1.0, 1.25],
    },
}


BACKBONES = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            "resnet50",
            _resnet50,
            _resnet50_body,
            _resnet50_weights,
            head="fc.weight",
            says="the paper's",
            # As published: its levels end in an activation, and are well scaled.
            normalize_levels=False,
        ),
        Backbone(
            "lite0",
            _lite0,
            _lite0_body,
            _lite0_weights,
            rename=_lite0_names,
            head="classifier.weight",
            says="for laptops",
            defaults=_LITE0_DEFAULTS,
            # At the published 8, DeepLab takes three and a half times the arithmetic.
            deeplab_stride=16,
            # Its levels end in no activation and have deviations of up to 10. Without normalization, Mask R-CNN's
            # losses start in the tens and grow, and DeepLab's rises fourfold before it falls.
            normalize_levels=True,
        ),
    )
}
