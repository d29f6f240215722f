"""IRNet on Ray: image-level tags in, instance masks out."""

from typing import Any

__version__ = "0.5.4"
__all__ = ["calibrate", "evaluate", "export", "label", "predict", "relabel", "show", "train"]


def __getattr__(name: str) -> Any:
    # Late, so that `irnet-ray --help` waits for neither torch nor Ray.
    if name == "calibrate":
        from irnet_ray.calibration import calibrate

        return calibrate
    if name == "export":
        from irnet_ray.exporting import export

        return export
    if name == "relabel":
        from irnet_ray.relabeling import relabel

        return relabel
    if name == "show":
        from irnet_ray.pictures import show

        return show
    if name in ("predict", "train"):
        from irnet_ray import students

        return getattr(students, name)
    if name in __all__:
        from irnet_ray import api

        return getattr(api, name)
    raise AttributeError(f"module 'irnet_ray' has no attribute {name!r}")
