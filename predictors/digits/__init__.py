"""Handwritten digits on onnxruntime: 64 pixels in, ten scores and a label out."""

from predictors.digits.predictor import Digits

__all__ = ["Digits"]
