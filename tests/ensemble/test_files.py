"""Fits on files and streams give the models that the same rows in memory give, and say what is wrong with a file."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from corten.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRanker, HistGradientBoostingRegressor
from corten.exceptions import MissingColumnError, ParameterError

ROWS = 140_000


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    data: dict[str, Any] = {f"f{i}": rng.normal(size=ROWS).astype(np.float32) for i in range(4)}
    data["f3"][rng.random(ROWS) < 0.1] = np.nan
    data["few"], data["fewer"] = rng.integers(0, 5, ROWS), rng.integers(0, 3, ROWS)
    data["text"] = np.array([f"c{i}" for i in rng.integers(0, 6, ROWS)])
    data["many"] = np.array([f"m{i}" for i in rng.integers(0, 2000, ROWS)])
    z = data["f0"] * data["f1"] + (data["few"] == 2) + (data["text"] == "c3") + np.nan_to_num(data["f3"])
    z = z + rng.normal(size=ROWS)
    data["late"] = np.where(z > 0, "yes", "no")
    data["level"] = np.digitize(z, [-1, 0, 1]).astype(np.int16)
    data["number"] = z
    data["weight"] = rng.random(ROWS) * (rng.random(ROWS) > 0.01)
    return pl.DataFrame(data)


TARGETS = ("late", "level", "number", "weight")


def _written(frame: pl.DataFrame, columns: list[str], folder: Path) -> str:
    for i, start in enumerate(range(0, ROWS, 60_000)):
        frame.select(columns)[start : start + 60_000].write_parquet(folder / f"{i}.parquet")
    return f"{folder}/*.parquet"


@pytest.mark.parametrize(
    ("kind", "target", "weight", "memory", "params"),
    [
        ("classifier", "late", None, 0, {"early_stopping": False, "max_leaf_nodes": 50}),
        ("classifier", "late", "weight", "2MB", {"early_stopping": True, "class_weight": "balanced"}),
        ("classifier", "level", None, None, {"early_stopping": True, "max_iter": 3}),
        (
            "classifier",
            "late",
            None,
            0,
            {"data_sample_strategy": "goss", "early_stopping": False, "learning_rate": 0.5},
        ),
        ("regressor", "number", None, "2MB", {"early_stopping": False, "max_depth": 4, "monotonic_cst": {"f0": 1}}),
        ("regressor", "number", "weight", 0, {"loss": "absolute_error", "early_stopping": True}),
        ("regressor", "number", None, "1GB", {"subsample": 0.5, "max_features": 0.6, "min_samples_leaf": 500}),
        ("regressor", "number", None, 0, {"boosting": "dart", "skip_drop": 0.0, "early_stopping": False}),
    ],
)
def test_files_give_the_model_of_rows_in_memory(
    frame: pl.DataFrame, tmp_path: Path, kind: str, target: str, weight: str | None, params: Any, memory: Any
) -> None:
    model = HistGradientBoostingClassifier if kind == "classifier" else HistGradientBoostingRegressor
    params = {"max_iter": 5, "random_state": 0, **params}
    x = frame.drop(TARGETS)
    weights = None if weight is None else frame[weight].to_numpy()
    want = model(**params).fit(x, frame[target].to_numpy(), weights)
    columns = [*x.columns, target, *([weight] if weight else [])]
    got = model(**params).fit(_written(frame, columns, tmp_path), target, weight, memory=memory)
    assert got._model.to_bytes() == want._model.to_bytes()
    assert got.feature_names_in_.tolist() == x.columns
    if kind == "classifier":
        assert got.classes_.tolist() == want.classes_.tolist()
    np.testing.assert_array_equal(got.validation_score_, want.validation_score_)


def test_splits_that_leave_too_few_rows_keep_their_turn(tmp_path: Path) -> None:
    # Hessians of rows that are told well are small: a split may leave fewer rows than it seems, and gives way to another,
    # which may gain more. Blocks look farther ahead, and must not take that one earlier.
    rng = np.random.default_rng(0)
    x = pl.DataFrame({f"f{i}": rng.normal(size=6000).astype(np.float32) for i in range(2)})
    rng.integers(0, 5, 6000)
    late = np.where(rng.normal(size=6000) + x["f0"].to_numpy() > 0, "yes", "no")
    x.with_columns(late=late).write_parquet(tmp_path / "t.parquet")
    params: dict[str, Any] = {"learning_rate": 0.05, "max_leaf_nodes": 8, "max_iter": 180, "early_stopping": False}
    want = HistGradientBoostingClassifier(random_state=0, **params).fit(x, late)
    got = HistGradientBoostingClassifier(random_state=0, **params).fit(tmp_path / "t.parquet", "late")
    assert got._model.to_bytes() == want._model.to_bytes()


def test_streams_lists_and_formats_read_alike(frame: pl.DataFrame, tmp_path: Path) -> None:
    frame = frame.select("f0", "few", "text", "number")[:5000]
    want = HistGradientBoostingRegressor(max_iter=3).fit(frame.drop("number"), frame["number"].to_numpy())
    frame[:3000].write_parquet(tmp_path / "a.parquet")
    frame[3000:].write_ipc(tmp_path / "b.arrow", compression="lz4")
    table = frame.to_arrow()
    import pyarrow as pa

    stream = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=700))
    before = set(glob.glob(tempfile.gettempdir() + "/corten-*"))
    for x in ([tmp_path / "a.parquet", str(tmp_path / "b.arrow")], stream):
        got = HistGradientBoostingRegressor(max_iter=3).fit(x, "number")
        np.testing.assert_array_equal(got.predict(frame.drop("number")), want.predict(frame.drop("number")))
    assert set(glob.glob(tempfile.gettempdir() + "/corten-*")) <= before
    got = HistGradientBoostingRegressor(max_iter=3).fit(frame, "number")
    np.testing.assert_array_equal(got.predict(frame.drop("number")), want.predict(frame.drop("number")))
    frame.write_csv(tmp_path / "c.csv")
    got = HistGradientBoostingRegressor(max_iter=3).fit(tmp_path / "c.csv", "number")
    assert got.score(frame.drop("number"), frame["number"].to_numpy()) == pytest.approx(
        want.score(frame.drop("number"), frame["number"].to_numpy()), abs=1e-3
    )


def test_a_fit_on_files_goes_on(frame: pl.DataFrame, tmp_path: Path) -> None:
    columns = ["f0", "f1", "many", "number"]
    files = _written(frame, columns, tmp_path)
    long = HistGradientBoostingRegressor(max_iter=6, random_state=0, early_stopping=False).fit(files, "number")
    first = HistGradientBoostingRegressor(max_iter=3, random_state=0, early_stopping=False).fit(files, "number")
    more = HistGradientBoostingRegressor(max_iter=3, random_state=0, early_stopping=False).fit(
        files, "number", init_model=first
    )
    assert more._model.to_bytes() == long._model.to_bytes()


def test_own_losses_see_the_rows_of_files(frame: pl.DataFrame, tmp_path: Path) -> None:
    files = _written(frame, ["f0", "f1", "number"], tmp_path)

    def squared(y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return scores - y, np.ones_like(y)

    params: dict[str, Any] = {"loss": squared, "max_iter": 3, "early_stopping": False}
    want = HistGradientBoostingRegressor(**params).fit(frame.select("f0", "f1"), frame["number"].to_numpy())
    got = HistGradientBoostingRegressor(**params).fit(files, "number")
    assert got._model.to_bytes() == want._model.to_bytes()


def test_scores_to_start_from_lie_in_files(frame: pl.DataFrame, tmp_path: Path) -> None:
    files = _written(frame, ["f0", "f1", "number", "weight"], tmp_path)
    x, y = frame.select("f0", "f1"), frame["number"].to_numpy()
    want = HistGradientBoostingRegressor(max_iter=3, random_state=0).fit(x, y, init_score=frame["weight"].to_numpy())
    got = HistGradientBoostingRegressor(max_iter=3, random_state=0).fit(files, "number", init_score="weight", memory=0)
    assert got._model.to_bytes() == want._model.to_bytes()
    assert got.feature_names_in_.tolist() == ["f0", "f1"]
    two = np.column_stack([frame["weight"], frame["number"], frame["f1"]])
    codes = frame["level"].to_numpy().clip(0, 2)
    frame.select("f0", "f1", "number", "weight", f2="f1", level=codes).write_parquet(tmp_path / "all.parquet")
    classes = HistGradientBoostingClassifier(max_iter=2, random_state=0).fit(
        tmp_path / "all.parquet", "level", init_score=["weight", "number", "f2"]
    )
    same = HistGradientBoostingClassifier(max_iter=2, random_state=0).fit(x, codes, init_score=two)
    assert classes._model.to_bytes() == same._model.to_bytes()
    with pytest.raises(MissingColumnError, match="Column 'start' is missing from the files"):
        classes.fit(files, "number", init_score="start")
    with pytest.raises(ValueError, match="Column 'f3': has no finite value in row"):
        frame.select("f0", "f3", "number").write_parquet(tmp_path / "gaps.parquet")
        want.fit(tmp_path / "gaps.parquet", "number", init_score="f3")


@pytest.mark.parametrize("kind", ["number", "text"])
def test_queries_lie_in_files(frame: pl.DataFrame, tmp_path: Path, kind: str) -> None:
    sizes = np.random.default_rng(0).integers(1, 200, 2000)
    sizes = sizes[: np.searchsorted(sizes.cumsum(), ROWS)]
    sizes = np.append(sizes, ROWS - sizes.sum())
    query = np.repeat(np.arange(len(sizes)) * 7 % len(sizes), sizes)
    named = frame.with_columns(query=pl.Series(query).cast(pl.String if kind == "text" else pl.Int64))
    files = _written(named, ["f0", "f1", "few", "query", "level"], tmp_path)
    params: dict[str, Any] = {"max_iter": 3, "random_state": 0}
    x, y = frame.select("f0", "f1", "few"), frame["level"].to_numpy()
    want = HistGradientBoostingRanker(**params).fit(x, y, group=sizes)
    got = HistGradientBoostingRanker(**params).fit(files, "level", group="query", memory="1MB")
    assert got._model.to_bytes() == want._model.to_bytes()
    with pytest.raises(ParameterError, match="group_weight"):
        got.fit(files, "level", group="query", group_weight=[1.0])
    with pytest.raises(ParameterError, match="'group' parameter must be the name of a column"):
        got.fit(files, "level", group=3)


def test_a_time_in_place_of_tuning_takes_files(frame: pl.DataFrame, tmp_path: Path) -> None:
    files = _written(frame[:1500], ["f0", "f1", "few", "late"], tmp_path)
    model = HistGradientBoostingClassifier(budget="20s", random_state=0).fit(files, "late")
    assert len(model.budget_steps_) > 3 and model.best_params_["max_iter"] >= 1
    x = frame[:1500].select("f0", "f1", "few")
    # The time is long enough for all that is tried: of rows in memory it is the same, also side by side.
    same = HistGradientBoostingClassifier(budget="20s", random_state=0).fit(x, frame[:1500]["late"].to_numpy())
    assert same.budget_models_ == model.budget_models_ and same._model.to_bytes() == model._model.to_bytes()


def test_what_is_wrong_with_files_is_said_in_one_sentence(frame: pl.DataFrame, tmp_path: Path) -> None:
    model = HistGradientBoostingRegressor(max_iter=2)
    with pytest.raises(FileNotFoundError, match=r"nothing/\*\.parquet' names no file"):
        model.fit("nothing/*.parquet", "y")
    files = _written(frame, ["f0", "f1", "number"], tmp_path)
    with pytest.raises(
        MissingColumnError, match="Column 'price' is missing from the files; they have: 'f0', 'f1', 'number'"
    ):
        model.fit(files, "price")
    with pytest.raises(ParameterError, match="'y' parameter must be the name of a column of the files. Got ndarray"):
        model.fit(files, frame["number"].to_numpy())
    with pytest.raises(ParameterError, match="'memory' parameter must be None, a number of bytes or a str"):
        model.fit(files, "number", memory="much")
    with pytest.raises(ValueError, match="linear_tree"):
        HistGradientBoostingRegressor(linear_tree=True).fit(files, "number")
    (tmp_path / "9.parquet").write_bytes(b"PAR1 no table at all PAR1")
    with pytest.raises(ValueError, match=r"9\.parquet"):
        model.fit(files, "number")
    frame.select("f0", "number").write_parquet(tmp_path / "9.parquet")
    with pytest.raises(ValueError, match=r"9\.parquet: has no column 'f1', which .*0\.parquet has"):
        model.fit(files, "number")
    frame.select("f0", pl.col("text").alias("f1"), "number").write_parquet(tmp_path / "9.parquet")
    with pytest.raises(ValueError, match=r"9\.parquet: column 'f1' holds"):
        model.fit(files, "number")
    gaps = pl.DataFrame({"f0": [1.0, 2.0], "number": [1.0, None]})
    gaps.write_parquet(tmp_path / "gaps.parquet")
    with pytest.raises(ValueError, match="'number'.* row 2; a target must have one in every row"):
        model.fit(tmp_path / "gaps.parquet", "number")
    with pytest.raises(ValueError, match="continuous"):
        HistGradientBoostingClassifier().fit(files.replace("*", "0"), "number")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a folder that can't be written to")
def test_a_temporary_file_without_room_is_named(frame: pl.DataFrame, tmp_path: Path) -> None:
    files = _written(frame, ["f0", "f1", "number"], tmp_path)
    code = (
        "from corten.ensemble import HistGradientBoostingRegressor as R\n"
        f"R(max_iter=2).fit({files!r}, 'number', memory=0)"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path / "nowhere")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "nowhere" in last and "can't be made" in last and "TMPDIR names another folder" in last
