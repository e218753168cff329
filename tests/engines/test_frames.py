"""Polars expressions, and functions in DuckDB's and DataFusion's SQL: the local bits without leaving the engine."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import datafusion
import duckdb
import numpy as np
import polars as pl
import polars.selectors as cs
import pytest

import corten
import corten.datafusion
import corten.duckdb
import corten.polars
from corten.conformal import SplitConformalRegressor
from corten.exceptions import ParameterError, UnsupportedError
from corten.linear_model import LinearRegression, LogisticRegression
from corten.preprocessing import StandardScaler


@pytest.fixture(scope="module")
def path(raw: Any, trees: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    x, late = raw
    place = tmp_path_factory.mktemp("frames") / "m.corten"
    trees.set_params(categorical_features="from_dtype")
    trees.fit(x.with_columns(pl.col("city").cast(pl.Categorical)), np.where(late, "late", "early")).save(place)
    return str(place)


@pytest.fixture(scope="module")
def rows(table: Any) -> pl.DataFrame:
    """Many rows with columns that the model doesn't know, one of a type that no model reads, in another order."""
    many = pl.concat([table] * 200).drop("late").with_row_index("row")
    return many.select("city", pl.col("row").cast(pl.Datetime).alias("when"), "row", "distance", "hour")


@pytest.fixture(scope="module")
def wanted(path: str, rows: pl.DataFrame) -> dict[str, np.ndarray]:
    model, x = corten.load(path), rows.drop("row", "when")
    return {m: getattr(model, m)(x) for m in ("predict", "predict_proba", "decision_function")}


@pytest.mark.parametrize("engine", ["streaming", "in-memory"])
def test_a_lazy_query_has_the_local_bits(
    path: str, rows: pl.DataFrame, wanted: dict[str, np.ndarray], engine: Any
) -> None:
    query = rows.lazy().with_columns(
        corten.polars.predict(path), corten.polars.predict_proba(path), corten.polars.decision_function(path)
    )
    found = query.collect(engine=engine)
    assert query.collect_schema() == found.schema
    assert found.schema["predict_proba"] == pl.Struct({"probability_early": pl.Float64, "probability_late": pl.Float64})
    assert found["row"].to_list() == rows["row"].to_list()
    assert found["prediction"].to_list() == wanted["predict"].tolist()
    assert np.array_equal(found["predict_proba"].struct.unnest().to_numpy(), wanted["predict_proba"])
    assert np.array_equal(found["decision_function"].to_numpy(), wanted["decision_function"])


def test_the_expression_takes_part_in_queries(path: str, rows: pl.DataFrame, wanted: dict[str, np.ndarray]) -> None:
    late = corten.polars.predict_proba(path).struct.field("probability_late")
    lazy = rows.lazy().filter(late > 0.5).group_by("city").agg(late.max(), pl.len())
    found = lazy.collect(engine="streaming").sort("city", nulls_last=False)
    expected = rows.with_columns(pl.Series("probability_late", wanted["predict_proba"][:, 1]))
    expected = (
        expected.filter(pl.col("probability_late") > 0.5).group_by("city").agg(pl.max("probability_late"), pl.len())
    )
    assert found.equals(expected.sort("city", nulls_last=False).cast({"len": found.schema["len"]}))
    assert rows.head(0).select(corten.polars.predict(path)).schema == {"prediction": pl.String}


def test_a_column_of_type_null_is_all_missing(path: str, rows: pl.DataFrame) -> None:
    model = corten.load(path)
    for column, kind in {"distance": pl.Float64, "city": pl.String}.items():
        null = rows.with_columns(pl.lit(None).alias(column), nested=pl.lit([None]))
        assert null.schema[column] == pl.Null
        wanted = model.predict_proba(rows.with_columns(pl.lit(None, kind).alias(column)))
        assert np.array_equal(model.predict_proba(null), wanted)
        assert np.array_equal(model.predict_proba(null.to_arrow()), wanted)
        assert np.array_equal(model.predict_proba(null.to_arrow().combine_chunks().to_batches()[0]), wanted)
        for engine in ("streaming", "in-memory"):
            found = null.lazy().select(corten.polars.predict_proba(path)).collect(engine=engine)
            assert np.array_equal(found["predict_proba"].struct.unnest().to_numpy(), wanted)
        connection = duckdb.connect()
        connection.register("flights", null.drop("nested").to_arrow())
        corten.duckdb.register(connection, "late", path, method="predict_proba")
        found = connection.sql("select row, late(flights).probability_late q from flights order by row").pl()
        assert np.array_equal(found["q"].to_numpy(), wanted[:, 1])
        context = datafusion.SessionContext()
        context.from_arrow(null.to_arrow(), name="flights")
        context.register_udf(corten.datafusion.udf(path, "late", method="predict_proba"))
        query = "select row, late(distance, hour, city)['probability_late'] q from flights order by row"
        found = pl.from_arrow(context.sql(query).to_arrow_table())
        assert np.array_equal(found["q"].to_numpy(), wanted[:, 1])


