"""What forests show of their trees."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from corten import ensemble

FORESTS = ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor")


def _data(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 4))
    y = X[:, 0] + rng.normal(size=300) * 0.5
    return X, np.where(y > 0, "yes", "no") if name.endswith("Classifier") else y


@pytest.mark.parametrize("name", FORESTS)
def test_the_forest_is_the_mean_of_its_trees(name: str) -> None:
    X, y = _data(name)
    model = getattr(ensemble, name)(n_estimators=4, max_depth=5, random_state=0).fit(X, y)
    method = "predict_proba" if name.endswith("Classifier") else "predict"
    # The graph adds up in the order of the trees too.
    total = sum(getattr(tree, method)(X) for tree in model.estimators_)
    np.testing.assert_array_equal(total / 4, getattr(model, method)(X))
    assert len(model) == 4 and model[0] is model.estimators_[0]
    assert all(tree.get_depth() <= 5 for tree in model)
    importances = np.mean([tree.feature_importances_ for tree in model], axis=0)
    np.testing.assert_allclose(importances, model.feature_importances_, rtol=1e-6)


@pytest.mark.parametrize("name", FORESTS)
def test_leaves_and_paths_are_those_of_the_trees(name: str) -> None:
    X, y = _data(name)
    model = getattr(ensemble, name)(n_estimators=3, random_state=0).fit(X, y)
    leaves = model.apply(X)
    indicator, ends = model.decision_path(X)
    assert leaves.shape == (300, 3) and indicator.shape == (300, ends[-1])
    for i, tree in enumerate(model):
        np.testing.assert_array_equal(leaves[:, i], tree.apply(X))
        assert (indicator[:, ends[i] : ends[i + 1]] != tree.decision_path(X)).nnz == 0


def test_copies_keep_trees_and_pickles_say_that_they_do_not() -> None:
    X, y = _data("RandomForestRegressor")
    model = ensemble.RandomForestRegressor(n_estimators=3, random_state=0).fit(X, y)
    assert len(copy.deepcopy(model).estimators_) == 3
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    with pytest.raises(AttributeError, match="unpickled"):
        _ = again.estimators_
    with pytest.raises(AttributeError, match="not fitted"):
        _ = ensemble.RandomForestRegressor().estimators_


@pytest.mark.parametrize("name", FORESTS[:2])
def test_a_callable_scores_the_rows_out_of_bag(name: str) -> None:
    X, y = _data(name)
    seen = []

    def score(truth: np.ndarray, answers: np.ndarray) -> float:
        seen.append((truth, answers))
        return 0.25

    model = getattr(ensemble, name)(n_estimators=30, oob_score=score, random_state=0).fit(X, y)
    assert model.oob_score_ == 0.25
    np.testing.assert_array_equal(seen[0][0], y)
    assert seen[0][1].shape == y.shape and seen[0][1].dtype.kind == y.dtype.kind


@pytest.mark.parametrize("name", FORESTS)
def test_a_warm_start_gives_the_bits_of_one_fit(name: str) -> None:
    X, y = _data(name)
    cls = getattr(ensemble, name)
    grown = cls(n_estimators=3, warm_start=True, random_state=1).fit(X, y).set_params(n_estimators=7).fit(X, y)
    assert grown._model.to_bytes() == cls(n_estimators=7, random_state=1).fit(X, y)._model.to_bytes()
    assert len(grown.estimators_) == 7
    with pytest.warns(UserWarning, match="does not fit new trees"):
        grown.fit(X, y)


def test_too_few_trees_for_out_of_bag_scores_are_warned_of() -> None:
    X, y = _data("RandomForestRegressor")
    with pytest.warns(UserWarning, match="do not have OOB scores"):
        ensemble.RandomForestRegressor(n_estimators=2, oob_score=True, random_state=0).fit(X, y)


@pytest.mark.parametrize("name", FORESTS)
def test_a_first_use_from_many_threads_answers_as_a_file_does(name: str) -> None:
    rng = np.random.default_rng(1)
    X = rng.normal(size=(4000, 4))
    y = rng.integers(3, size=4000)
    forest = getattr(ensemble, name)
    expected = forest(n_estimators=20, random_state=0, n_jobs=2).fit(X, y)
    expected = pickle.loads(pickle.dumps(expected)).predict(X)
    model = forest(n_estimators=20, random_state=0, n_jobs=2).fit(X, y)
    # Coded in parallel, by the first that comes; rows alone, few and many take different ways there.
    counts = (4000, 1, 4000, 20, 4000, 1)
    with ThreadPoolExecutor(len(counts)) as pool:
        answers = list(pool.map(lambda n: model.predict(X[:n]), counts))
    for n, answer in zip(counts, answers, strict=True):
        np.testing.assert_array_equal(answer, expected[:n])


def test_more_draws_than_there_is_room_for_are_refused() -> None:
    X = np.random.default_rng(0).normal(size=(300, 3))
    forest = ensemble.RandomForestClassifier(criterion="entropy", n_estimators=1, max_samples=0.5)
    with pytest.raises(ValueError, match="max_samples draws 1500000000 rows"):
        forest.fit(X, X[:, 0] > 0, sample_weight=np.full(300, 1e7))
