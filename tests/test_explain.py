"""Explanations: the values of shap and LightGBM, which sum to the score, for every estimator of trees."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np
import pytest

import corten
from corten import ensemble, tree
from corten.compose import ColumnTransformer
from corten.exceptions import UnsupportedError
from corten.linear_model import Ridge
from corten.pipeline import make_pipeline
from corten.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

RNG = np.random.default_rng(0)
X = RNG.normal(size=(600, 5))
X[RNG.random(X.shape) < 0.05] = np.nan
SIGNAL = np.nan_to_num(X[:, 0] * X[:, 1] + X[:, 2])
Y = SIGNAL + RNG.normal(scale=0.1, size=600)
CLASSES = np.digitize(SIGNAL, [-0.5, 0.5])
MODELS: dict[str, tuple[Any, Any, str]] = {
    "boosting": (ensemble.HistGradientBoostingRegressor(max_iter=20), Y, "predict"),
    "boosting_binary": (ensemble.HistGradientBoostingClassifier(max_iter=20), CLASSES > 0, "decision_function"),
    "boosting_classes": (ensemble.HistGradientBoostingClassifier(max_iter=10), CLASSES, "decision_function"),
    "forest": (ensemble.RandomForestRegressor(n_estimators=10, random_state=0), Y, "predict"),
    "forest_outputs": (ensemble.RandomForestRegressor(n_estimators=5, random_state=0), np.c_[Y, -Y, Y**2], "predict"),
    "forest_classes": (ensemble.RandomForestClassifier(n_estimators=10, random_state=0), CLASSES, "predict_proba"),
    "extra_forest": (ensemble.ExtraTreesRegressor(n_estimators=10, random_state=0), Y, "predict"),
    "extra_forest_classes": (ensemble.ExtraTreesClassifier(n_estimators=5, random_state=0), CLASSES, "predict_proba"),
    "tree": (tree.DecisionTreeRegressor(max_depth=8, random_state=0), Y, "predict"),
    "tree_classes": (tree.DecisionTreeClassifier(random_state=0), CLASSES > 0, "predict_proba"),
    "extra_tree": (tree.ExtraTreeRegressor(random_state=0), Y, "predict"),
    "extra_tree_classes": (tree.ExtraTreeClassifier(random_state=0), CLASSES, "predict_proba"),
}


@pytest.mark.parametrize("name", MODELS)
def test_values_and_interactions_sum_to_the_score(name: str) -> None:
    model, y, method = MODELS[name]
    model.fit(X, y)
    found = model.explain(X[:50])
    score = getattr(model, method)(X[:50])
    assert found.values.shape == (50, 5, *score.shape[1:])
    np.testing.assert_allclose(found.base_values + found.values.sum(axis=1), score, rtol=0, atol=1e-9)
    pairs = model.explain(X[:50], interactions=True).values
    assert pairs.shape == (50, 5, 5, *score.shape[1:])
    np.testing.assert_allclose(pairs.sum(axis=2), found.values, rtol=0, atol=1e-9)
    np.testing.assert_allclose(pairs, np.swapaxes(pairs, 1, 2), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(found.data, X[:50])
    assert list(found.feature_names) == [f"x{i}" for i in range(5)]


def test_an_isolation_forest_is_explained_by_its_mean_depth() -> None:
    data = np.nan_to_num(X)
    model = ensemble.IsolationForest(n_estimators=20, random_state=0).fit(data)
    found = model.explain(data[:40])
    depth = found.base_values + found.values.sum(axis=1)
    scores = model.score_samples(data[:40])
    # The score falls with the depth, and depends on nothing else.
    assert np.array_equal(np.argsort(depth, kind="stable"), np.argsort(scores, kind="stable"))


def as_lightgbm(model: Any) -> Any:
    """A fitted decision tree of ours as a LightGBM model of one tree."""
    lightgbm = pytest.importorskip("lightgbm")
    nodes = model.tree_
    left, right = nodes.children_left, nodes.children_right
    inner, leaves = np.flatnonzero(left >= 0), np.flatnonzero(left < 0)
    place = {int(n): i for i, n in enumerate(inner)} | {int(n): -1 - i for i, n in enumerate(leaves)}
    count = nodes.n_node_samples
    # 8: the default goes right; 2 beside it: it goes left. Missing values are NaN.
    kinds = [8 | (2 if nodes.missing_go_to_left[n] else 0) for n in inner]

    def listed(values: Any) -> str:
        return " ".join(repr(v) if isinstance(v, float) else str(int(v)) for v in values)

    fields = {
        "num_leaves": str(len(leaves)),
        "num_cat": "0",
        "split_feature": listed(nodes.feature[inner]),
        "split_gain": listed([1] * len(inner)),
        "threshold": listed(nodes.threshold[inner].tolist()),
        "decision_type": listed(kinds),
        "left_child": listed(place[int(n)] for n in left[inner]),
        "right_child": listed(place[int(n)] for n in right[inner]),
        "leaf_value": listed(nodes.value[leaves].ravel().tolist()),
        "leaf_weight": listed(count[leaves]),
        "leaf_count": listed(count[leaves]),
        "internal_value": listed(nodes.value[inner].ravel().tolist()),
        "internal_weight": listed(count[inner]),
        "internal_count": listed(count[inner]),
        "is_linear": "0",
        "shrinkage": "1",
    }
    width = model.n_features_in_
    head = (
        "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\n"
        f"max_feature_idx={width - 1}\nobjective=regression\n"
        f"feature_names={' '.join(f'x{i}' for i in range(width))}\n"
        f"feature_infos={' '.join(['[-9:9]'] * width)}\n"
    )
    body = "Tree=0\n" + "".join(f"{k}={v}\n" for k, v in fields.items())
    return lightgbm.Booster(model_str=f"{head}tree_sizes={len(body) + 2}\n\n{body}\n\nend of trees\n")


@pytest.mark.parametrize("depth", [1, 2, 5, None])
def test_values_are_those_of_lightgbm(depth: int | None) -> None:
    model = tree.DecisionTreeRegressor(max_depth=depth, min_samples_leaf=3, random_state=0).fit(X, Y)
    theirs = as_lightgbm(model).predict(X, pred_contrib=True)
    found = model.explain(X)
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(found.values, theirs[:, :-1], rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(found.base_values, theirs[:, -1], rtol=0, atol=1e-12 * scale)


@pytest.mark.parametrize("wide", [False, True])
def test_values_and_interactions_are_those_of_shap(wide: bool) -> None:
    shap = pytest.importorskip("shap")
    data = RNG.normal(size=(400, 30)) if wide else np.nan_to_num(X)
    y = data[:, 0] * data[:, 1] + data[:, 2]
    model = ensemble.RandomForestRegressor(n_estimators=4, random_state=0, max_leaf_nodes=100).fit(data, y)
    trees = [
        {
            "children_left": t.children_left,
            "children_right": t.children_right,
            "children_default": t.children_left,
            "features": t.feature,
            "thresholds": t.threshold,
            "values": t.value[:, :, 0] / 4,
            "node_sample_weight": t.weighted_n_node_samples,
        }
        for t in (m.tree_ for m in model.estimators_)
    ]
    explainer = shap.TreeExplainer({"trees": trees, "internal_dtype": np.float64, "input_dtype": np.float64})
    found = model.explain(data[:20])
    assert isinstance(found, shap.Explanation)
    np.testing.assert_allclose(found.values, np.squeeze(explainer.shap_values(data[:20])), rtol=0, atol=1e-10)
    pairs = np.squeeze(explainer.shap_interaction_values(data[:5]))
    np.testing.assert_allclose(model.explain(data[:5], interactions=True).values, pairs, rtol=0, atol=1e-10)


def test_explanations_are_the_same_bits_for_any_cut_and_number_of_threads_and_after_saving(
    tmp_path: pathlib.Path,
) -> None:
    model = ensemble.RandomForestClassifier(n_estimators=8, random_state=0, n_jobs=1).fit(X, CLASSES)
    whole = model.explain(X)
    for cut in ([X[:1], X[1:18], X[18:]], [X[:333], X[333:]]):
        parts = np.concatenate([model.explain(part).values for part in cut])
        assert parts.tobytes() == whole.values.tobytes()
    assert model.set_params(n_jobs=3).explain(X).values.tobytes() == whole.values.tobytes()
    model.save(tmp_path / "m.corten")
    again = corten.load(tmp_path / "m.corten").explain(X)
    assert again.values.tobytes() == whole.values.tobytes()
    assert again.base_values.tobytes() == whole.base_values.tobytes()


def test_explanations_are_the_same_bits_on_every_level_of_instructions() -> None:
    code = (
        "import numpy as np, hashlib; from corten.ensemble import HistGradientBoostingRegressor as H;"
        "r = np.random.default_rng(0); x = r.normal(size=(300, 6)); y = x[:, 0] * x[:, 1];"
        "m = H(max_iter=5).fit(x, y); v = m.explain(x[:77]).values, m.explain(x[:9], interactions=True).values;"
        "print(hashlib.sha256(b''.join(a.tobytes() for a in v)).hexdigest())"
    )
    seen = set()
    for level in ("plain", "avx2", "avx512"):
        env = {**os.environ, "CORTEN_CPU": level, "PYTHONPATH": os.pathsep.join(sys.path)}
        seen.add(subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True).stdout)
    assert len(seen) == 1


def test_codes_of_one_column_are_one_feature() -> None:
    pl = pytest.importorskip("polars")
    towns = [f"t{i}" for i in RNG.integers(0, 90, 900)]
    frame = pl.DataFrame({"town": towns, "size": RNG.normal(size=900)})
    y = np.array([int(t[1:]) % 7 for t in towns]) + frame["size"].to_numpy()
    model = ensemble.HistGradientBoostingRegressor(max_iter=15).fit(frame, y)
    found = model.explain(frame[:30])
    assert found.values.shape == (30, 2) and list(found.feature_names) == ["town", "size"]
    np.testing.assert_allclose(found.base_values + found.values.sum(axis=1), model.predict(frame[:30]), atol=1e-9)
    assert found.data[:, 0].tolist() == towns[:30]
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.corten")
        model.save(path)
        again = corten.load(path).explain(frame[:30])
    assert list(again.feature_names) == ["town", "size"] and again.values.tobytes() == found.values.tobytes()


def test_a_pipeline_is_explained_by_the_columns_of_its_last_step(tmp_path: pathlib.Path) -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame(
        {"color": RNG.choice(["red", "green"], 300), "size": RNG.choice(["s", "l"], 300), "w": RNG.normal(size=300)}
    )
    y = (frame["color"] == "red").to_numpy() * 2.0 + frame["w"].to_numpy()
    prepare = ColumnTransformer(
        [("hot", OneHotEncoder(), ["color"]), ("code", OrdinalEncoder(), ["size"]), ("scale", StandardScaler(), ["w"])]
    )
    model = make_pipeline(prepare, tree.DecisionTreeRegressor(max_depth=4, random_state=0)).fit(frame, y)
    found = model.explain(frame[:20])
    assert list(found.feature_names) == list(prepare.get_feature_names_out())
    np.testing.assert_allclose(found.base_values + found.values.sum(axis=1), model.predict(frame[:20]), atol=1e-9)
    model.save(tmp_path / "m.corten")
    again = corten.load(tmp_path / "m.corten").explain(frame[:20])
    assert list(again.feature_names) == ["color_green", "color_red", "size", "w"]
    np.testing.assert_allclose(again.values, found.values, rtol=0, atol=1e-12)


def test_what_has_no_trees_or_several_ensembles_says_so(tmp_path: pathlib.Path) -> None:
    Ridge().fit(np.nan_to_num(X), Y).save(tmp_path / "linear.corten")
    with pytest.raises(UnsupportedError, match="no trees"):
        corten.load(tmp_path / "linear.corten").explain(X)
    members = [(n, tree.DecisionTreeRegressor(max_depth=2)) for n in "ab"]
    ensemble.VotingRegressor(members).fit(np.nan_to_num(X), Y).save(tmp_path / "voting.corten")
    with pytest.raises(UnsupportedError, match="2 ensembles of trees"):
        corten.load(tmp_path / "voting.corten").explain(X)
    with pytest.raises(ValueError, match="4 features"):
        tree.DecisionTreeRegressor().fit(X, Y).explain(X[:, :4])
    assert not hasattr(make_pipeline(Ridge()), "explain")


def test_no_rows_and_trees_of_one_leaf() -> None:
    model = tree.DecisionTreeRegressor().fit(np.ones((4, 2)), [3.0] * 4)
    found = model.explain(np.ones((2, 2)))
    assert found.values.tolist() == [[0.0, 0.0]] * 2 and found.base_values.tolist() == [3.0, 3.0]
    assert np.asarray(model.explain(np.ones((3, 2)), interactions=True).values).shape == (3, 2, 2)
