"""The plan over a few small scenes that tests of stages use too."""

from tests.stages.conftest import make_plan, plan, scenes

__all__ = ["make_plan", "plan", "scenes"]
