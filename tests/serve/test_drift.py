"""Drift: live rows against the training sketch in the file, and the sample by which a loaded file is checked."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corten
from corten._serve import binary
from corten.compose import make_column_transformer
from corten.ensemble import BaggingRegressor, HistGradientBoostingClassifier, HistGradientBoostingRegressor
from corten.linear_model import LogisticRegression, Ridge
from corten.pipeline import make_pipeline
from corten.preprocessing import OneHotEncoder, StandardScaler

pytestmark = pytest.mark.binaries
Serving = Callable[..., AbstractContextManager[int]]
pl = pytest.importorskip("polars")


def _frame(rows: int, seed: int, shift: float = 0.0) -> Any:
    random = np.random.default_rng(seed)
    width = random.normal(shift, 1.0, rows)
    width[random.random(rows) < 0.1] = np.nan
    return pl.DataFrame(
        {
            "width": width,
            "count": random.integers(0, 4, rows),
            "city": random.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1]),
        }
    )


def _pipeline() -> Any:
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    return make_pipeline(columns, HistGradientBoostingClassifier(max_iter=5))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = _frame(1500, 0)
    path = tmp_path_factory.mktemp("drift") / "m.corten"
    _pipeline().fit(table, (table["city"] == "a").to_numpy()).save(path)
    return path


def _get(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        body = answer.read()
    return json.loads(body) if answer.headers["content-type"] == "application/json" else body.decode()


def _post(port: int, path: str, body: Any) -> Any:
    data = json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def _rows(table: Any) -> list[dict[str, Any]]:
    return [{k: None if v != v else v for k, v in row.items()} for row in table.to_dicts()]


def _psi(training: np.ndarray, live: np.ndarray) -> float:
    """By the definition, on bins of the training data, less what chance is expected to give."""
    used = (training + live) > 0
    n, m = training.sum(), live.sum()
    p, q = np.maximum(training[used], 0.5) / n, np.maximum(live[used], 0.5) / m
    return max(0.0, float(np.sum((q - p) * np.log(q / p)) - (used.sum() - 1) * (1 / n + 1 / m)))


def _binned(profile: dict[str, Any], values: np.ndarray) -> np.ndarray:
    there = values[~np.isnan(values)]
    counts = np.bincount(np.searchsorted(profile["cuts"], there), minlength=len(profile["cuts"]) + 1)
    missing = len(values) - len(there)
    return np.append(counts, missing) if missing or profile["missing"] else counts


def test_the_report_is_that_of_the_definition(serving: Serving, path: Path) -> None:
    sketch = corten.load(path).metadata["sketch"]
    width, count, city = sketch["columns"]
    assert sketch["rows"] == 1500 and width["kind"] == "number" and city["values"] == ["a", "b", "c"]
    training = _frame(1500, 0)
    assert sum(width["counts"]) + width["missing"] == 1500
    assert width["missing"] == int(np.isnan(training["width"].to_numpy()).sum())
    assert city["counts"] == [int((training["city"] == c).sum()) for c in "abc"] + [0]
    assert count["cuts"] == [0, 1, 2, 3]
    live = _frame(400, 1, shift=1.5).with_columns(city=pl.Series(["a"] * 300 + ["zzz"] * 100))
    with serving(path) as port:
        before = _get(port, "/v2/models/m/drift")
        assert before["rows"] == 0 and all(c["psi"] == 0 for c in before["columns"])
        answers = []
        for start in range(0, 400, 7):
            answers += _post(port, "/predict", {"rows": _rows(live[start : start + 7])})["predictions"]
        report = _get(port, "/v2/models/m/drift")
        assert _get(port, "/v2/models/m/versions/1/drift") == report
        metrics = _get(port, "/metrics")
    assert (report["rows"], report["training_rows"], report["model_version"]) == (400, 1500, "1")
    told = {c["name"]: c for c in report["columns"]}
    for name, profile in (("width", width), ("count", count)):
        counts = _binned(profile, live[name].cast(pl.Float64).to_numpy())
        training_counts = np.array(
            profile["counts"] + ([profile["missing"]] if len(counts) > len(profile["counts"]) else [])
        )
        assert told[name]["psi"] == pytest.approx(_psi(training_counts, counts), rel=1e-12, abs=1e-15)
        assert told[name]["live"] == counts[: len(profile["counts"])].tolist()
    assert told["width"]["sign"] == "act" and told["count"]["sign"] == "none"
    assert told["width"]["missing"]["live"] == pytest.approx(np.isnan(live["width"].to_numpy()).mean())
    assert told["city"]["unseen"] == 0.25 and told["city"]["sign"] == "act"
    assert "unseen" not in told["width"]
    probability = np.array([a["probability"]["true"] for a in answers])
    score = sketch["score"]
    counts = _binned(score["profile"], probability)
    assert report["score"]["psi"] == pytest.approx(_psi(np.array(score["profile"]["counts"]), counts), rel=1e-12)
    gauge = 'corten_drift_psi{model="m",version="1",feature="width"} '
    assert float(metrics.split(gauge)[1].split()[0]) == told["width"]["psi"]
    assert 'corten_drift_unseen_ratio{model="m",version="1",feature="city"} 0.25\n' in metrics
    assert 'corten_drift_rows{model="m",version="1"} 400\n' in metrics


def test_rows_like_those_of_the_training_do_not_drift_on_any_road(serving: Serving, path: Path, tmp_path: Path) -> None:
    live = _frame(60, 5)
    tensors = [
        {"name": "city", "datatype": "BYTES", "shape": [60], "data": live["city"].to_list()},
        {"name": "width", "datatype": "FP64", "shape": [60], "data": [r["width"] for r in _rows(live)]},
        {"name": "count", "datatype": "INT64", "shape": [60], "data": live["count"].to_list()},
    ]
    table = tmp_path / "live.parquet"
    live.select("count", "city", pl.lit(1).alias("more"), "width").write_parquet(table)
    reports = []
    for road in ("rows", "tensors", "table"):
        with serving(path) as port:
            if road == "rows":
                _post(port, "/predict", {"rows": _rows(live)})
            elif road == "tensors":
                _post(port, "/v2/models/m/infer", {"inputs": tensors})
            else:
                kind = {"Content-Type": "application/vnd.apache.parquet"}
                request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", table.read_bytes(), kind)
                urllib.request.urlopen(request, timeout=20).read()
            report = _get(port, "/v2/models/m/drift")
        assert report["rows"] == 60 and all(c["sign"] != "act" for c in [*report["columns"], report["score"]])
        assert sum(report["score"]["live"]) == 60
        reports.append([(c["live"], c["missing"]["live"]) for c in [*report["columns"], report["score"]]])
    assert reports[0] == reports[1] == reports[2]


def test_old_rows_are_forgotten(serving: Serving, path: Path) -> None:
    with serving(path, "--drift-window", "1") as port:
        _post(port, "/predict", {"rows": _rows(_frame(5, 1))})
        assert _get(port, "/v2/models/m/drift")["rows"] == 5
        time.sleep(2.2)
        assert _get(port, "/v2/models/m/drift")["rows"] == 0


def _rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The file with other facts; its tensors stay what they are."""
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    inner = json.loads(header["__metadata__"]["corten"])
    change(inner["metadata"])
    header["__metadata__"]["corten"] = json.dumps(inner)
    text = json.dumps(header).encode()
    text += b" " * (-(len(text) + 8) % 64)
    return len(text).to_bytes(8, "little") + text + whole[8 + length :]


