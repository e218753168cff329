"""Every kind of table gives the same numbers, and unusable ones are refused with a sentence."""

from __future__ import annotations

import datetime
import subprocess
import sys
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import corten
from corten.compose import make_column_transformer
from corten.ensemble import HistGradientBoostingRegressor
from corten.linear_model import LinearRegression, LogisticRegression, Ridge
from corten.pipeline import make_pipeline
from corten.preprocessing import MaxAbsScaler, OneHotEncoder, StandardScaler

pl = pytest.importorskip("polars")
pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")


class OnlyStream:
    """Something that has `__arrow_c_stream__` and nothing else."""

    def __init__(self, table: Any) -> None:
        self.table = table

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.table.__arrow_c_stream__(requested_schema)


def _enum(frame: Any) -> Any:
    return frame.with_columns(pl.col("city").cast(pl.Enum(frame["city"].drop_nulls().unique(maintain_order=True))))


def _duckdb(frame: Any) -> Any:
    duckdb = pytest.importorskip("duckdb")
    return duckdb.from_arrow(frame.to_arrow())


def _datafusion(frame: Any) -> Any:
    return pytest.importorskip("datafusion").SessionContext().from_arrow(frame.to_arrow())


FRAMES = {
    "polars strings": lambda f: f,
    "polars categorical": lambda f: f.with_columns(pl.col("city").cast(pl.Categorical)),
    "polars enum": _enum,
    "polars lazy": lambda f: f.lazy(),
    "polars chunks": lambda f: pl.concat([f[:100], f[100:350], f[350:]], rechunk=False),
    "polars slice": lambda f: pl.concat([f[:7], f])[7:],
    "pandas": lambda f: f.to_pandas(),
    "pandas objects": lambda f: f.to_pandas().astype({"city": object}),
    "pandas category": lambda f: f.to_pandas().astype({"city": "category"}),
    "pandas arrow": lambda f: f.to_pandas(use_pyarrow_extension_array=True),
    "pandas nullable": lambda f: f.to_pandas().convert_dtypes(),
    "pandas index": lambda f: f.to_pandas().set_index(np.arange(len(f)) * 3),
    "pyarrow table": lambda f: f.to_arrow(),
    "pyarrow dictionary": lambda f: _enum(f).to_arrow(),
    "record batches": lambda f: f.to_arrow().to_reader(),
    "one batch": lambda f: f.to_arrow().combine_chunks().to_batches()[0],
    "stream only": lambda f: OnlyStream(f.to_arrow()),
    "duckdb": _duckdb,
    "datafusion": _datafusion,
    "other order": lambda f: f.select("city", "hour", "distance"),
    "further columns": lambda f: f.with_columns(extra=pl.lit("x")),
}


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("estimator", ["flat", "trees"])
def test_every_frame_gives_the_same_probabilities(
    raw: Any, kind: str, estimator: str, request: pytest.FixtureRequest
) -> None:
    rows, y = raw
    model = clone(request.getfixturevalue(estimator)).fit(rows, y)
    assert np.array_equal(model.predict_proba(FRAMES[kind](rows)), model.predict_proba(rows))


@pytest.mark.parametrize("kind", [k for k in FRAMES if k not in ("other order", "further columns")])
def test_every_frame_fits_the_same_model(raw: Any, kind: str, flat: Any) -> None:
    rows, y = raw
    want = clone(flat).fit(rows, y).predict_proba(rows)
    np.testing.assert_array_equal(clone(flat).fit(FRAMES[kind](rows), y).predict_proba(rows), want)


