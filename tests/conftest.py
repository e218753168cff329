"""What the tests share: small tables and the threads of other libraries kept low."""

from __future__ import annotations

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import importlib  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402

MODULES = ("ensemble", "impute", "linear_model", "preprocessing", "tree")


def estimators() -> dict[str, type]:
    """Every public estimator that needs no arguments, as `module.Class`."""
    out = {}
    for module in MODULES:
        loaded = importlib.import_module(f"corten.{module}")
        for name in (n for n in loaded.__all__ if isinstance(getattr(loaded, n), type)):
            out[f"{module}.{name}"] = getattr(loaded, name)
    return out


def _members(name: str) -> list[tuple[str, Any]]:
    """Two members of an ensemble of this name."""
    from corten import linear_model, tree

    if name.endswith("Classifier"):
        return [
            ("linear", linear_model.LogisticRegression()),
            ("tree", tree.DecisionTreeClassifier(max_depth=3, random_state=0)),
        ]
    return [("linear", linear_model.Ridge()), ("tree", tree.DecisionTreeRegressor(max_depth=3, random_state=0))]


def small(cls: type) -> Any:
    """An estimator of a class that fits fast."""
    fast = {"max_iter": 10} if "Hist" in cls.__name__ else {}
    if (
        "Forest" in cls.__name__
        or "Bagging" in cls.__name__
        or "Boost" in cls.__name__
        and "Hist" not in cls.__name__
        or "ExtraTrees" in cls.__name__
    ):
        fast = {"n_estimators": 5}
    if cls.__name__.startswith(("Voting", "Stacking")):
        fast = {"estimators": _members(cls.__name__)}
    estimator = cls(**fast)
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    return estimator


@pytest.fixture(scope="session")
def table() -> Any:
    """A polars frame with numbers, text and gaps, and a target `late` that follows from them."""
    import polars as pl

    rng = np.random.default_rng(0)
    n = 600
    distance = rng.gamma(2.0, 500.0, n)
    hour = rng.integers(5, 23, n)
    city = rng.choice(["Oslo", "Rome", "Bonn", "Łódź"], n)
    score = (hour - 14) / 4 + (city == "Rome") - distance / 2000 + rng.normal(size=n)
    return pl.DataFrame(
        {
            "distance": [None if v else d for d, v in zip(distance, rng.random(n) < 0.1, strict=True)],
            "hour": hour,
            "city": [None if v else c for c, v in zip(city.tolist(), rng.random(n) < 0.05, strict=True)],
            "late": score > 0,
        }
    )


@pytest.fixture(scope="session")
def raw(table: Any) -> tuple[Any, np.ndarray]:
    """The columns that predict, and the target."""
    return table.drop("late"), table["late"].to_numpy()


@pytest.fixture(scope="session")
def flat() -> Any:
    """An unfitted pipeline from raw columns to a logistic regression."""
    from corten.compose import make_column_transformer
    from corten.impute import SimpleImputer
    from corten.linear_model import LogisticRegression
    from corten.pipeline import make_pipeline
    from corten.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    parts = [(numbers, ["distance", "hour"]), (OneHotEncoder(handle_unknown="ignore"), ["city"])]
    return make_pipeline(make_column_transformer(*parts), LogisticRegression())


@pytest.fixture(scope="session")
def trees() -> Any:
    """An unfitted boosting classifier for raw columns."""
    from corten.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(max_iter=20, random_state=0)