def test_a_file_that_answers_its_sample_otherwise_is_not_served(serving: Serving, path: Path, tmp_path: Path) -> None:
    sample = corten.load(path).metadata["sample"]
    assert len(sample["rows"]) == len(sample["answers"]) == 5

    def other(facts: dict[str, Any]) -> None:
        facts["sample"]["answers"][3]["probability"]["true"] += 1e-9

    file = tmp_path / "m.corten"
    file.write_bytes(_rewritten(path, other))
    done = subprocess.run([binary("corten-serve"), str(file)], capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert str(file) in done.stderr and "row 3 of the sample" in done.stderr
    good = path.read_bytes()
    file.write_bytes(good)
    with serving(file, "--watch", "20") as port:
        assert _post(port, "/predict", {"rows": sample["rows"]})["predictions"] == sample["answers"]
        part = tmp_path / ".part"
        part.write_bytes(_rewritten(path, other))
        part.rename(file)
        for _ in range(500):
            index = _post(port, "/v2/repository/index", {})
            if index[0]["reason"]:
                break
            time.sleep(0.02)
        assert index[0]["state"] == "READY" and "row 3 of the sample" in index[0]["reason"]
        assert _post(port, "/predict", {"rows": sample["rows"]})["predictions"] == sample["answers"]


def test_a_file_without_a_sketch_or_with_a_broken_one_is_served_without_drift(
    serving: Serving, path: Path, tmp_path: Path
) -> None:
    def cut(facts: dict[str, Any]) -> None:
        facts["sketch"]["columns"].pop()

    for change, wanted in ((lambda facts: facts.pop("sketch"), "no training sketch"), (cut, "has 2 columns")):
        file = tmp_path / "m.corten"
        file.write_bytes(_rewritten(path, change))
        with serving(file) as port:
            _post(port, "/predict", {"rows": _rows(_frame(3, 1))})
            with pytest.raises(urllib.error.HTTPError) as raised:
                _get(port, "/v2/models/m/drift")
        assert raised.value.code == 404 and wanted in json.loads(raised.value.read())["error"]


def test_every_kind_of_fit_leaves_a_sketch_and_the_same_fit_the_same_one(tmp_path: Path) -> None:
    import pickle

    x = np.random.default_rng(0).normal(size=(3000, 3))
    y = x[:, 0] + 1.0
    estimators: list[Any] = [
        Ridge(),
        make_pipeline(StandardScaler(), Ridge()),
        BaggingRegressor(Ridge(), n_estimators=3, random_state=0),
    ]
    sketches = []
    for at, estimator in enumerate(estimators):
        estimator.fit(x, y)
        for again, model in enumerate((estimator, pickle.loads(pickle.dumps(estimator)))):
            file = tmp_path / f"{at}{again}.corten"
            model.save(file)
            sketches.append(corten.load(file).metadata["sketch"])
    assert all(s["columns"] == sketches[0]["columns"] and s["rows"] == 2048 for s in sketches)
    for sketch in sketches:
        taken = x[np.arange(2048) * 3000 // 2048]
        for j, profile in enumerate(sketch["columns"]):
            assert profile["counts"] == _binned(profile, taken[:, j]).tolist()
            assert max(profile["counts"]) - min(profile["counts"]) <= 3
    scaled = LogisticRegression().fit(x, y > 1)
    scaled.save(tmp_path / "c.corten")
    assert corten.load(tmp_path / "c.corten").metadata["sketch"]["score"]["method"] == "predict_proba"


def test_a_fit_from_files_leaves_the_sketch_of_the_same_rows_in_memory(tmp_path: Path) -> None:
    table = _frame(5000, 3).with_columns(target=pl.Series(np.random.default_rng(0).normal(size=5000)))
    for at, part in enumerate(table.iter_slices(1700)):
        part.write_parquet(tmp_path / f"{at}.parquet")
    sketches = []
    for at in range(2):
        model = HistGradientBoostingRegressor(max_iter=3, categorical_features=["city"])
        model.fit(*((table.drop("target"), table["target"]) if at else (tmp_path, "target")))
        model.save(tmp_path / "m.corten")
        sketches.append(corten.load(tmp_path / "m.corten").metadata["sketch"])
    assert sketches[0]["columns"] == sketches[1]["columns"] and sketches[0]["rows"] == 2048
    assert sum(sketches[0]["score"]["profile"]["counts"]) == 2048


def test_requests_answered_quickly_count_as_all_others(tmp_path: Path, serving: Serving) -> None:
    random = np.random.default_rng(3)
    x = random.normal(size=(800, 4))
    x[random.random(x.shape) < 0.1] = np.nan
    model = HistGradientBoostingClassifier(max_iter=5).fit(x, np.nan_to_num(x[:, 0]) > 0)
    for name in ("quick", "other"):
        model.save(tmp_path / f"{name}.corten")
    with serving(tmp_path) as port:
        for rows in (1, 7, 64, 100, 300):
            live = random.normal(0.5, 2.0, (rows, 4))
            data = [
                None if v != v else v for v in np.where(random.random(live.shape) < 0.2, np.nan, live).ravel().tolist()
            ]
            body = {"inputs": [{"name": "input", "datatype": "FP64", "shape": [rows, 4], "data": data}]}
            answers = [_post(port, "/v2/models/quick/infer", body)]
            # Parameters are read in one of the two ways only.
            answers.append(_post(port, "/v2/models/other/infer", {"parameters": {}, **body}))
            assert answers[0]["outputs"] == answers[1]["outputs"]
        quick, other = (_get(port, f"/v2/models/{name}/drift") for name in ("quick", "other"))
    assert quick["rows"] == other["rows"] == 1 + 7 + 64 + 50 + 60
    assert quick["columns"] == other["columns"] and quick["score"] == other["score"]
    assert sum(quick["score"]["live"]) == quick["rows"] and any(c["missing"]["live"] > 0 for c in quick["columns"])
