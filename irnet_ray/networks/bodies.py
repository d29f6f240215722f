"""The body of a backbone: built, and loaded with ImageNet weights."""

from __future__ import annotations

from torch import Tensor, nn

from irnet_ray.networks.backbone import Backbone, UnknownBackboneError
from irnet_ray.networks.body import Body
from irnet_ray.networks.weights import check_state


def build_body(backbone: Backbone, output_stride: int = 32) -> Body:
    """The untrained body of a backbone; strides over `output_stride` (8, 16 or 32) are replaced by dilation.

    Raises:
        ValueError: there is no such network, it gives no levels, or it cannot be dilated.
        ModuleNotFoundError: a network of timm without the extra `lite`.
    """
    try:
        body = backbone.body(output_stride)
    except (ModuleNotFoundError, UnknownBackboneError):
        raise
    except Exception as error:
        raise ValueError(
            f"The network {backbone.name} gives no levels of features at strides up to {output_stride} "
            f"({type(error).__name__}: {error}): choose a convolutional one."
        ) from error
    if not body.strides or body.strides[-1] != output_stride:
        raise ValueError(
            f"The network {backbone.name} gives levels of strides {body.strides}, expected up to {output_stride}."
        )
    return body


def load_body(body: nn.Module, state: dict[str, Tensor], source: str = "The given state") -> None:
    """Load ImageNet weights into a body (or the backbone of a segmentation network), without their head.

    Args:
        body: the network.
        state: of `weights.imagenet_state`.
        source: where the weights come from, for errors.

    Raises:
        ValueError: the weights are of another network; says which tensor differs.
    """
    network = body.network if isinstance(body, Body) else body
    own = network.state_dict()
    # Where timm takes levels out of a network, it flattens "stages.0" to "stages_0". Torchvision's segmentation
    # networks hold what its classification networks call `features`.
    plain = {_plain(key): tensor for key, tensor in state.items()}
    named = {key: plain[_plain(key)] for key in own if _plain(key) in plain}
    # Older files do not count batches, and a frozen batch normalization does not need the count.
    uncounted = {key: tensor for key, tensor in own.items() if key.endswith("num_batches_tracked")}
    named = uncounted | named
    check_state(own, named, source)
    network.load_state_dict(named)


def _plain(key: str) -> str:
    return key.removeprefix("features.").replace(".", "_")
