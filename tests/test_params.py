"""Constructors have scikit-learn's parameters and defaults; clone, get, set and repr work."""

from __future__ import annotations

import importlib
import inspect
import math
from typing import Any

import numpy as np
import pytest

from conftest import estimators, small
from corten import _core
from corten._base import core_defaults
from corten._params import plain, seed, signature
from corten.exceptions import ParameterError

ALL = estimators()
# What estimators take beyond scikit-learn's parameters.
BOOSTING = {
    "boosting",
    "budget",
    "colsample_bytree",
    "data_sample_strategy",
    "drop_rate",
    "l1_regularization",
    "linear_lambda",
    "linear_tree",
    "max_delta_step",
    "max_drop",
    "min_child_weight",
    "min_gain_to_split",
    "other_rate",
    "skip_drop",
    "subsample",
    "top_rate",
}
MORE = {
    "ensemble.HistGradientBoostingClassifier": BOOSTING,
    "ensemble.HistGradientBoostingRegressor": BOOSTING | {"huber_delta", "tweedie_power"},
}


@pytest.mark.parametrize("name", ALL)
def test_constructor_is_that_of_scikit_learn(name: str) -> None:
    module, cls = name.split(".")
    theirs = getattr(pytest.importorskip(f"sklearn.{module}"), cls, None)
    if theirs is None:
        pytest.skip("scikit-learn has no estimator of this name")
    want = {k: p.default for k, p in list(inspect.signature(theirs.__init__).parameters.items())[1:]}
    got = signature(ALL[name])
    assert set(got) - MORE.get(name, set()) == set(want)
    for key, value in want.items():
        assert got[key] == value or (isinstance(value, float) and math.isnan(value)), key


@pytest.mark.parametrize("name", ALL)
def test_rust_knows_the_same_defaults(name: str) -> None:
    if name not in _core.estimators():
        pytest.skip("composed in Python")
    known = core_defaults(name)
    ours = {k: plain(v) for k, v in signature(ALL[name]).items()}
    assert set(known) <= set(ours)
    for key in known:
        if key not in ("random_state", "dtype", "feature_name_combiner", "class_weight", "verbose"):
            want = list(ours[key]) if isinstance(ours[key], tuple) else ours[key]
            assert known[key] == want, key


def test_every_estimator_of_rust_has_a_class() -> None:
    for name in _core.estimators():
        module, cls = name.split(".")
        assert hasattr(importlib.import_module(f"corten.{module}"), cls), name


@pytest.mark.parametrize("name", ALL)
def test_docstring_names_every_parameter(name: str) -> None:
    doc = inspect.getdoc(ALL[name]) or ""
    for section in ("Parameters", "Attributes", "Examples"):
        assert f"\n{section}\n---" in doc
    for parameter in signature(ALL[name]):
        assert f"\n{parameter} : " in doc, parameter


def test_clone_keeps_parameters_and_forgets_the_fit() -> None:
    from sklearn.base import clone

    from corten.linear_model import Ridge

    fitted = Ridge(alpha=3.0).fit([[0.0], [1.0]], [0.0, 1.0])
    copy = clone(fitted)
    assert copy.alpha == 3.0 and not hasattr(copy, "coef_")


def test_unknown_parameter_is_named() -> None:
    from corten.linear_model import Ridge

    with pytest.raises(ValueError, match="Invalid parameter 'beta' for estimator Ridge"):
        Ridge().set_params(beta=1)


def test_repr_shows_what_differs() -> None:
    from corten.ensemble import RandomForestClassifier

    assert repr(RandomForestClassifier(n_estimators=7)) == "RandomForestClassifier(n_estimators=7)"


@pytest.mark.parametrize("state", [0, np.int64(3), None, np.random.RandomState(0), np.random.default_rng(0)])
def test_seeds_of_every_kind(state: Any) -> None:
    assert 0 <= seed(state) < 2**63


def test_a_seed_that_is_none_is_refused() -> None:
    with pytest.raises(ParameterError, match="random_state"):
        seed("x")


def test_html_shows_the_steps(flat: Any) -> None:
    html = flat._repr_html_()
    for part in ("Pipeline", "ColumnTransformer", "SimpleImputer", "OneHotEncoder", "LogisticRegression", "not fitted"):
        assert part in html
    assert "<script" not in html


def test_small_estimators_exist() -> None:
    assert all(small(c) is not None for c in ALL.values())


@pytest.mark.parametrize(
    ("name", "value", "allowed"), [("max_iter", "x", "an int"), ("early_stopping", "maybe", "a bool")]
)
def test_a_value_of_another_type_is_refused_in_words_of_python(name: str, value: str, allowed: str) -> None:
    from corten.ensemble import HistGradientBoostingRegressor

    with pytest.raises(ParameterError, match=f"'{name}' parameter must be .*{allowed}.*{value}"):
        HistGradientBoostingRegressor(**{name: value}).fit([[0.0], [1.0]], [0.0, 1.0])
