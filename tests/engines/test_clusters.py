"""Ray Data, Dask and Spark with two local workers each: the local bits, and every row once though a worker is killed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import corten
import corten.distributed
from corten.exceptions import FormatError, MissingColumnError, ParameterError, UnsupportedError
from corten.linear_model import LinearRegression

BLOCKS, ROWS = 8, 500
METHODS = ["predict", "predict_proba"]


class Place:
    """A model, files to score, the answers that it gives here, and the notes of the workers."""

    def __init__(self, folder: Path, x: pl.DataFrame, late: np.ndarray, trees: Any) -> None:
        self.folder, self.model = folder, str(folder / "m.corten")
        fitted = trees.set_params(categorical_features="from_dtype").fit(
            x.with_columns(pl.col("city").cast(pl.Categorical)), np.where(late, "late", "early")
        )
        fitted.save(self.model)
        rows = pl.concat([x] * (BLOCKS * ROWS // len(x) + 1)).head(BLOCKS * ROWS).with_row_index("row")
        rows = rows.select("city", "row", "distance", "hour")
        (folder / "in").mkdir()
        self.files = []
        for i, part in enumerate(rows.iter_slices(ROWS)):
            self.files.append(str(folder / "in" / f"{i}.parquet"))
            part.write_parquet(self.files[-1])
        self.labels, self.late = fitted.predict(rows.drop("row")), fitted.predict_proba(rows.drop("row"))[:, 1]
        self.notes = folder / "notes"
        self.notes.mkdir()

    def noted(self, what: str) -> list[str]:
        path = self.notes / what
        return path.read_text(encoding="utf-8").split() if path.exists() else []

    def forget(self) -> None:
        for path in self.notes.iterdir():
            path.unlink()

    def check(self, found: pd.DataFrame) -> None:
        """Every row once, with the local bits."""
        found = found.sort_values("row")
        assert found["row"].tolist() == list(range(BLOCKS * ROWS))
        assert found["prediction"].tolist() == self.labels.tolist()
        assert np.array_equal(found["probability_late"].to_numpy(dtype=np.float64), self.late)


@pytest.fixture(scope="module")
def place(raw: Any, trees: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("clusters"), *raw, trees)
    package = Path(corten.__file__).parent.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CORTEN_TEST_WORKERS", str(place.notes))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent / "worker"), str(package)]))
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        yield place


class Cluster:
    """An engine: how it reads the files, and how a result comes to this process."""

    def __init__(self, read: Callable[[Place], Any], collect: Callable[[Any], pd.DataFrame]) -> None:
        self.read, self.collect = read, collect


def _dask(engine: Any) -> Iterator[Cluster]:
    package = "dask[dataframe,distributed]"
    dd, distributed = engine("dask.dataframe", package), engine("dask.distributed", package)
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        yield Cluster(lambda place: dd.read_parquet(place.files), lambda data: data.compute())


def _ray(engine: Any) -> Iterator[Cluster]:
    ray, data = engine("ray", "ray[data]"), engine("ray.data", "ray[data]")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    data.DataContext.get_current().enable_progress_bars = False
    try:
        # A file a block, whatever the reader would join.
        yield Cluster(
            lambda place: data.from_arrow([pl.read_parquet(file).to_arrow() for file in place.files]),
            lambda result: result.to_pandas(),
        )
    finally:
        ray.shutdown()


def _spark(engine: Any) -> Iterator[Cluster]:
    sql = engine("pyspark.sql", "pyspark")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Spark needs Java, which isn't installed")
    # Two workers, and up to four attempts of a task as on a cluster: a local run has one by default.
    builder = sql.SparkSession.builder.master("local[2,4]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.sql.files.openCostInBytes", str(1 << 27)).config("spark.driver.memory", "512m")
    session = (
        builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1").getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    try:
        yield Cluster(
            lambda place: session.read.parquet(str(place.folder / "in")), lambda data: data.toArrow().to_pandas()
        )
    finally:
        session.stop()


ENGINES: dict[str, Callable[[Any], Iterator[Cluster]]] = {"dask": _dask, "ray": _ray, "spark": _spark}


@pytest.fixture(scope="module", params=sorted(ENGINES))
def cluster(request: pytest.FixtureRequest, place: Place, engine: Any) -> Iterator[Cluster]:
    yield from ENGINES[request.param](engine)


@pytest.mark.slow
def test_a_path_has_the_local_bits_and_is_read_once_by_each_worker(place: Place, cluster: Cluster) -> None:
    place.forget()
    data = corten.distributed.score(place.model, cluster.read(place), method=METHODS)
    found = cluster.collect(data)
    assert list(found.columns) == [
        "city",
        "row",
        "distance",
        "hour",
        "prediction",
        "probability_early",
        "probability_late",
    ]
    place.check(found)
    readers, scorers = place.noted("read"), place.noted("scored")
    assert len(scorers) >= BLOCKS and set(readers) == set(scorers)
    assert len(readers) == len(set(readers))


@pytest.mark.slow
def test_a_model_travels_by_itself(place: Place, cluster: Cluster, tmp_path: Path) -> None:
    copy = tmp_path / "m.corten"
    shutil.copy(place.model, copy)
    model = corten.load(copy)
    copy.unlink()
    data = corten.distributed.score(model, cluster.read(place), method=METHODS, keep=["row"], threads=2)
    found = cluster.collect(data)
    assert list(found.columns) == ["row", "prediction", "probability_early", "probability_late"]
    place.check(found)


@pytest.mark.slow
@pytest.mark.parametrize("by", ["path", "model"])
def test_a_killed_worker_loses_and_doubles_no_row(place: Place, cluster: Cluster, by: str) -> None:
    place.forget()
    model = place.model if by == "path" else corten.load(place.model)
    data = corten.distributed.score(model, cluster.read(place), method=METHODS)
    (place.notes / "die").touch()
    place.check(cluster.collect(data))
    assert len(place.noted("died")) == 1
    assert len(place.noted("scored")) > BLOCKS


@pytest.mark.slow
def test_models_without_names_take_the_columns_they_are_given(place: Place, cluster: Cluster) -> None:
    numbers = np.random.default_rng(0).normal(size=(40, 2))
    model = LinearRegression().fit(numbers, numbers @ [2.0, -1.0])
    data = corten.distributed.score(model, cluster.read(place), columns=["hour", "row"], keep=["row", "hour"])
    found = cluster.collect(data)
    assert np.array_equal(found["prediction"].to_numpy(), model.predict(found[["hour", "row"]].to_numpy(float)))
    with pytest.raises(ParameterError, match="reads 2, but the data has 4; name those to use with the 'columns'"):
        corten.distributed.score(model, cluster.read(place))


@pytest.mark.slow
def test_mistakes_are_told_before_anything_runs(place: Place, cluster: Cluster) -> None:
    score, data = corten.distributed.score, cluster.read(place)
    with pytest.raises(UnsupportedError, match="no 'transform'"):
        score(place.model, data, method="transform")
    with pytest.raises(MissingColumnError, match="Column 'nothing' is missing from the data; it has: 'city'"):
        score(place.model, data, columns=["nothing", "hour", "city"])
    with pytest.raises(ParameterError, match="'keep' parameter names column 'nothing'"):
        score(place.model, data, keep=["nothing"])
    with pytest.raises(FileNotFoundError):
        score(place.folder / "nothing.corten", data)
    with pytest.raises(ParameterError, match="has a column 'prediction', as the answer would"):
        score(place.model, score(place.model, data))


def test_other_data_is_refused(place: Place) -> None:
    with pytest.raises(TypeError, match="must be a ray.data.Dataset.*Got pandas"):
        corten.distributed.score(place.model, pd.DataFrame({"a": [1]}))


def test_a_worker_tells_a_file_that_is_missing_or_another(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "m.corten"
    shutil.copy(place.model, path)
    scorer = corten.distributed.Scorer(path, "predict")
    job = corten.distributed._Job(path, scorer, scorer.names, [])
    LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]).save(path)
    with pytest.raises(FormatError, match="another model than the one that was given"):
        job._read(None)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="the worker has no such file"):
        job._read(None)
