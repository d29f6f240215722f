"""Torch modules: backbones with five levels, the classifier, IRNet. No files but weights, no Ray."""
