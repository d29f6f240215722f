"""The paper's method as pure functions on tensors: no files, no Ray, no configuration objects."""