def test_columns_may_be_expressions_and_models_without_names_need_them(rows: pl.DataFrame) -> None:
    numbers = np.random.default_rng(1).normal(size=(50, 2))
    model = LinearRegression().fit(numbers, numbers[:, 0] - numbers[:, 1])
    frame = pl.DataFrame(numbers, schema=["a", "b"])
    want = model.predict(numbers)
    for columns in (["a", "b"], [pl.col("b") * 0 + pl.col("a"), "b"], [cs.float()], [pl.all()]):
        assert np.array_equal(frame.select(corten.polars.predict(model, *columns)).to_series().to_numpy(), want)
    with pytest.raises(ParameterError, match="reads 2 columns .*; 0 were given"):
        corten.polars.predict(model)
    with pytest.raises(ParameterError, match="reads 2 columns; the expressions give 1"):
        frame.select(corten.polars.predict(model, cs.by_name("a") | cs.by_name("nothing", require_all=False)))
    with pytest.raises(UnsupportedError, match="no 'predict_proba'"):
        corten.polars.predict_proba(model, "a", "b")
    with pytest.raises(TypeError, match="'model' parameter must be the path.*Got int"):
        corten.polars.predict(3)


def test_every_method_has_an_expression() -> None:
    x = pl.DataFrame(np.random.default_rng(2).normal(size=(80, 2)), schema=["a", "b"])
    scaled = StandardScaler().fit(x)
    found = x.select(corten.polars.transform(scaled)).to_series().struct.unnest()
    assert found.columns == ["a", "b"] and np.array_equal(found.to_numpy(), scaled.transform(x))
    around = SplitConformalRegressor(LinearRegression().fit(x, x["a"])).conformalize(x, x["a"] + x["b"])
    found = x.select(corten.polars.predict_interval(around)).to_series().struct.unnest()
    assert np.array_equal(found.to_numpy(), around.predict_interval(x)[1][:, :, 0])
    flags = LogisticRegression().fit(x, x["a"] > 0)
    assert x.select(corten.polars.predict(flags)).schema == {"prediction": pl.Boolean}


def test_duckdb_finds_columns_of_a_row_by_name(path: str, rows: pl.DataFrame, wanted: dict[str, np.ndarray]) -> None:
    connection = duckdb.connect()
    connection.register("flights", rows.to_arrow())
    corten.duckdb.register(connection, "late", path)
    corten.duckdb.register(connection, "late_proba", corten.load(path), method="predict_proba")
    found = connection.sql(
        "select row, late(flights) p, late_proba(distance, hour, city).probability_late q from flights order by row"
    ).pl()
    assert found["row"].to_list() == rows["row"].to_list()
    assert found["p"].to_list() == wanted["predict"].tolist()
    assert np.array_equal(found["q"].to_numpy(), wanted["predict_proba"][:, 1])
    assert connection.sql("select late(null, 9, 'Rome')").fetchall()[0][0] in ("early", "late")
    for query, message in {
        "select late({'hour': 9}) ": "Column 'distance' is missing from the row given to late; it has: 'hour'",
        "select late(1, 2)": "the 3 columns that the model reads .distance, hour, city.. Got 2 arguments",
        "select late(1, 'x', 'y')": "Column 'hour': holds text where the model reads numbers",
    }.items():
        with pytest.raises(duckdb.Error, match=message):
            connection.sql(query).fetchall()


def test_a_pickled_expression_brings_its_model(path: str, rows: pl.DataFrame, tmp_path: Path) -> None:
    copy = tmp_path / "m.corten"
    copy.write_bytes(Path(path).read_bytes())
    query = rows.lazy().select(corten.polars.predict(copy))
    wanted = query.collect()
    text = pickle.dumps(query)
    copy.unlink()
    assert pickle.loads(text).collect().equals(wanted)
