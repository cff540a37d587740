"""Deterministic simulation of what serves a request; today Triton's dynamic batcher."""
