"""Losses that are written down give the models of the named losses that they write down."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest

from corten.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)


def _data(rows: int = 3000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 5))
    return x, x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + 0.3 * rng.normal(size=rows)


@pytest.mark.parametrize(
    ("named", "written", "positive"),
    [
        ("squared_error", "(y - score) ** 2 / 2", False),
        ("poisson", "exp(score) - y * score", True),
        ("gamma", "score + y * exp(-score)", True),
    ],
)
def test_a_written_loss_is_the_named_one(named: str, written: str, positive: bool) -> None:
    x, y = _data()
    y = np.exp(y / 3) if positive else y
    models = [
        HistGradientBoostingRegressor(loss=loss, max_iter=30, early_stopping=True, random_state=0).fit(x, y)
        for loss in (named, written)
    ]
    want, got = (m.predict(x) for m in models)
    # A written loss predicts the score itself.
    np.testing.assert_allclose(np.exp(got) if positive else got, want, rtol=0.02, atol=0.02)
    np.testing.assert_allclose(models[1].validation_score_, models[0].validation_score_, rtol=0.01, atol=1e-3)


def test_a_written_loss_of_two_classes_gives_probabilities() -> None:
    x, y = _data()
    y = y > 0
    want = HistGradientBoostingClassifier(max_iter=30).fit(x, y)
    got = HistGradientBoostingClassifier(loss="softplus(score) - y * score", max_iter=30).fit(x, y)
    np.testing.assert_allclose(got.predict_proba(x), want.predict_proba(x), atol=0.02)
    with pytest.raises(ValueError, match="'loss'.*more than two classes"):
        HistGradientBoostingClassifier(loss="softplus(score) - y * score").fit(x, np.arange(len(y)) % 3)


def test_a_lopsided_loss_moves_predictions_to_its_side() -> None:
    x, y = _data()
    loss = "where(score < y, 9, 1) * (y - score) ** 2"
    model = HistGradientBoostingRegressor(loss=loss, max_iter=50).fit(x, y)
    assert np.mean(model.predict(x) > y) > 0.65


def test_what_is_wrong_with_an_expression_is_told_with_its_place() -> None:
    x, y = _data(100)
    with pytest.raises(ValueError, match=r"'loss'.*was expected at character 5, but its end came"):
        HistGradientBoostingRegressor(loss="y - ").fit(x, y)
    with pytest.raises(ValueError, match="gradient or hessian that is not finite"):
        HistGradientBoostingRegressor(loss="log(score) * y").fit(x, y)
    with pytest.raises(ValueError, match="'loss'.*'squared_error'"):
        HistGradientBoostingRegressor(loss="square").fit(x, y)


@pytest.mark.parametrize("target", ["number", "text", "many"])
def test_a_pickled_warm_start_goes_on_to_the_same_bytes(target: str) -> None:
    x, number = _data()
    y = {"number": number, "text": np.where(number > 0, "b", "a"), "many": np.digitize(number, [-1, 0, 1])}[target]
    kind = HistGradientBoostingRegressor if target == "number" else HistGradientBoostingClassifier
    given = {"random_state": 0, "warm_start": True, "early_stopping": False}
    long = kind(max_iter=8, **given).fit(x, y)
    short = pickle.loads(pickle.dumps(kind(max_iter=5, **given).fit(x, y)))
    short.set_params(max_iter=8).fit(x, y)
    assert short._model.to_bytes() == long._model.to_bytes()
    plain = pickle.loads(pickle.dumps(kind(max_iter=5).fit(x, y)))
    with pytest.raises(ValueError, match="pickled with warm_start=True"):
        kind(max_iter=3).fit(x, y, init_model=plain)


@pytest.mark.parametrize("kind", [GradientBoostingClassifier, GradientBoostingRegressor])
def test_pickled_stages_are_there_one_by_one_and_go_on(kind: type) -> None:
    x, y = _data(400)
    y = np.digitize(y, [-1, 1]) if kind is GradientBoostingClassifier else y
    before = kind(n_estimators=6, random_state=0, warm_start=True).fit(x, y)
    after = pickle.loads(pickle.dumps(before))
    staged = "staged_predict_proba" if kind is GradientBoostingClassifier else "staged_predict"
    for a, b in zip(getattr(before, staged)(x), getattr(after, staged)(x), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(before.apply(x), after.apply(x))
    assert after.estimators_.shape == before.estimators_.shape
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after.set_params(n_estimators=9).fit(x, y)
    long = kind(n_estimators=9, random_state=0).fit(x, y)
    assert after._model.to_bytes() == long._model.to_bytes()


def test_a_loss_that_grows_beyond_all_bounds_is_told() -> None:
    X = np.arange(6.0).reshape(-1, 1)
    model = HistGradientBoostingRegressor(loss="where(y, 4, 0) * (y - score) ** 7", max_iter=2, min_samples_leaf=1)
    with pytest.raises(ValueError, match="the loss gave numbers beyond all bounds in iteration"):
        model.fit(X, [0.5, 1, 2, 0, 4, 8])
