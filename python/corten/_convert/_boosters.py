"""LightGBM's, XGBoost's and CatBoost's objects as the bytes of their model files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..exceptions import NotFittedError


def _labels(model: Any) -> list[Any] | None:
    """The classes of a classifier, as plain objects."""
    if getattr(model, "_estimator_type", None) != "classifier" and "Classifier" not in type(model).__name__:
        return None
    labels: list[Any] = np.asarray(model.classes_).tolist()
    return labels


def _not_fitted(model: Any) -> NotFittedError:
    return NotFittedError(f"This {type(model).__name__} is not fitted yet; corten.convert needs a fitted model.")


def _lightgbm(model: Any) -> tuple[bytes, list[Any] | None, bool]:
    from lightgbm import Booster

    if isinstance(model, Booster):
        return model.model_to_string().encode(), None, False
    if not hasattr(model, "booster_") or not model.__sklearn_is_fitted__():
        raise _not_fitted(model)
    rounds = model.best_iteration_ or None
    return model.booster_.model_to_string(num_iteration=rounds).encode(), _labels(model), False


def _xgboost(model: Any) -> tuple[bytes, list[Any] | None, bool]:
    from xgboost import Booster

    if isinstance(model, Booster):
        return bytes(model.save_raw("ubj")), None, False
    if not model.__sklearn_is_fitted__():
        raise _not_fitted(model)
    missing = getattr(model, "missing", np.nan)
    if missing is not None and not np.isnan(missing):
        raise ValueError(f"missing={missing!r} can't be converted: Corten takes NaN as missing; put NaN into the data")
    booster = model.get_booster()
    # The wrapper predicts with the rounds up to the best one where it stopped early.
    try:
        best = model.best_iteration
    except AttributeError:
        best = None
    if best is not None and model.booster != "gblinear":
        booster = booster[: best + 1]
    # The wrappers predict in place.
    return bytes(booster.save_raw("ubj")), _labels(model), True


def _catboost(model: Any) -> tuple[bytes, list[Any] | None, bool]:
    if not model.is_fitted():
        raise _not_fitted(model)
    handle, path = tempfile.mkstemp(suffix=".json")
    os.close(handle)
    try:
        model.save_model(path, format="json")
        return Path(path).read_bytes(), _labels(model), False
    finally:
        Path(path).unlink()


#: By the name of the package: content, classes, and whether XGBoost's object predicts in place.
READERS: dict[str, Callable[[Any], tuple[bytes, list[Any] | None, bool]]] = {
    "lightgbm": _lightgbm,
    "xgboost": _xgboost,
    "catboost": _catboost,
}
