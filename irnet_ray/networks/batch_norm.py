"""What frozen batch normalization allows: keep its statistics, keep its parameters, fold it into convolutions."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def freeze_statistics(module: nn.Module) -> None:
    """Put every batch normalization below `module` in evaluation mode, whatever the module's own mode."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.eval()


def freeze_parameters(module: nn.Module) -> None:
    """Keep the scale and the offset of every batch normalization below `module` from learning."""
    for child in module.modules():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            child.requires_grad_(False)


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """Fold each frozen batch normalization into the convolution before it, in place; same outputs, fewer passes.

    This holds for modules that declare their children in the order of their use, as torchvision's and timm's do.
    """
    children = list(module.named_children())
    for (name, child), (next_name, following) in zip(children, children[1:], strict=False):
        if isinstance(child, nn.Conv2d) and isinstance(following, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(child, following))
            # timm's normalization layers carry the activation that follows them.
            setattr(module, next_name, getattr(following, "act", nn.Identity()))
    for _, child in children:
        fold_batch_norm(child)
    return module
