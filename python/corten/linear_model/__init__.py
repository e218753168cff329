"""Linear models: a weighted sum of the columns, and what follows from it."""

from ._linear_regression import LinearRegression
from ._logistic_regression import LogisticRegression
from ._ridge import Ridge

__all__ = ["LinearRegression", "LogisticRegression", "Ridge"]
