"""Saving, loading, pickling; one row equals the batch to the last bit; state that goes on."""

from __future__ import annotations

import copy
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import corten
from conftest import estimators, small
from corten.ensemble import RandomForestRegressor
from corten.linear_model import LinearRegression, LogisticRegression
from corten.preprocessing import StandardScaler
from corten.streaming import RunningMoments

ALL = estimators()


def _bits(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float64).view(np.int64)


def _fitted(name: str) -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.integers(0, 5, size=(120, 3)).astype(float)
    return small(ALL[name]).fit(X, X[:, 0] > 2), X


@pytest.mark.parametrize("name", ALL)
def test_a_loaded_model_gives_the_same_numbers(name: str, tmp_path: Path) -> None:
    estimator, X = _fitted(name)
    estimator.save(tmp_path / "m.corten")
    model = corten.load(tmp_path / "m.corten")
    for method in ("predict", "predict_proba", "decision_function", "transform"):
        assert hasattr(model, method) == hasattr(estimator, method), method
        assert hasattr(model, f"{method}_one") == hasattr(estimator, method), method
        if hasattr(estimator, method):
            want = getattr(estimator, method)(X)
            want = want.toarray() if hasattr(want, "toarray") else want
            assert np.array_equal(getattr(model, method)(X), want), method
    assert model.n_features_in_ == 3 and len(model.schema["inputs"]) == 3
    assert model.metadata["estimator"] == repr(estimator)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("way", ["pickle", "copy", "joblib"])
def test_pickle_copy_and_joblib(name: str, way: str, tmp_path: Path) -> None:
    estimator, X = _fitted(name)
    if way == "joblib":
        joblib = pytest.importorskip("joblib")
        joblib.dump(estimator, tmp_path / "m.joblib")
        again = joblib.load(tmp_path / "m.joblib")
    else:
        again = pickle.loads(pickle.dumps(estimator)) if way == "pickle" else copy.deepcopy(estimator)
    method = "predict" if hasattr(estimator, "predict") else "transform"
    got, want = getattr(again, method)(X), getattr(estimator, method)(X)
    if hasattr(want, "toarray"):
        got, want = got.toarray(), want.toarray()
    assert np.array_equal(got, want)


@pytest.mark.parametrize("name", ["flat", "trees"])
def test_one_row_equals_the_batch_to_the_last_bit(
    name: str, raw: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    X, y = raw
    clone(request.getfixturevalue(name)).fit(X, y).save(tmp_path / "m.corten")
    model = corten.load(tmp_path / "m.corten")
    batch, labels = model.predict_proba(X), model.predict(X)
    for i, row in enumerate(X.to_dicts()[:200]):
        one = model.predict_proba_one(row)
        assert np.array_equal(_bits(list(one.values())), _bits(batch[i]))
        assert list(one) == [False, True]
        assert model.predict_one(row) == labels[i]


def test_rows_of_a_matrix_are_dicts_too() -> None:
    X = np.random.default_rng(0).normal(size=(30, 3))
    model = corten.Model(LinearRegression().fit(X, X[:, 0])._model)
    assert model.predict_one({"x0": X[4, 0], "x1": X[4, 1], "x2": X[4, 2]}) == model.predict(X)[4]
    scaled = corten.Model(StandardScaler().fit(X)._model)
    one = scaled.transform_one({"x0": X[0, 0], "x1": X[0, 1], "x2": X[0, 2]})
    assert list(one.values()) == scaled.transform(X)[0].tolist()


def test_one_row_is_a_builtin() -> None:
    model = corten.Model(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])._model)
    assert type(model.predict_one).__name__ == "builtin_function_or_method"


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
@pytest.mark.parametrize("target", ["number", "text"])
def test_a_few_rows_of_any_array_answer_as_many_do(method: str, target: str) -> None:
    X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32).astype(float)
    y = X[:, 0] if target == "number" else np.where(X[:, 0] > 0, "up", "down")
    model = corten.Model((LinearRegression() if target == "number" else LogisticRegression()).fit(X, y)._model)
    if target == "number" and method != "predict":
        assert not hasattr(model, method)
        return
    want = getattr(model, method)(X)
    odd = np.frombuffer(b"-" + X.tobytes(), dtype=np.float64, count=X.size, offset=1).reshape(X.shape)
    assert not odd.flags.aligned
    arrays = [X, X.astype(np.float32), np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X.astype(">f8"), odd]
    for array in arrays:
        for rows in (1, 2, 4, 5):
            got = getattr(model, method)(array[7 : 7 + rows])
            assert got.dtype == want.dtype and got.shape == want[:rows].shape
            assert np.array_equal(got, want[7 : 7 + rows])
    assert np.array_equal(getattr(model, method)(X=X[:1].tolist()), want[:1])
    with pytest.raises(ValueError, match="X has 2 features, but Model is expecting 3"):
        getattr(model, method)(X[:1, :2].copy())


