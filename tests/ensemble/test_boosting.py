"""What the boosting estimators do beyond fitting: going on, constraints, penalties, samples, watched scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corten.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor


def _data(n: int = 1500, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    return X, X[:, 0] + X[:, 1] * X[:, 2] + np.sin(2 * X[:, 3]) + rng.normal(scale=0.3, size=n)


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "absolute_error"])
@pytest.mark.parametrize("params", [{}, {"subsample": 0.5}, {"early_stopping": True, "n_iter_no_change": 50}])
def test_a_warm_start_is_the_longer_fit(loss: str, params: dict[str, Any]) -> None:
    X, y = _data()
    y = np.exp(y / 3)
    params = {"loss": loss, "random_state": 0, **params}
    model = HistGradientBoostingRegressor(max_iter=7, warm_start=True, **params).fit(X, y)
    model.set_params(max_iter=15).fit(X, y)
    whole = HistGradientBoostingRegressor(max_iter=15, **params).fit(X, y)
    assert model.n_iter_ == 15
    assert np.array_equal(model.predict(X), whole.predict(X))
    assert np.array_equal(model.train_score_, whole.train_score_)


def test_a_warm_start_of_classes_is_the_longer_fit() -> None:
    X, y = _data()
    for target in (y > 0, np.digitize(y, [-1, 1])):
        model = HistGradientBoostingClassifier(max_iter=3, warm_start=True).fit(X, target)
        model.set_params(max_iter=8).fit(X, target)
        whole = HistGradientBoostingClassifier(max_iter=8).fit(X, target)
        assert np.array_equal(model.predict_proba(X), whole.predict_proba(X))
    with pytest.raises(ValueError, match="max_iter=2 should be larger than or equal to n_iter_=8"):
        model.set_params(max_iter=2).fit(X, target)


def test_columns_that_may_not_meet_add_up() -> None:
    X, _ = _data(4000)
    y = X[:, 1] * X[:, 2] + X[:, 1] + 0.1 * X[:, 0]
    grid = np.zeros((4, 5))
    grid[1, 1], grid[2, 2], grid[3, 1], grid[3, 2] = 1, 1, 1, 1

    def bend(interaction_cst: Any) -> float:
        params: dict[str, Any] = {"max_iter": 30, "interaction_cst": interaction_cst}
        p = HistGradientBoostingRegressor(**params).fit(X, y).predict(grid)
        return abs(p[3] - p[1] - p[2] + p[0])

    assert bend(None) > 0.1
    assert bend("pairwise") > 0.1
    assert bend([{1, 2}, {0, 3, 4}]) > 0.1
    assert bend("no_interactions") < 1e-12
    assert bend([{0, 1}, {2, 3}]) < 1e-12
    with pytest.raises(ValueError, match="interaction_cst"):
        bend("some")
    with pytest.raises(ValueError, match="interaction_cst"):
        bend([{0, 9}])


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy", "neg_log_loss", "roc_auc", None])
def test_watched_scores_of_classes_are_those_of_scikit_learn(scoring: str | None) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    X, y = _data()
    model = HistGradientBoostingClassifier(
        max_iter=5, early_stopping=True, validation_fraction=None, scoring=scoring
    ).fit(X, y > 0)
    want = metrics.get_scorer(scoring or "accuracy")(model, X, y > 0)
    assert model.train_score_[-1] == pytest.approx(want, rel=1e-9)
    assert len(model.train_score_) == 6


@pytest.mark.parametrize("scoring", ["r2", "neg_root_mean_squared_error", "neg_mean_absolute_error", None])
@pytest.mark.parametrize("loss", ["squared_error", "gamma"])
def test_watched_scores_of_numbers_are_those_of_scikit_learn(scoring: str | None, loss: str) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    X, y = _data()
    y = np.exp(y / 3)
    model = HistGradientBoostingRegressor(
        loss, max_iter=5, early_stopping=True, validation_fraction=None, scoring=scoring
    ).fit(X, y)
    assert model.train_score_[-1] == pytest.approx(metrics.get_scorer(scoring or "r2")(model, X, y), rel=1e-9)


def test_scores_that_cannot_be_watched_are_named() -> None:
    X, y = _data(200)
    for scoring, target in (("r2", y > 0), ("roc_auc", np.digitize(y, [-1, 1]))):
        with pytest.raises(ValueError, match="scoring"):
            HistGradientBoostingClassifier(scoring=scoring, early_stopping=True).fit(X, target)
    with pytest.raises(ValueError, match="scoring"):
        HistGradientBoostingRegressor(scoring="accuracy", early_stopping=True).fit(X, y)


def _leaves(model: Any) -> int:
    return int(model.report_["leaves"])


def test_penalties_and_limits_hold_trees_back() -> None:
    X, y = _data()
    free = HistGradientBoostingRegressor(max_iter=1, learning_rate=1.0).fit(X, y)
    for params in ({"min_gain_to_split": 50.0}, {"min_child_weight": 200.0}, {"l1_regularization": 300.0}):
        assert _leaves(HistGradientBoostingRegressor(max_iter=1, **params).fit(X, y)) < _leaves(free)
    capped = HistGradientBoostingRegressor(max_iter=1, learning_rate=1.0, max_delta_step=0.2).fit(X, y)
    assert np.abs(capped.predict(X) - y.mean()).max() == pytest.approx(0.2)
    for name in ("subsample", "colsample_bytree"):
        with pytest.raises(ValueError, match=name):
            HistGradientBoostingRegressor(**{name: 0.0}).fit(X, y)


def test_penalties_are_those_of_lightgbm() -> None:
    lgb = pytest.importorskip("lightgbm")
    rng = np.random.default_rng(3)
    X = rng.integers(0, 12, size=(3000, 4)).astype(float)
    y = X[:, 0] - (X[:, 1] - 6) ** 2 / 5 + rng.normal(size=3000)
    for l1 in (0.0, 60.0):
        ours = HistGradientBoostingRegressor(
            max_iter=5, max_leaf_nodes=8, l1_regularization=l1, l2_regularization=2.0
        ).fit(X, y)
        theirs = lgb.LGBMRegressor(
            n_estimators=5,
            num_leaves=8,
            reg_alpha=l1,
            reg_lambda=2.0,
            min_child_samples=20,
            n_jobs=1,
            verbose=-1,
        ).fit(X, y)
        # Equal splits; LightGBM keeps gradients in 32 bits.
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-5, atol=1e-5)


def test_samples_of_rows_and_columns_change_trees_and_still_learn() -> None:
    X, y = _data()
    for params in ({"subsample": 0.6}, {"colsample_bytree": 0.4}):
        some = [HistGradientBoostingRegressor(random_state=s, **params).fit(X, y) for s in (0, 0, 1)]
        a, b, c = (m.predict(X) for m in some)
        assert np.array_equal(a, b) and not np.array_equal(a, c)
        assert some[0].score(X, y) > 0.8


@pytest.mark.parametrize("classes", [2, 5])
def test_leaves_hold_as_many_rows_as_they_must(classes: int) -> None:
    X, y = _data(3000)
    target = np.digitize(y, np.quantile(y, np.linspace(0, 1, classes + 1)[1:-1] ** 0.2))
    model = HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=40, learning_rate=0.5).fit(X, target)
    # Rows of a leaf share the values of its tree: count those that one tree tells apart.
    before = HistGradientBoostingClassifier(max_iter=19, min_samples_leaf=40, learning_rate=0.5).fit(X, target)
    added = model.decision_function(X) - before.decision_function(X)
    for column in added.reshape(len(X), -1).T:
        assert np.unique(column.round(9), return_counts=True)[1].min() >= 40


@pytest.mark.parametrize("kind", ["text", "number"])
def test_columns_of_thousands_of_categories_help_and_do_not_leak(kind: str) -> None:
    pl = pytest.importorskip("polars")
    rng = np.random.default_rng(5)
    effect = rng.normal(size=2000)
    city = rng.integers(0, 2000, size=24_000)
    noise = rng.integers(0, 12_000, size=len(city))
    y = effect[city] + rng.normal(size=len(city))
    values: Any = (lambda c: c.astype(float)) if kind == "number" else (lambda c: [f"c{v}" for v in c])
    frame = pl.DataFrame({"city": values(city), "id": values(noise)})
    train, test = np.arange(20_000), np.arange(20_000, len(city))
    chosen: dict[str, Any] = {"categorical_features": ["city", "id"], "early_stopping": False}
    model = HistGradientBoostingRegressor(**chosen).fit(frame[train], y[train])
    # The best possible is 0.5; identifiers that nearly name the rows must not be learnt by heart.
    assert model.score(frame[test], y[test]) > 0.38
    assert model.score(frame[train], y[train]) < 0.62
    # Most of the gain is the city's, and new cities are taken.
    assert model.feature_importances_[0] > 0.75
    new = pl.DataFrame({"city": values(np.array([99_999])), "id": values(np.array([99_999]))})
    assert abs(model.predict(new)[0]) < 1
    three = np.digitize(y, [-1, 1])
    classes = HistGradientBoostingClassifier(max_iter=20, **chosen).fit(frame[train], three[train])
    assert classes.score(frame[test], three[test]) > 0.55


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"loss": "tweedie", "tweedie_power": 1.3}, {"objective": "tweedie", "tweedie_variance_power": 1.3}),
        ({"loss": "cross_entropy"}, {"objective": "cross_entropy"}),
    ],
)
def test_losses_beyond_scikit_learn_are_those_of_lightgbm(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    lgb = pytest.importorskip("lightgbm")
    rng = np.random.default_rng(4)
    X = rng.integers(0, 12, size=(3000, 4)).astype(float)
    y = X[:, 0] - (X[:, 1] - 6) ** 2 / 5 + rng.normal(size=3000)
    y = 1 / (1 + np.exp(-y)) if ours["loss"] == "cross_entropy" else np.exp(y / 8)
    params: dict[str, Any] = {"max_iter": 5, "max_leaf_nodes": 8, "min_samples_leaf": 1, "l2_regularization": 1.0}
    model = HistGradientBoostingRegressor(**params, **ours).fit(X, y)
    other = lgb.LGBMRegressor(
        n_estimators=5, num_leaves=8, min_child_samples=1, reg_lambda=1.0, n_jobs=1, verbose=-1, **theirs
    ).fit(X, y)
    # Equal splits; the rest is rounding of gradients.
    np.testing.assert_allclose(model.predict(X), other.predict(X), rtol=1e-5)
    with pytest.raises(ValueError, match=r"tweedie|cross_entropy"):
        HistGradientBoostingRegressor(**ours).fit(X, y - 5)


def test_the_huber_loss_shrugs_off_wild_targets() -> None:
    X, y = _data(3000)
    wild = np.where(np.arange(3000) % 20 == 0, y + 1000, y)
    params: dict[str, Any] = {"random_state": 0, "max_iter": 200}
    huber = HistGradientBoostingRegressor("huber", huber_delta=0.5, **params).fit(X, wild)
    T, t = _data(2000, seed=1)
    assert np.abs(huber.predict(T) - t).mean() < 0.6
    assert np.abs(HistGradientBoostingRegressor(**params).fit(X, wild).predict(T) - t).mean() > 10
    with pytest.raises(ValueError, match="huber_delta"):
        HistGradientBoostingRegressor("huber", huber_delta=0.0).fit(X, y)


@pytest.mark.parametrize("rows", [25, 3000])
@pytest.mark.parametrize("loss", ["squared_error", "poisson", "cross_entropy"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_model_gives_training_rows_the_scores_it_was_trained_to(rows: int, loss: str, weighted: bool) -> None:
    X, y = _data(rows)
    X[::7, 1] = np.nan
    y = 1 / (1 + np.exp(-y))
    weights = np.linspace(0.5, 2, rows) if weighted else None
    model = HistGradientBoostingRegressor(
        loss, max_iter=12, early_stopping=True, validation_fraction=None, l2_regularization=3.0
    ).fit(X, y, sample_weight=weights)
    p = model.predict(X)
    losses = {
        "squared_error": 0.5 * (p - y) ** 2,
        "poisson": p - y * np.log(p),
        "cross_entropy": -y * np.log(p) - (1 - y) * np.log(1 - p),
    }
    assert model.train_score_[-1] == pytest.approx(-np.average(losses[loss], weights=weights), rel=1e-9)


@pytest.mark.parametrize("loss", ["squared_error", "poisson", "quantile"])
def test_stages_of_a_regressor_are_fits_of_fewer_rounds(loss: str) -> None:
    x, y = _data()
    settings: dict[str, Any] = {"loss": loss, "early_stopping": False, "random_state": 0}
    target = np.exp(y / 3)
    if loss == "quantile":
        settings["quantile"] = [0.2, 0.8]
    model = HistGradientBoostingRegressor(max_iter=6, **settings).fit(x, target)
    stages = list(model.staged_predict(x))
    assert len(stages) == 6
    np.testing.assert_allclose(stages[-1], model.predict(x), rtol=1e-14)
    less = HistGradientBoostingRegressor(max_iter=2, **settings).fit(x, target)
    np.testing.assert_allclose(stages[1], less.predict(x), rtol=1e-14)
    assert not np.allclose(stages[1], stages[2])


@pytest.mark.parametrize("classes", [2, 3])
def test_stages_of_a_classifier_are_fits_of_fewer_rounds(classes: int) -> None:
    x, numbers = _data()
    x[::7, 1] = np.nan
    edges = np.quantile(numbers, np.arange(1, classes) / classes)
    y = np.array(["a", "b", "c"])[np.digitize(numbers, edges)]
    model = HistGradientBoostingClassifier(max_iter=5, early_stopping=False, random_state=0).fit(x, y)
    less = HistGradientBoostingClassifier(max_iter=3, early_stopping=False, random_state=0).fit(x, y)
    scores = list(model.staged_decision_function(x))
    np.testing.assert_array_equal(scores[-1], model.decision_function(x))
    np.testing.assert_array_equal(scores[2], less.decision_function(x))
    shares = list(model.staged_predict_proba(x))
    np.testing.assert_allclose(shares[2], less.predict_proba(x), rtol=1e-12)
    np.testing.assert_array_equal(list(model.staged_predict(x))[2], less.predict(x))
    with pytest.raises(ValueError, match="not fitted yet"):
        next(HistGradientBoostingClassifier().staged_predict(x))
