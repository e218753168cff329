"""What conformal predictors share: a fit, a calibration on other rows, one model."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from .. import _core, _inputs
from .._base import Savable
from .._inputs import Input
from .._params import Parameters, clone
from .._parts import model_of
from ..ensemble._members import member
from ..exceptions import ParameterError, not_fitted


class Split(Savable, Parameters):
    """Fits estimators on some rows and conformalizes them on others."""

    estimator: Any
    confidence_level: float
    prefit: bool
    n_features_in_: int
    feature_names_in_: np.ndarray
    quantile_: float

    def _check_level(self) -> float:
        level = self.confidence_level
        if isinstance(level, (bool, str)) or not isinstance(level, (int, float, np.number)) or not 0 < level < 1:
            raise ParameterError(
                f"The 'confidence_level' parameter must be a float between 0 and 1. Got {level!r} instead."
            )
        return float(level)

    def _fit_each(self, estimators: list[Any], X: Any, y: Any, params: dict[str, Any]) -> Self:
        self._check_level()
        if self.prefit:
            raise ParameterError("The 'prefit' parameter must be False for 'fit' to be called. Got True instead.")
        self._model = None
        self._estimators = [clone(e).fit(X, y, **params) for e in estimators]
        self._started = True
        return self

    def _ready(self) -> list[Any]:
        """The fitted estimators."""
        if self.prefit:
            given = self._given()
            for one in given:
                if hasattr(one, "__sklearn_is_fitted__") and not one.__sklearn_is_fitted__():
                    raise not_fitted(one)
            return given
        if not getattr(self, "_started", False):
            raise not_fitted(self)
        return self._estimators

    def _given(self) -> list[Any]:
        raise NotImplementedError

    def _rows(self, X: Any, model: Any) -> Input:
        """Rows that an estimator checks against those of its fit."""
        if hasattr(model, "_read"):
            found: Input = model._read(X, reset=False)
            return found
        return _inputs.read(X, type(self).__name__, text=True)

    def _calibrate(self, scores: np.ndarray) -> float:
        """The score that the wanted share of new rows stays within."""
        level, count = self._check_level(), len(scores)
        if np.isnan(scores).any():
            raise ValueError("Rows to conformalize on have missing targets or predictions.")
        rank = math.ceil((count + 1) * level)
        if rank > count:
            raise ValueError(
                f"A confidence_level of {level} needs at least {math.ceil(level / (1 - level))} rows to conformalize on, "
                f"but there are {count}."
            )
        return float(np.partition(scores, rank - 1)[rank - 1])

    def _compose(self, inputs: Input, models: list[Any], rule: str) -> None:
        """Makes the one model."""
        self.n_features_in_ = inputs.width
        if inputs.names is not None:
            self.feature_names_in_ = np.array(inputs.names, dtype=object)
        what = type(self).__name__
        members = [member(m, inputs, what)[:2] for m in models]
        self._model = _core.conformal(inputs.schema(), members, rule, self.quantile_)
        self._model.see(inputs.data)

    def _run(self, method: str, X: Any) -> np.ndarray:
        model = self._fitted_model()
        inputs = _inputs.read(X, type(self).__name__, sparse=True, text=True)
        out: np.ndarray = model.run(method, _inputs.check_names(inputs, self).data)
        return out


def checked(models: list[Any], what: str) -> list[Any]:
    """Estimators that can become part of a model.

    Raises
    ------
    UnsupportedError
        For those that aren't Corten's.
    """
    for one in models:
        if not isinstance(one, Savable):
            model_of(one, what)
    return models