MATRIX = np.random.default_rng(0).integers(0, 100, size=(60, 4)).astype(np.float64)
ARRAYS = {
    "c": lambda X: np.ascontiguousarray(X),
    "fortran": lambda X: np.asfortranarray(X),
    "reversed": lambda X: X[::-1, ::-1].copy()[::-1, ::-1],
    "strided": lambda X: np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
    "f32": lambda X: X.astype(np.float32),
    "f16": lambda X: X.astype(np.float16),
    "big endian": lambda X: X.astype(">f8"),
    **{t: (lambda X, t=t: X.astype(t)) for t in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")},
    "objects": lambda X: X.astype(object),
    "lists": lambda X: X.tolist(),
    "tuples": lambda X: [tuple(r) for r in X],
    "read only": lambda X: np.frombuffer(X.tobytes()).reshape(X.shape),
    "pandas numbers": lambda X: pd.DataFrame(X),
    "torch-like": lambda X: type("T", (), {"__array__": lambda self, dtype=None, copy=None: X})(),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_every_array_gives_the_same_numbers(kind: str) -> None:
    y = MATRIX @ [1.0, 2.0, 3.0, 4.0]
    want = Ridge().fit(MATRIX, y).predict(MATRIX)
    X = ARRAYS[kind](MATRIX)
    np.testing.assert_array_equal(Ridge().fit(X, y).predict(X), want)


@pytest.mark.parametrize("format", ["csr", "csc", "coo", "lil", "dok"])
def test_sparse_formats(format: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    X = MATRIX * (MATRIX > 50)
    y = (MATRIX[:, 0] > 50).astype(int)
    want = LogisticRegression().fit(sparse.csr_matrix(X), y).predict_proba(X)
    got = LogisticRegression().fit(sparse.csr_matrix(X).asformat(format), y).predict_proba(X)
    assert np.array_equal(got, want)
    with pytest.raises(TypeError, match="Sparse data was passed"):
        StandardScaler().fit(sparse.csr_matrix(X))


@pytest.mark.parametrize("target", ["series", "polars", "arrow", "list", "enum"])
def test_targets_of_every_library(target: str) -> None:
    words = ["no" if v < 50 else "yes" for v in MATRIX[:, 0]]
    y = {
        "series": lambda: pd.Series(words),
        "polars": lambda: pl.Series(words),
        "arrow": lambda: pa.chunked_array([words]),
        "list": lambda: words,
        "enum": lambda: pl.Series(words, dtype=pl.Enum(["no", "yes"])),
    }[target]()
    model = LogisticRegression().fit(MATRIX, y)
    assert model.classes_.tolist() == ["no", "yes"]
    assert model.score(MATRIX, y) > 0.9


@pytest.mark.parametrize("lies", ["unaligned", "big-endian", "strided", "backwards", "read-only"])
def test_targets_and_weights_give_the_same_model_however_they_lie(lies: str) -> None:
    def lying(values: np.ndarray) -> np.ndarray:
        match lies:
            case "unaligned":
                return np.frombuffer(b"x" + values.tobytes(), values.dtype, offset=1)
            case "big-endian":
                return values.astype(values.dtype.newbyteorder(">"))
            case "strided":
                return np.column_stack([values, values])[:, 1]
            case "backwards":
                return values[::-1].copy()[::-1]
        out = values.copy()
        out.setflags(write=False)
        return out

    rng = np.random.default_rng(0)
    X, weights = rng.normal(size=(200, 3)), rng.uniform(0.5, 2.0, size=200)
    y = X[:, 0] + rng.normal(size=200)
    model = HistGradientBoostingRegressor(max_iter=3)
    want = model.fit(X, y, sample_weight=weights)._model.to_bytes()
    assert model.fit(X, lying(y), sample_weight=lying(weights))._model.to_bytes() == want
    classes = np.digitize(y, [-1, 1])
    logistic = LogisticRegression()
    np.testing.assert_array_equal(logistic.fit(X, classes).coef_, clone(logistic).fit(X, lying(classes)).coef_)


def test_columns_are_borrowed_not_copied() -> None:
    from corten import _inputs

    frame = pd.DataFrame(np.zeros((1000, 3)), columns=list("abc"))
    inputs = _inputs.read(frame, "test")
    assert all(np.shares_memory(c, frame["a"].to_numpy()) or c.base is not None for c in inputs.data[2])


@pytest.mark.parametrize(
    ("module", "name"), [("pyspark.sql", "DataFrame"), ("dask.dataframe", "DataFrame"), ("ray.data", "Dataset")]
)
def test_distributed_frames_are_refused_with_a_sentence(module: str, name: str) -> None:
    frame = type(name, (), {"__module__": module})()
    with pytest.raises(TypeError, match=f"distributed {module.partition('.')[0]} {name}.*on purpose"):
        Ridge().fit(frame, [1.0])


def test_strings_in_a_list_are_categories() -> None:
    out = OneHotEncoder(sparse_output=False).fit_transform([["a", 1], ["b", 2]])
    assert out.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]


def test_names_are_kept_and_compared() -> None:
    frame = pd.DataFrame(MATRIX, columns=list("abcd"))
    model = Ridge().fit(frame, MATRIX[:, 0])
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"] and model.n_features_in_ == 4
    with pytest.warns(
        UserWarning, match="X does not have valid feature names, but Ridge was fitted with feature names"
    ):
        model.predict(MATRIX)
    with pytest.raises(ValueError, match="now missing:\n- d"):
        model.predict(frame.drop(columns="d"))
    with pytest.warns(UserWarning, match="X has feature names, but Ridge was fitted without feature names"):
        Ridge().fit(MATRIX, MATRIX[:, 0]).predict(frame)


def test_without_pyarrow_pandas_text_still_works() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import pandas as pd\n"
        "from corten.preprocessing import OneHotEncoder\n"
        "frame = pd.DataFrame({'c': pd.Series(['a', 'b', None], dtype=object)})\n"
        "print(OneHotEncoder(sparse_output=False).fit_transform(frame).tolist())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]", result.stderr


def test_an_arrow_array_of_structs_is_a_table_unless_rows_are_missing() -> None:
    pa = pytest.importorskip("pyarrow")
    model = LinearRegression().fit(np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 3.0]]), [1.0, 2.0, 3.0])
    rows = [{"a": 1.0, "b": 2.0}, {"a": 2.0, "b": 1.0}]
    assert len(model.predict(pa.array(rows))) == 2
    with pytest.raises(ValueError, match="rows that are missing"):
        model.predict(pa.array([*rows, None]))
    with pytest.raises(TypeError, match="a table is needed"):
        model.predict(pa.array([1.0, 2.0]))


