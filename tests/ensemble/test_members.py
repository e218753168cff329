"""Ensembles of any members, beside scikit-learn's over the same members, and as one model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corten
from corten import ensemble, linear_model, tree
from corten.compose import make_column_transformer
from corten.pipeline import make_pipeline
from corten.preprocessing import OneHotEncoder, StandardScaler

theirs = pytest.importorskip("sklearn.ensemble")


def _data(classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 4))
    y = X[:, 0] + X[:, 1] * X[:, 2] + rng.normal(size=400) * 0.3
    return X, np.array(["a", "b", "c"])[np.digitize(y, [-0.5, 0.7])] if classes else y


def _classifiers() -> list[tuple[str, Any]]:
    return [
        ("scaled", make_pipeline(StandardScaler(), linear_model.LogisticRegression())),
        ("tree", tree.DecisionTreeClassifier(max_depth=4, random_state=0)),
        ("forest", ensemble.RandomForestClassifier(n_estimators=5, random_state=0)),
    ]


def _regressors() -> list[tuple[str, Any]]:
    return [
        ("linear", linear_model.Ridge()),
        ("tree", tree.DecisionTreeRegressor(max_depth=4, random_state=0)),
    ]


def _same_in_a_file(model: Any, X: Any, tmp_path: Path) -> None:
    model.save(tmp_path / "m.corten")
    loaded = corten.load(tmp_path / "m.corten")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    first = X[:1] if isinstance(X, np.ndarray) else X.head(1)
    row = {f"x{i}": float(v) for i, v in enumerate(X[0])} if isinstance(X, np.ndarray) else X.row(0, named=True)
    assert loaded.predict_one(row) == model.predict(first)[0]
    if hasattr(model, "predict_proba"):
        assert loaded.predict_proba(X).tobytes() == model.predict_proba(X).tobytes()


@pytest.mark.parametrize("weights", [None, [1, 2, 0.5]])
@pytest.mark.parametrize("voting", ["hard", "soft"])
def test_votes_are_those_of_scikit_learn(voting: str, weights: Any, tmp_path: Path) -> None:
    X, y = _data()
    ours = ensemble.VotingClassifier(_classifiers(), voting=voting, weights=weights).fit(X, y)
    other = theirs.VotingClassifier(_classifiers(), voting=voting, weights=weights).fit(X, y)
    np.testing.assert_array_equal(ours.predict(X), other.predict(X))
    assert hasattr(ours, "predict_proba") == (voting == "soft")
    if voting == "soft":
        np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), rtol=1e-12, atol=1e-15)
    assert list(ours.named_estimators_) == ["scaled", "tree", "forest"]
    _same_in_a_file(ours, X, tmp_path)


def test_means_are_those_of_scikit_learn(tmp_path: Path) -> None:
    X, y = _data(0)
    ours = ensemble.VotingRegressor(_regressors(), weights=[1, 3]).fit(X, y)
    other = theirs.VotingRegressor(_regressors(), weights=[1, 3]).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), other.predict(X), rtol=1e-12)
    _same_in_a_file(ours, X, tmp_path)


def test_members_may_read_some_columns_of_a_frame(raw: Any, tmp_path: Path) -> None:
    X, y = raw
    parts = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]))
    members = [
        ("city", make_pipeline(parts, linear_model.LogisticRegression())),
        ("trees", ensemble.HistGradientBoostingClassifier(max_iter=5, random_state=0)),
    ]
    model = ensemble.VotingClassifier(members, voting="soft").fit(X, y)
    want = np.mean([e.predict_proba(X) for e in model.estimators_], axis=0)
    np.testing.assert_allclose(model.predict_proba(X), want, rtol=1e-12)
    _same_in_a_file(model, X, tmp_path)


def test_parameters_reach_members_and_members_are_replaced() -> None:
    X, y = _data(0)
    model = ensemble.VotingRegressor(_regressors()).set_params(tree__max_depth=1, linear="drop").fit(X, y)
    assert len(model.estimators_) == 1 and model.estimators_[0].get_depth() == 1
    assert model.get_params()["tree__max_depth"] == 1
    np.testing.assert_array_equal(model.predict(X), model.estimators_[0].predict(X))


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"estimators": []}, "non-empty list"),
        ({"estimators": [("a", linear_model.LogisticRegression())] * 2}, "not unique"),
        ({"estimators": [("a__b", linear_model.LogisticRegression())]}, "__"),
        ({"estimators": [("a", "drop")]}, "dropped"),
        ({"voting": "loud"}, "voting"),
        ({"weights": [1]}, "1 weights, 3 estimators"),
        ({"weights": [0, 0, 0]}, "add up to more than 0"),
        ({"voting": "soft", "weights": [1, -1, 3]}, "negative"),
    ],
)
def test_unusable_members_are_named(params: dict[str, Any], said: str) -> None:
    X, y = _data()
    with pytest.raises(ValueError, match=said):
        ensemble.VotingClassifier(**{"estimators": _classifiers(), **params}).fit(X, y)


def test_members_of_others_are_refused() -> None:
    from sklearn.linear_model import LogisticRegression

    X, y = _data()
    with pytest.raises(ValueError, match="LogisticRegression is no Corten estimator"):
        ensemble.VotingClassifier([("a", LogisticRegression())]).fit(X, y)


@pytest.mark.parametrize("passthrough", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_stacked_classifiers_answer_as_in_scikit_learn(classes: int, passthrough: bool, tmp_path: Path) -> None:
    X, y = _data()
    y = np.where(y == "c", "b", y) if classes == 2 else y
    params = {"final_estimator": linear_model.LogisticRegression(), "passthrough": passthrough}
    ours = ensemble.StackingClassifier(_classifiers(), **params).fit(X, y)
    other = theirs.StackingClassifier(_classifiers(), **params).fit(X, y)
    np.testing.assert_allclose(ours.predict_proba(X), other.predict_proba(X), rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(ours.predict(X), other.predict(X))
    assert ours.stack_method_ == ["predict_proba"] * 3
    _same_in_a_file(ours, X, tmp_path)


@pytest.mark.parametrize("passthrough", [False, True])
def test_stacked_regressors_answer_as_in_scikit_learn(passthrough: bool, tmp_path: Path) -> None:
    X, y = _data(0)
    params = {"final_estimator": linear_model.Ridge(), "passthrough": passthrough, "cv": 3}
    ours = ensemble.StackingRegressor(_regressors(), **params).fit(X, y)
    other = theirs.StackingRegressor(_regressors(), **params).fit(X, y)
    np.testing.assert_allclose(ours.predict(X), other.predict(X), rtol=1e-9)
    _same_in_a_file(ours, X, tmp_path)


def test_members_fitted_before_are_stacked_as_they_are() -> None:
    X, y = _data(0)
    members = [(n, e.fit(X, y)) for n, e in _regressors()]
    model = ensemble.StackingRegressor(members, cv="prefit").fit(X, y)
    assert [a is b for a, (_, b) in zip(model.estimators_, members, strict=True)] == [True, True]
    below = np.column_stack([e.predict(X) for _, e in members])
    np.testing.assert_array_equal(model.predict(X), model.final_estimator_.predict(below))


@pytest.mark.parametrize("params", [{"cv": 1}, {"stack_method": "loud"}, {"final_estimator": linear_model.Ridge()}])
def test_unusable_stacks_are_refused(params: dict[str, Any]) -> None:
    X, y = _data()
    with pytest.raises(ValueError, match=next(iter(params))):
        ensemble.StackingClassifier(_classifiers(), **params).fit(X, y)
