"""A custom predictor as a model of a Triton repository: the same class, the same answers, on the other server."""
