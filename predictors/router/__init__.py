"""A KServe transformer that spreads requests over the pods of its predictor by latency and load."""

from predictors.router.transformer import Router

__all__ = ["Router"]
