"""Labels brought up to date with a folder that changes: what a nightly job calls."""

from irnet_ray.relabeling.night import RelabelResult, relabel

__all__ = ["RelabelResult", "relabel"]
