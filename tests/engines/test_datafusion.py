"""Functions of DataFusion, in Python and through its foreign interface: both have the local bits, and say what is wrong."""

from __future__ import annotations

import importlib.metadata
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import datafusion
import numpy as np
import polars as pl
import pytest

import corten
import corten.datafusion
from corten.conformal import SplitConformalRegressor
from corten.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from corten.exceptions import UnsupportedError
from corten.impute import SimpleImputer
from corten.linear_model import LinearRegression, LogisticRegression
from corten.preprocessing import StandardScaler

COLUMNS = ["count", "distance", "holiday", "city"]
CALL = "late(count, distance, holiday, city)"
NATIVE = ("corten_datafusion", "corten-datafusion (from extensions/datafusion)")


@pytest.fixture(params=[False, True], ids=["python", "native"])
def native(request: Any, engine: Any) -> bool:
    if request.param:
        engine(*NATIVE)
    return request.param


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Whole numbers, floats, booleans and text, each with gaps."""
    random, n = np.random.default_rng(3), 30_000
    columns = {
        "count": random.integers(-50, 50, n),
        "distance": random.normal(scale=100, size=n),
        "holiday": random.random(n) < 0.3,
        "city": random.choice(["Rome", "Oslo", "Łódź", ""], n),
    }
    gaps = {
        c: [None if gap else v for v, gap in zip(columns[c].tolist(), random.random(n) < 0.1, strict=True)]
        for c in columns
    }
    return pl.DataFrame({**gaps, "row": np.arange(n)})


@pytest.fixture(scope="module")
def models(rows: pl.DataFrame) -> dict[str, corten.Model]:
    """Classifiers of each type of class, and what answers with numbers, several of them, and text."""
    x = rows.select(pl.col("count", "distance", "holiday"), pl.col("city").cast(pl.Categorical))
    positive = (x["distance"].fill_null(0) + 10 * x["count"].fill_null(0) > 0).to_numpy()
    few = {"max_iter": 5, "categorical_features": "from_dtype", "random_state": 0}
    targets = {
        "text": np.where(positive, "late", "early"),
        "int": positive * 7,
        "bool": positive,
        "float": positive * 2.0,
    }
    found = {f"class of {k}": HistGradientBoostingClassifier(**few).fit(x, y) for k, y in targets.items()}
    found["number"] = HistGradientBoostingRegressor(**few).fit(x, positive * x["distance"].fill_null(1).to_numpy())
    return found


def query(frame: pl.DataFrame, model: Any, native: bool, sql: str, partitions: int = 2, **options: Any) -> pl.DataFrame:
    """What SQL with a model as `late` makes of the table `flights`."""
    settings = datafusion.SessionConfig().with_target_partitions(partitions).with_batch_size(1000)
    context = datafusion.SessionContext(settings)
    context.from_arrow(frame.to_arrow(), name="flights")
    context.register_udf(corten.datafusion.udf(model, "late", native=native, **options))
    return pl.from_arrow(context.sql(sql).to_arrow_table())


def bits(values: Any) -> list[Any]:
    """Values of which floats are compared bit by bit."""
    series = values if isinstance(values, pl.Series) else pl.Series(values)
    return series.to_numpy().view(np.uint64).tolist() if series.dtype == pl.Float64 else series.to_list()


def answered(context: Any, frame: pl.DataFrame, late: Any) -> Any:
    """A frame of DataFusion with answers, in the order of the rows."""
    answer = late(*(datafusion.col(c) for c in COLUMNS)).alias("p")
    return context.from_arrow(frame.to_arrow()).select(datafusion.col("row"), answer).sort(datafusion.col("row"))


@pytest.mark.parametrize("partitions", [1, 4])
def test_answers_of_every_type_have_the_local_bits(
    models: dict[str, Any], rows: pl.DataFrame, native: bool, partitions: int
) -> None:
    x = rows.select(COLUMNS)
    for name, model in models.items():
        found = query(rows, model, native, f"select row, {CALL} p from flights order by row", partitions)
        assert found["row"].to_list() == rows["row"].to_list()
        assert bits(found["p"]) == bits(model.predict(x)), name


def test_answers_of_several_columns_are_structs(models: dict[str, Any], rows: pl.DataFrame, native: bool) -> None:
    model, sql = models["class of text"], f"select row, {CALL} p from flights order by row"
    found = query(rows, model, native, sql, method="predict_proba")["p"]
    assert found.dtype == pl.Struct({"probability_early": pl.Float64, "probability_late": pl.Float64})
    wanted = model.predict_proba(rows.select(COLUMNS))
    assert all(bits(found.struct[k]) == bits(np.ascontiguousarray(wanted[:, k])) for k in range(2))
    some = f"select count(*) n from flights where {CALL}['probability_late'] > 0.5"
    assert query(rows, model, native, some, method="predict_proba")["n"].item() == (wanted[:, 1] > 0.5).sum()

    numbers = rows.select("count", "distance").fill_null(0)
    scaled, two = StandardScaler().fit(numbers), "select row, late(count, distance) p from flights order by row"
    whole = rows.with_columns(numbers)
    found = query(whole, scaled, native, two, method="transform")["p"].struct.unnest()
    assert found.columns == ["count", "distance"]
    assert np.array_equal(found.to_numpy(), scaled.transform(numbers))
    around = SplitConformalRegressor(LinearRegression().fit(numbers, numbers["count"]))
    around.conformalize(numbers, numbers["count"] + numbers["distance"])
    found = query(whole, around, native, two, method="predict_interval")["p"].struct.unnest()
    assert np.array_equal(found.to_numpy(), around.predict_interval(numbers)[1][:, :, 0])

    text = SimpleImputer(strategy="most_frequent").fit(rows.select("city"))
    found = query(rows, text, native, "select late(city) p from flights order by row", method="transform")["p"]
    assert found.to_list() == text.transform(rows.select("city"))[:, 0].tolist()


def test_a_path_is_a_model_and_the_method_its_name(
    models: dict[str, Any], rows: pl.DataFrame, native: bool, tmp_path: Path
) -> None:
    models["class of text"].save(tmp_path / "m.corten")
    context = datafusion.SessionContext()
    context.from_arrow(rows.to_arrow(), name="flights")
    context.register_udf(corten.datafusion.udf(tmp_path / "m.corten", method="decision_function", native=native))
    sql = f"select {CALL.replace('late', 'decision_function')} p from flights order by row"
    found = pl.from_arrow(context.sql(sql).to_arrow_table())["p"]
    assert bits(found) == bits(models["class of text"].decision_function(rows.select(COLUMNS)))


def test_columns_may_have_any_type_that_fits(models: dict[str, Any], rows: pl.DataFrame, native: bool) -> None:
    model, some = models["class of text"], rows.head(3000)
    wanted = model.predict_proba(some.select(COLUMNS))[:, 1]
    small = [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.Decimal(12, 2)]
    casts = [pl.col("count").cast(kind) for kind in small]
    casts += [pl.col("city").cast(kind) for kind in (pl.Categorical, pl.Enum(["", "Oslo", "Rome", "Łódź"]))]
    sql = f"select {CALL}['probability_late'] p from flights order by row"
    for cast in casts:
        found = query(some.with_columns(cast), model, native, sql, method="predict_proba")
        assert np.array_equal(found["p"].to_numpy(), wanted), cast
    for kind in ("varchar", "arrow_cast(city, 'LargeUtf8')", "arrow_cast(city, 'Utf8View')"):
        city = "city" if kind == "varchar" else kind
        found = query(some, model, native, sql.replace("city)", f"{city})"), method="predict_proba")
        assert np.array_equal(found["p"].to_numpy(), wanted), kind
    # From 2^53 on floats are coarser than whole numbers, and a third of a float32 is no third.
    line = LinearRegression(fit_intercept=False).fit(pl.DataFrame({"a": [1.0, 2.0]}), [1.0, 2.0])
    for values, kind in {
        (2**53 + 1, -(2**63)): pl.Int64,
        (2**64 - 1, 3): pl.UInt64,
        (1 / 3, 1e-40): pl.Float32,
    }.items():
        frame = pl.DataFrame({"a": pl.Series(values, dtype=kind)})
        found = query(frame, line, native, "select late(a) p from flights")["p"]
        assert bits(found) == bits(line.predict(frame))


def test_literals_are_arguments(models: dict[str, Any], rows: pl.DataFrame, native: bool) -> None:
    model, some = models["class of text"], rows.head(2000)
    one = some.with_columns(
        pl.lit(7).alias("count"), pl.lit("Rome").alias("city"), pl.lit(None, pl.Float64).alias("distance")
    )
    sql = "select late(7, null, holiday, 'Rome') p from flights order by row"
    assert query(some, model, native, sql)["p"].to_list() == model.predict(one.select(COLUMNS)).tolist()
    assert query(some, model, native, "select late(7, null, null, 'Rome') p")["p"].len() == 1


def test_tables_without_rows_and_filters_that_leave_none(
    models: dict[str, Any], rows: pl.DataFrame, native: bool
) -> None:
    for sql in (f"select {CALL} p from flights", f"select {CALL} p from flights where distance > 1e300"):
        for method, kind in {"predict": pl.String, "predict_proba": pl.Struct}.items():
            found = query(rows.clear(), models["class of text"], native, sql, method=method)["p"]
            assert found.len() == 0 and found.dtype.base_type() in (kind, pl.String)
            assert (
                query(rows, models["class of text"], native, sql, method=method)["p"].dtype.base_type()
                == found.dtype.base_type()
            )


def test_a_file_is_scored_by_many_threads_at_once(
    models: dict[str, Any], rows: pl.DataFrame, native: bool, tmp_path: Path
) -> None:
    place, model = tmp_path / "rows.parquet", models["number"]
    rows.write_parquet(place, row_group_size=2000)
    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(4))
    context.register_parquet("flights", str(place))
    context.register_udf(corten.datafusion.udf(model, "late", native=native))
    wanted = bits(model.predict(rows.select(COLUMNS)))

    def ask(_: int) -> list[Any]:
        found = context.sql(f"select row, {CALL} p from flights").to_arrow_table()
        return bits(pl.from_arrow(found).sort("row")["p"])

    with ThreadPoolExecutor(4) as pool:
        assert all(found == wanted for found in pool.map(ask, range(8)))


def test_a_function_outlives_its_model_and_its_context(
    models: dict[str, Any], rows: pl.DataFrame, native: bool
) -> None:
    model = pickle.loads(pickle.dumps(models["number"]))
    wanted = bits(model.predict(rows.select(COLUMNS)))
    late = corten.datafusion.udf(model, "late", native=native)
    del model
    for _ in range(3):
        frame = answered(datafusion.SessionContext(), rows, late)
        assert bits(pl.from_arrow(frame.to_arrow_table())["p"]) == wanted


def test_what_does_not_fit_is_an_error_before_a_row_is_read(
    models: dict[str, Any], rows: pl.DataFrame, engine: Any
) -> None:
    engine(*NATIVE)
    model = models["class of text"]
    for arguments, message in {
        "city, distance, holiday, city": "Column 'count': holds LargeUtf8 where the model reads numbers",
        "count, holiday, holiday, city": "Column 'distance': holds Boolean where the model reads numbers",
        "count, distance, count, city": "Column 'holiday': holds Int64 where the model reads booleans",
        "count, distance": r"takes the 4 columns that the model reads \(count, distance, holiday, city\). Got 2 arguments",
    }.items():
        with pytest.raises(Exception, match=message):
            query(rows, model, True, f"select late({arguments}) from flights")
    with pytest.raises(UnsupportedError, match="no 'transform'"):
        corten.datafusion.udf(model, method="transform", native=True)


def test_a_row_that_can_not_be_scored_is_an_error_that_names_the_column(native: bool) -> None:
    frame = pl.DataFrame({"a": [1.0, None, 3.0]})
    model = LogisticRegression().fit(frame.fill_null(0), [0, 1, 1])
    with pytest.raises(Exception, match="Column 'a'"):
        query(frame, model, native, "select late(a) from flights")


def test_another_major_version_of_datafusion_gets_the_function_in_python(
    models: dict[str, Any], rows: pl.DataFrame, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    native, model = engine(*NATIVE), models["number"]
    assert native.mismatch() is None
    function = native.Function(model._fitted_model().to_bytes(), "predict", "late")
    built, real = importlib.metadata.version("datafusion").partition(".")[0], importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "54.1.0" if name == "datafusion" else real(name))
    message = f"built for DataFusion {built}, and DataFusion 54.1.0 is installed"
    with pytest.raises(ImportError, match=message):
        corten.datafusion.udf(model, native=True)
    with pytest.raises(ImportError, match=message):
        function.__datafusion_scalar_udf__()
    with pytest.raises(ImportError, match=message):
        datafusion.udf(function)
    late = corten.datafusion.udf(model, "late")
    monkeypatch.undo()
    found = pl.from_arrow(answered(datafusion.SessionContext(), rows, late).to_arrow_table())
    assert bits(found["p"]) == bits(model.predict(rows.select(COLUMNS)))


def test_another_version_of_corten_is_not_used(
    models: dict[str, Any], engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine(*NATIVE), "__version__", "0.0.1")
    with pytest.raises(ImportError, match="corten-datafusion 0.0.1 doesn't go with Corten"):
        corten.datafusion.udf(models["number"], native=True)


def test_bytes_that_are_no_model_are_refused(engine: Any) -> None:
    with pytest.raises(ValueError, match="model"):
        engine(*NATIVE).Function(b"nothing", "predict", "late")


def test_without_the_package_the_function_is_python_s(
    models: dict[str, Any], rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "corten_datafusion", None)
    with pytest.raises(ImportError, match="corten-datafusion isn't installed"):
        corten.datafusion.udf(models["number"], native=True)
    frame = query(rows, models["number"], None, f"select row, {CALL} p from flights order by row")
    assert bits(frame["p"]) == bits(models["number"].predict(rows.select(COLUMNS)))
