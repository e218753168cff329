"""Single trees: the very trees of scikit-learn where no ties decide, limits, weights, missing values, bounds, pruning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corten import tree
from corten.ensemble import RandomForestRegressor

pytest.importorskip("sklearn")
import sklearn.tree

CRITERIA = {
    "DecisionTreeClassifier": ("gini", "entropy", "log_loss"),
    "DecisionTreeRegressor": ("squared_error", "poisson"),
}
LIMITS: tuple[dict[str, Any], ...] = (
    {"max_leaf_nodes": 20},
    {"max_depth": 4, "min_impurity_decrease": 0.001, "min_samples_leaf": 40},
    {"max_depth": 4, "min_samples_leaf": 0.04},
    {"max_depth": 6, "min_samples_split": 100},
    {"max_depth": 3, "min_weight_fraction_leaf": 0.05},
    {"ccp_alpha": 0.005, "min_samples_leaf": 15},
)


def _data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(1500, 6))
    y = 2 * X[:, 0] + np.sin(3 * X[:, 1]) + rng.normal(size=1500) * 0.3
    X[::7, 2] = np.nan
    X[y > 1.5, 0] = np.nan
    X[:, 5] = np.round(X[:, 5])
    return X, y


def _answers(model: Any, X: np.ndarray) -> np.ndarray:
    return np.asarray(model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X))


def _target(name: str, criterion: str, y: np.ndarray) -> np.ndarray:
    if name.endswith("Classifier"):
        # Noise keeps nodes mixed: in nearly pure ones several columns split equally well.
        noise = np.random.default_rng(3).normal(size=len(y))
        return np.digitize(y + noise, [-1.0, 1.0])
    return np.abs(y) if criterion == "poisson" else y


@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize(("name", "criterion"), [(n, c) for n, cs in CRITERIA.items() for c in cs])
@pytest.mark.parametrize("weighted", [False, True])
def test_answers_are_those_of_scikit_learn(name: str, criterion: str, limits: dict[str, Any], weighted: bool) -> None:
    X, y = _data()
    T, _ = _data(1)
    y = _target(name, criterion, y)
    weights = np.random.default_rng(2).integers(0, 4, len(y)) / 2 if weighted else None
    params = {"criterion": criterion, "random_state": 0, **limits}
    ours = getattr(tree, name)(**params).fit(X, y, sample_weight=weights)
    theirs = getattr(sklearn.tree, name)(**params).fit(X, y, sample_weight=weights)
    np.testing.assert_allclose(_answers(ours, T), _answers(theirs, T), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ours.feature_importances_, theirs.feature_importances_, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("name", "criterion"), [(n, c) for n, cs in CRITERIA.items() for c in cs[:2]])
def test_many_leaves_are_those_of_the_best_splits(name: str, criterion: str) -> None:
    rng = np.random.default_rng(9)
    X = rng.normal(size=(20_000, 5))
    X[rng.random(20_000) < 0.1, 1] = np.nan
    y = _target(name, criterion, X[:, 0] + np.sin(3 * X[:, 2]) + X[:, 3] * X[:, 4])
    params = {"criterion": criterion, "max_leaf_nodes": 250, "min_samples_leaf": 25, "random_state": 0}
    ours = getattr(tree, name)(**params).fit(X, y)
    theirs = getattr(sklearn.tree, name)(**params).fit(X, y)
    assert ours.tree_.node_count == theirs.tree_.node_count == 499
    np.testing.assert_array_equal(ours.tree_.feature, theirs.tree_.feature)
    np.testing.assert_allclose(_answers(ours, X), _answers(theirs, X), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("columns", ["few", "many", "usual", "missing"])
@pytest.mark.parametrize(
    "params",
    [
        {"criterion": "entropy"},
        {"class_weight": "balanced"},
        {"criterion": "entropy", "class_weight": "balanced"},
        {"class_weight": {0: 0.3, 1: 1.7}},
        {},
    ],
    ids=str,
)
def test_measures_and_weights_of_classes_are_those_of_scikit_learn(
    params: dict[str, Any], columns: str, classes: int
) -> None:
    rng = np.random.default_rng(6)
    X = rng.normal(size=(9000, 5))
    if columns == "few":
        X = np.column_stack([rng.integers(0, high, 9000) for high in (2, 5, 12, 90, 300)] + [X[:, 0]])
    elif columns == "usual":
        # Most rows have one value: the least, one between others, or the greatest.
        X = np.where(rng.random(X.shape) < 0.95, [0.0, 3.0, 7.0, 1.0, 5.0], rng.integers(0, 8, X.shape))
    elif columns == "missing":
        X[rng.random(X.shape) < 0.1] = np.nan
    score = np.nan_to_num(X)[:, :5] @ [1.0, 0.5, 0.3, 0.2, 0.1] / X[:, 4][~np.isnan(X[:, 4])].std()
    score += rng.normal(size=9000) * score.std()
    y = np.digitize(score, np.quantile(score, np.linspace(0, 1, classes + 1)[1:-1] ** 1.5))
    # Below, cuts of few rows tie. Releases of scikit-learn differ in how sample weights count for balanced classes.
    limits = {"max_depth": 5 if columns in ("few", "many") else 3, "random_state": 0}
    weighted = params.get("class_weight") != "balanced"
    for weights in (None, rng.uniform(0.5, 2, 9000)) if weighted else (None,):
        ours = tree.DecisionTreeClassifier(**params, **limits).fit(X, y, sample_weight=weights)
        theirs = sklearn.tree.DecisionTreeClassifier(**params, **limits).fit(X, y, sample_weight=weights)
        np.testing.assert_allclose(_answers(ours, X), _answers(theirs, X), rtol=1e-9, atol=1e-12)
        # Theirs of pure nodes may be a little less than 0.
        pure = np.maximum(theirs.tree_.impurity, 0.0)
        np.testing.assert_allclose(ours.tree_.impurity, pure, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("classes", [None, 2, 3, 40])
def test_columns_of_few_values_are_split_as_in_scikit_learn(classes: int | None) -> None:
    """Rows are summed by value there: classes, or whole numbers."""
    rng = np.random.default_rng(5)
    X = np.column_stack([rng.integers(0, high, 9000) for high in (2, 5, 12, 90, 300)] + [rng.normal(size=9000)])
    y = np.round(40 * (X @ [0.5, 0.2, 0.1, 0.01, 0.003, 0.4] + rng.normal(size=9000) * 0.5))
    if classes is not None:
        y = np.digitize(y, np.quantile(y, np.arange(1, classes) / classes))
    name = "DecisionTreeRegressor" if classes is None else "DecisionTreeClassifier"
    ours = getattr(tree, name)(max_depth=6, random_state=0).fit(X, y)
    theirs = getattr(sklearn.tree, name)(max_depth=6, random_state=0).fit(X, y)
    np.testing.assert_allclose(_answers(ours, X), _answers(theirs, X), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(ours.tree_.n_node_samples, theirs.tree_.n_node_samples)


@pytest.mark.parametrize("weighted", [False, True])
def test_absolute_error_finds_the_best_split(weighted: bool) -> None:
    """Splits of equal error are many, so the error is compared, with every split tried by hand."""
    X, y = _data()
    X, y = X[:300, 1:2], y[:300]
    weights = np.random.default_rng(2).integers(1, 4, len(y)) if weighted else np.ones(len(y), int)

    def error(rows: np.ndarray) -> float:
        part = np.repeat(y[rows], weights[rows])
        return float(np.abs(part - np.median(part)).sum())

    best = min(error(X[:, 0] <= cut) + error(X[:, 0] > cut) for cut in np.sort(X[:, 0])[:-1])
    model = tree.DecisionTreeRegressor(criterion="absolute_error", max_depth=1).fit(X, y, sample_weight=weights)
    assert float((np.abs(y - model.predict(X)) * weights).sum()) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("name", ["DecisionTreeClassifier", "DecisionTreeRegressor"])
def test_a_full_tree_learns_its_rows(name: str) -> None:
    X, y = _data()
    target = y > 0 if name.endswith("Classifier") else y
    assert getattr(tree, name)(random_state=0).fit(X[:, 1:2], target).score(X[:, 1:2], target) == pytest.approx(1)


@pytest.mark.parametrize("name", ["DecisionTreeClassifier", "ExtraTreeClassifier", "DecisionTreeRegressor"])
@pytest.mark.parametrize("sign", [-1, 1])
def test_monotonic_answers_go_one_way(name: str, sign: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(800, 2))
    y = sign * X[:, 0] + rng.normal(size=800)
    target = y > 0 if name.endswith("Classifier") else y
    model = getattr(tree, name)(monotonic_cst=[sign, 0], max_depth=6, random_state=0).fit(X, target)
    grid = np.column_stack([np.linspace(0, 1, 200), np.full(200, 0.4)])
    answers = _answers(model, grid)
    steps = np.diff(answers[:, 1] if answers.ndim == 2 else answers)
    assert (sign * steps >= -1e-12).all() and (steps != 0).any()


@pytest.mark.parametrize("name", ["DecisionTreeClassifier", "DecisionTreeRegressor"])
def test_columns_without_a_direction_are_split_beyond_the_bounds_of_others(name: str) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(2000, 5))
    y = X[:, 0] - X[:, 1] + X[:, 2] * X[:, 3] + rng.normal(size=2000)
    target = y > 0 if name.endswith("Classifier") else y
    # No two columns split equally well.
    weight = rng.uniform(0.5, 2, size=len(X))
    params = {"monotonic_cst": [1, -1, 0, 0, 0], "min_samples_leaf": 10, "random_state": 0}
    ours = getattr(tree, name)(**params).fit(X, target, sample_weight=weight)
    theirs = getattr(sklearn.tree, name)(**params).fit(X, target, sample_weight=weight)
    assert ours.tree_.node_count > 200
    np.testing.assert_allclose(_answers(ours, X), _answers(theirs, X), rtol=1e-9)


@pytest.mark.parametrize("name", ["DecisionTreeClassifier", "ExtraTreeClassifier"])
@pytest.mark.parametrize("criterion", ["gini", "entropy"])
@pytest.mark.parametrize("columns", [2, 1])
def test_whole_weights_of_any_sum(name: str, criterion: str, columns: int) -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(140_000, 2))
    target = X[:, 0] + X[:, 1] + rng.normal(size=len(X)) > 0
    # Beyond what 32 bits hold, and beyond what a table of logarithms may take.
    weight = 2.0 ** (33 - np.ceil(np.log2(len(X))))
    params = {"criterion": criterion, "max_depth": 5, "max_features": columns, "random_state": 0}
    alike, heavy = (
        getattr(tree, name)(**params).fit(X, target, sample_weight=np.full(len(X), w)) for w in (1.0, weight)
    )
    assert weight <= 65535 and heavy.tree_.weighted_n_node_samples[0] == weight * len(X) > 2**32
    np.testing.assert_array_equal(alike.tree_.threshold, heavy.tree_.threshold)
    np.testing.assert_allclose(_answers(alike, X), _answers(heavy, X), rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "criterion"), [("DecisionTreeRegressor", c) for c in CRITERIA["DecisionTreeRegressor"]]
    + [("ExtraTreeRegressor", "squared_error"), ("DecisionTreeClassifier", "gini")], ids=str
)  # fmt: skip
@pytest.mark.parametrize("exponent", [-700, -350, 350, 700])
def test_trees_are_the_same_at_any_size_of_weights(name: str, criterion: str, exponent: int) -> None:
    X, y = _data()
    target = _target(name, criterion, y)
    weights = np.random.default_rng(4).uniform(0.5, 2, len(y))
    params = {"criterion": criterion, "min_weight_fraction_leaf": 0.01, "random_state": 0}
    usual, other = (
        getattr(tree, name)(**params).fit(X, target, sample_weight=weights * size) for size in (1.0, 2.0**exponent)
    )
    assert usual.tree_.node_count > 20
    np.testing.assert_array_equal(_answers(usual, X), _answers(other, X))
    np.testing.assert_array_equal(usual.tree_.impurity, other.tree_.impurity)
    ours = usual.tree_.weighted_n_node_samples * 2.0**exponent
    np.testing.assert_array_equal(ours, other.tree_.weighted_n_node_samples)


def test_several_outputs_share_a_tree() -> None:
    X, y = _data()
    both = np.column_stack([y, y**2])
    params = {"max_depth": 5, "random_state": 0}
    ours = tree.DecisionTreeRegressor(**params).fit(X, both)
    theirs = sklearn.tree.DecisionTreeRegressor(**params).fit(X, both)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)


def test_drawn_thresholds_lie_inside_and_follow_the_seed() -> None:
    X, y = _data()
    models = [tree.ExtraTreeRegressor(random_state=s, max_depth=4).fit(X, y).predict(X) for s in (0, 0, 1)]
    assert (models[0] == models[1]).all() and (models[0] != models[2]).any()


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"max_depth": 0}, "max_depth"),
        ({"min_samples_leaf": 0}, "min_samples_leaf"),
        ({"min_samples_split": 1.5}, "min_samples_split"),
        ({"max_features": "half"}, "max_features"),
        ({"criterion": "mse"}, "criterion"),
        ({"monotonic_cst": [1]}, "monotonic_cst"),
        ({"ccp_alpha": -1.0}, "ccp_alpha"),
    ],
)
def test_bad_parameters_are_named(params: dict[str, Any], said: str) -> None:
    X, y = _data()
    with pytest.raises(ValueError, match=said):
        tree.DecisionTreeRegressor(**params).fit(X, y)


@pytest.mark.parametrize("weights", [{0: 1, 2: 3}, {2: 3}, {0: 1}, {0: 1, 1: 2, 2: 3}, {}])
def test_class_weights_that_scikit_learn_refuses_are_refused(weights: dict[int, float]) -> None:
    x, y = np.arange(6.0)[:, None], np.arange(6) % 2
    try:
        sklearn.tree.DecisionTreeClassifier(class_weight=weights).fit(x, y)
    except ValueError:
        with pytest.raises(ValueError, match="are not in class_weight"):
            tree.DecisionTreeClassifier(class_weight=weights).fit(x, y)
    else:
        assert tree.DecisionTreeClassifier(class_weight=weights).fit(x, y).get_depth() >= 1


@pytest.mark.parametrize("weights", [{"sample_weight": np.full(6, 1e308)}, {}])
def test_weights_must_have_a_finite_sum(weights: dict[str, np.ndarray]) -> None:
    x, y = np.arange(6.0)[:, None], np.arange(6) % 2
    model = tree.DecisionTreeClassifier(class_weight=None if weights else {0: 1e308, 1: 1e308})
    with pytest.raises(ValueError, match="must have a finite sum"):
        model.fit(x, y, **weights)


def test_infinite_values_and_text_are_refused_by_column() -> None:
    import polars as pl

    X, y = _data()
    X[3, 1] = np.inf
    with pytest.raises(ValueError, match="x1"):
        tree.DecisionTreeRegressor().fit(X, y)
    frame = pl.DataFrame({"a": [1.0, 2.0], "city": ["Oslo", "Rome"]})
    with pytest.raises(ValueError, match="city"):
        tree.DecisionTreeRegressor().fit(frame, [0.0, 1.0])


def test_many_counted_leaves_do_not_depend_on_when_threads_are_done() -> None:
    """Where rounding may lift a gain above what a node can gain at all, as targets span a million times what is left."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(50_000, 6))
    y = (X[:, 0] * 40).astype(int) * 1e6 + rng.normal(size=50_000)
    params: dict[str, Any] = {"n_estimators": 1, "bootstrap": False, "max_features": None, "max_leaf_nodes": 5000}
    found = set()
    for jobs in [1, 2, 2, 2, 2]:
        model = RandomForestRegressor(random_state=0, n_jobs=jobs, **params).fit(X, y)
        found.add(model.predict(X).tobytes())
    assert len(found) == 1