def test_decimals_are_the_nearest_numbers() -> None:
    pa = pytest.importorskip("pyarrow")
    from decimal import Decimal

    values = [Decimal("0.1"), Decimal("-12.34"), Decimal("1e-5")]
    frame = pa.table({"x": pa.array(values, pa.decimal128(20, 6))})
    assert MaxAbsScaler().fit([[1.0]]).transform(frame)[:, 0].tolist() == [0.1, -12.34, 1e-5]


def test_arrays_that_numpy_broadcast_are_read_as_their_copies_are() -> None:
    repeated = np.broadcast_to([1.0, 2.0], (5, 2))
    across = np.broadcast_to(np.arange(5.0)[:, None], (5, 2))
    for x in (repeated, across):
        assert np.array_equal(StandardScaler().fit_transform(x), StandardScaler().fit_transform(x.copy()))


def test_objects_of_pandas_are_text_where_all_are_and_numbers_where_asked_for() -> None:
    texts = ["a", None, float("nan"), pd.NA, "b", "a"] * 50
    frame = pd.DataFrame({"t": pd.Series(texts, dtype=object), "x": np.arange(300.0)})
    plain = [v if isinstance(v, str) else None for v in texts]
    want = OneHotEncoder(sparse_output=False).fit_transform(pl.DataFrame({"t": plain}))
    assert np.array_equal(OneHotEncoder(sparse_output=False).fit_transform(frame[["t"]]), want)
    # What Arrow would take for numbers or refuse on its own stays what it is elsewhere.
    numbers = pd.DataFrame({"n": pd.Series(["1.5", "2", "4"], dtype=object)})
    assert MaxAbsScaler().fit_transform(numbers).ravel().tolist() == [0.375, 0.5, 1.0]
    for bad in ([1, "a"], [b"a", b"b"], [object(), "a"]):
        with pytest.raises(TypeError, match="'t'"):
            OneHotEncoder().fit(pd.DataFrame({"t": pd.Series(bad, dtype=object)}))


def test_numbers_of_pandas_are_borrowed_from_its_blocks() -> None:
    frame = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=list("abc"))
    frame["i"] = np.arange(4, dtype=np.int32)
    frame["b"] = [True, False, True, False]
    every = [frame, frame.iloc[::2], frame.iloc[::-1], frame[["c", "a", "b", "i"]], frame.iloc[1:1].copy()]
    for part in every[:-1]:
        model = LinearRegression().fit(part, np.arange(len(part)))
        alike = LinearRegression().fit(pl.DataFrame({c: part[c].tolist() for c in part.columns}), np.arange(len(part)))
        assert np.array_equal(model.coef_, alike.coef_)
    with pytest.raises(ValueError, match="0 sample"):
        LinearRegression().fit(every[-1], [])


def test_columns_of_pandas_that_a_model_does_not_read_may_hold_anything(tmp_path: Path) -> None:
    known = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [0.5, 3.0, 1.0]})
    y = [0.0, 1.0, 3.0]
    more = known.assign(
        when=[datetime.date(2020, 1, 1)] * 3,
        lists=[[1], [], [2, 3]],
        arrays=[np.arange(2), np.arange(0), np.arange(3)],
        mixed=[1, "a", None],
        complex=[1j, 2j, 3j],
        sparse=pd.arrays.SparseArray([0, 1, 0]),
    )
    more = more[["when", "b", "lists", "arrays", "a", "mixed", "complex", "sparse"]]
    estimator = LinearRegression().fit(known, y)
    pipeline = make_pipeline(StandardScaler(), LinearRegression()).fit(known, y)
    columns = make_column_transformer((StandardScaler(), ["b"]), remainder="passthrough").fit(known)
    estimator.save(tmp_path / "m.corten")
    for model in (estimator, pipeline, corten.load(tmp_path / "m.corten")):
        np.testing.assert_array_equal(model.predict(more), model.predict(known))
    np.testing.assert_array_equal(columns.transform(more), columns.transform(known))
    with pytest.raises(TypeError, match="not 'list'"):
        estimator.predict(known.assign(a=more["lists"]))


def test_decimals_of_pandas_are_numbers() -> None:
    numbers = [1.5, -2.25, np.nan]
    decimals = pd.DataFrame(
        {"a": [Decimal("1.5"), Decimal("-2.25"), None], "b": [Decimal(1), Decimal("NaN"), Decimal(3)]}
    )
    model = HistGradientBoostingRegressor(max_iter=3, min_samples_leaf=1).fit(np.c_[numbers, numbers], [1.0, 2.0, 3.0])
    want = model.predict(np.array([[1.5, 1], [-2.25, np.nan], [np.nan, 3]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_array_equal(model.predict(decimals), want)
