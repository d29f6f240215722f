"""One local Ray for all tests here that need it. Their calls find it and leave it running."""

from tests.engine.conftest import devices as devices
