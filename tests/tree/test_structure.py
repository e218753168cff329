"""What fitted trees show of their nodes, beside scikit-learn's own."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from corten import tree

pytest.importorskip("sklearn")
import sklearn.tree

NAMES = ("DecisionTreeClassifier", "DecisionTreeRegressor")


def _pair(name: str, **params: Any) -> tuple[Any, Any, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    # Values that are float32 too: scikit-learn compares in that type.
    X = rng.normal(size=(600, 4)).astype(np.float32).astype(np.float64)
    y = 2 * X[:, 0] + np.sin(3 * X[:, 1]) + rng.normal(size=600) * 0.5
    if name.endswith("Classifier"):
        y = np.digitize(y, [-1.0, 1.0])
    X[::5, 2] = np.nan
    params = {"random_state": 0, "max_depth": 5, "min_samples_leaf": 12, **params}
    ours, theirs = getattr(tree, name)(**params), getattr(sklearn.tree, name)(**params)
    return ours.fit(X, y), theirs.fit(X, y), X, y


@pytest.mark.parametrize("name", NAMES)
def test_arrays_are_those_of_scikit_learn(name: str) -> None:
    ours, theirs, _, _ = _pair(name)
    a, b = ours.tree_, theirs.tree_
    for array in ("children_left", "children_right", "feature", "n_node_samples"):
        np.testing.assert_array_equal(getattr(a, array), getattr(b, array), err_msg=array)
    for array in ("threshold", "impurity", "weighted_n_node_samples", "value"):
        np.testing.assert_allclose(getattr(a, array), getattr(b, array), rtol=1e-9, atol=1e-9, err_msg=array)
    inner = a.children_left >= 0
    np.testing.assert_array_equal(a.missing_go_to_left[inner], b.missing_go_to_left[inner])
    for size in ("node_count", "n_leaves", "max_depth", "n_features", "n_outputs", "max_n_classes"):
        assert getattr(a, size) == getattr(b, size), size
    assert (ours.get_depth(), ours.get_n_leaves()) == (theirs.get_depth(), theirs.get_n_leaves())


@pytest.mark.parametrize("name", NAMES)
def test_paths_are_those_of_scikit_learn(name: str) -> None:
    ours, theirs, X, _ = _pair(name)
    np.testing.assert_array_equal(ours.apply(X), theirs.apply(X))
    a, b = ours.decision_path(X), theirs.decision_path(X)
    assert a.shape == b.shape and (a != b).nnz == 0
    again = pickle.loads(pickle.dumps(ours))
    np.testing.assert_array_equal(again.apply(X), ours.apply(X))


@pytest.mark.parametrize("name", NAMES)
def test_leaves_hold_what_is_predicted(name: str) -> None:
    ours, _, X, _ = _pair(name)
    answers = ours.predict_proba(X) if hasattr(ours, "predict_proba") else ours.predict(X)
    values = ours.tree_.value[ours.apply(X)]
    np.testing.assert_array_equal(values[:, 0] if answers.ndim == 2 else values[:, 0, 0], answers)


@pytest.mark.parametrize("name", NAMES)
def test_pruning_path_is_that_of_scikit_learn(name: str) -> None:
    ours, theirs, X, y = _pair(name)
    a, b = ours.cost_complexity_pruning_path(X, y), theirs.cost_complexity_pruning_path(X, y)
    np.testing.assert_allclose(a.ccp_alphas, b.ccp_alphas, rtol=1e-6, atol=1e-12)
    np.testing.assert_allclose(a["impurities"], b["impurities"], rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("params", [{}, {"max_depth": 1, "decimals": 4}, {"show_weights": True, "spacing": 2}], ids=str)
def test_text_is_that_of_scikit_learn(name: str, params: dict[str, Any]) -> None:
    ours, theirs, _, _ = _pair(name)
    assert tree.export_text(ours, **params) == sklearn.tree.export_text(theirs, **params)


@pytest.mark.parametrize("name", NAMES)
def test_graph_has_every_node_and_edge(name: str, tmp_path: Any) -> None:
    ours, _, _, _ = _pair(name)
    text = tree.export_graphviz(ours, feature_names=["a", 'b"', "c", "d"])
    assert text is not None
    assert text.count("[label=") == ours.tree_.node_count
    assert text.count("->") == ours.tree_.node_count - 1
    path = tmp_path / "tree.dot"
    assert tree.export_graphviz(ours, path, max_depth=1) is None
    assert path.read_text().count("(...)") == (ours.tree_.depths == 2).sum()


def test_plot_shows_every_node() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    ours, _, _, _ = _pair(NAMES[0])
    assert len(tree.plot_tree(ours, ax=Figure().subplots())) == ours.tree_.node_count


def test_before_fit_there_are_no_nodes() -> None:
    model = tree.DecisionTreeRegressor()
    assert not hasattr(model, "tree_")
    with pytest.raises(ValueError, match="not fitted"):
        model.apply([[0.0]])


def test_names_of_another_number_are_refused() -> None:
    ours, _, _, _ = _pair(NAMES[0])
    with pytest.raises(ValueError, match="feature_names must contain 4 elements, got 1"):
        tree.export_text(ours, feature_names=["a"])