def test_one_row_of_an_array_has_no_frame_of_python_before_it() -> None:
    model = corten.Model(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])._model)
    assert type(model.predict).__name__ == "builtin_function_or_method"
    assert "Predicts a class or a number" in str(model.predict.__doc__)


def test_batch_size_never_shows(raw: Any, flat: Any, trees: Any) -> None:
    X, y = raw
    for estimator in (clone(flat).fit(X, y), clone(trees).fit(X, y)):
        whole = estimator.predict_proba(X)
        for size in (1, 7, 64, 333):
            parts = [estimator.predict_proba(X[i : i + size]) for i in range(0, 350, size)]
            assert np.array_equal(_bits(np.concatenate(parts)), _bits(whole[: sum(map(len, parts))]))


def test_models_of_matrices_can_be_pickled() -> None:
    model = corten.Model(LogisticRegression().fit([[0.0], [1.0]], ["a", "b"])._model)
    again = pickle.loads(pickle.dumps(model))
    assert again.predict([[1.0]]).tolist() == ["b"] and "Model of 1 columns" in repr(again)


def test_metadata_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "m.corten"
    LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]).save(path, metadata={"note": "for tests", "r2": 1.0})
    facts = corten.load(path).metadata
    assert facts["created"].endswith("Z") and facts["numpy"] == np.__version__
    assert facts["note"] == "for tests" and facts["r2"] == 1.0 and facts["corten"] == corten.__version__


def test_running_moments_go_on_after_loading(tmp_path: Path) -> None:
    pl = pytest.importorskip("polars")
    rows = pl.DataFrame({"key": ["a", "b", "a", "a", "b"], "v": [1.0, 2.0, 3.0, 8.0, 4.0]})
    moments = RunningMoments(key="key", values=["v"]).fit(rows[:3])
    moments.save(tmp_path / "m.corten")
    model = corten.load(tmp_path / "m.corten")
    out = model.update(rows[3:])
    assert out.tolist() == [[3.0, 4.0, pytest.approx(26 / 3)], [2.0, 3.0, 1.0]]
    model.save(tmp_path / "n.corten")
    again = corten.load(tmp_path / "n.corten")
    whole = RunningMoments(key="key", values=["v"]).fit(rows)
    assert np.array_equal(_bits(again.transform(rows)), _bits(whole.transform(rows)))
    assert moments.update(rows[3:]).tolist() == out.tolist()


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers of signals on this system")
def test_signals_are_heard_during_a_long_prediction_and_may_end_it() -> None:
    random = np.random.default_rng(0)
    X = random.normal(size=(4_000, 4))
    model = RandomForestRegressor(n_estimators=100, random_state=0, n_jobs=1).fit(X, random.normal(size=len(X)))
    want, many = model.predict(X), np.tile(X, (120, 1))
    model.predict(many[:40_000])
    heard = 0

    def count(number: int, frame: Any) -> None:
        nonlocal heard
        heard += 1

    def raises(number: int, frame: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, count)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        answers = model.predict(many)
        signal.setitimer(signal.ITIMER_REAL, 0)
        # All that came during a call into Rust that doesn't look are one afterwards.
        assert heard > 2
        signal.signal(signal.SIGALRM, raises)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(KeyboardInterrupt):
            model.predict(many)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert np.array_equal(answers[: len(X)], want)
    assert np.array_equal(model.predict(X), want)


def test_a_value_of_python_may_change_the_model_that_it_is_given_to() -> None:
    code = """if True:
        import numpy as np
        from corten.linear_model import LinearRegression

        X = np.arange(20.0).reshape(10, 2)
        model = LinearRegression().fit(X, X[:, 0])._model

        class Changing:
            def __float__(self):
                model.set_metadata({"asked": True})
                return 3.0

        assert model.predict_one({"x0": Changing(), "x1": 4.0}) == model.predict_one({"x0": 3.0, "x1": 4.0})
        assert model.metadata()["asked"]
    """
    # In a process of its own: what waits for itself can't be ended otherwise.
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
