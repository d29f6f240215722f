"""A package, so that pytest ends the Ray which these tests share before others start their own."""
