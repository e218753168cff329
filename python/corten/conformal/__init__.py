"""Predictions with a coverage that holds for any model: intervals and sets calibrated on rows of their own."""

from ._classifier import SplitConformalClassifier
from ._regressor import ConformalizedQuantileRegressor, SplitConformalRegressor

__all__ = ["ConformalizedQuantileRegressor", "SplitConformalClassifier", "SplitConformalRegressor"]
