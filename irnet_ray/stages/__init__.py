"""One file per stage: what to do with one image (map) or in one worker (train)."""
