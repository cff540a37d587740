"""GPUs as data: how they can be cut, what their parts are called in a cluster, and how nodes with them are marked."""

from kserve_ext.policy.gpu.mig import MODELS, GpuModel, MigProfile, find_model

__all__ = ["MODELS", "GpuModel", "MigProfile", "find_model"]
