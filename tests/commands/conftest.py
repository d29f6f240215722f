"""A plan over a few small scenes, shared with the tests of stages, and a start of Ray that raises."""

from tests.no_ray import no_ray
from tests.stages.conftest import make_plan, plan, scenes

__all__ = ["make_plan", "no_ray", "plan", "scenes"]
