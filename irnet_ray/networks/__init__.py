"""Torch modules: backbones, the classifier, IRNet, students. They read weights files and no others; no Ray."""
