"""Sentence vectors: text in, 384 numbers of unit length out."""

from predictors.embed.predictor import Embed

__all__ = ["Embed"]
