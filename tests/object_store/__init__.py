"""A package, so that pytest stops the Ray of these tests before other tests start theirs."""
