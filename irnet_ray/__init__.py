"""IRNet on Ray: image-level tags in, instance masks out."""

from importlib import import_module
from typing import Any

from irnet_ray._version import __version__ as __version__

# The commands as Python functions, and the module of `irnet_ray.commands` that each is in.
_MODULES = {
    "calibrate": "calibrate",
    "evaluate": "evaluate",
    "export": "export",
    "label": "label",
    "predict": "predict",
    "relabel": "relabel",
    "show": "show",
    "train": "train",
}
__all__ = list(_MODULES)


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `irnet-ray --help` waits for neither torch nor Ray.
    if name in _MODULES:
        return getattr(import_module(f"irnet_ray.commands.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'irnet_ray' has no attribute {name!r}")
