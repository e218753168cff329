"""MLflow's flavour: saved, logged, registered, as a pyfunc and served, with the local bits."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import corten
import corten.mlflow
from corten.exceptions import MissingColumnError
from corten.linear_model import LinearRegression


@pytest.fixture(scope="module")
def mlflow(engine: Any) -> Any:
    return engine("mlflow", "mlflow-skinny")


@pytest.fixture(scope="module")
def fitted(raw: Any, trees: Any) -> Any:
    x, late = raw
    trees.set_params(categorical_features="from_dtype")
    return trees.fit(x.with_columns(pl.col("city").cast(pl.Categorical)), np.where(late, "late", "early"))


@pytest.fixture(scope="module")
def folder(mlflow: Any, fitted: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("mlflow") / "model"
    corten.mlflow.save_model(fitted, folder, metadata={"team": "flights"})
    return str(folder)


@pytest.fixture
def store(mlflow: Any, tmp_path: Path) -> Iterator[None]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.create_experiment("flights", artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment("flights")
    yield
    mlflow.set_tracking_uri(before)


def test_what_is_saved_is_the_model_file(mlflow: Any, fitted: Any, folder: str, raw: Any) -> None:
    loaded = corten.mlflow.load_model(folder)
    assert np.array_equal(loaded.predict_proba(raw[0]), fitted.predict_proba(raw[0]))
    assert corten.load(Path(folder) / "data" / "model.corten").methods == loaded.methods
    assert f"corten=={corten.__version__}" in (Path(folder) / "requirements.txt").read_text()
    facts = mlflow.models.get_model_info(folder)
    assert facts.flavors["corten"]["corten_version"] == corten.__version__ and facts.metadata == {"team": "flights"}
    assert facts.signature.inputs.input_names() == ["distance", "hour", "city"]


def test_a_pyfunc_answers_with_the_local_bits(mlflow: Any, fitted: Any, folder: str, raw: Any) -> None:
    served, x = mlflow.pyfunc.load_model(folder), raw[0]
    labels, proba = fitted.predict(x), fitted.predict_proba(x)
    frame = x.to_pandas()
    for rows in (
        frame,
        frame.astype({"hour": np.float32, "city": "category"}),
        frame[["city", "hour", "distance"]].assign(more=1),
    ):
        assert served.predict(rows).tolist() == labels.tolist()
    found = served.predict(frame, params={"method": "predict_proba"})
    assert list(found.columns) == ["probability_early", "probability_late"]
    assert np.array_equal(found.to_numpy(), proba)
    assert served.predict(frame.head(1).to_dict("records")).tolist() == labels[:1].tolist()
    assert served.predict(frame.head(0)).tolist() == []
    assert isinstance(served.get_raw_model(), corten.Model)
    with pytest.raises(mlflow.exceptions.MlflowException, match="missing inputs .*hour"):
        served.predict(frame.drop(columns="hour"))
    with pytest.raises(MissingColumnError, match="Column 'hour' is missing from the input; it has: 'distance', 'city'"):
        corten.mlflow._load_pyfunc(os.path.join(folder, "data", "model.corten")).predict(frame.drop(columns="hour"))


def test_models_without_names_take_arrays(mlflow: Any, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    model = LinearRegression().fit(x, x @ [1.0, 2.0])
    corten.mlflow.save_model(model, tmp_path / "m")
    served = mlflow.pyfunc.load_model(str(tmp_path / "m"))
    for rows in (x, pd.DataFrame(x), pd.DataFrame(x, columns=["a", "b"])):
        assert np.array_equal(served.predict(rows), model.predict(x))


@pytest.mark.usefixtures("store")
def test_a_logged_model_comes_back_from_the_run_and_the_registry(mlflow: Any, fitted: Any, raw: Any) -> None:
    with mlflow.start_run() as run:
        info = corten.mlflow.log_model(fitted, "late", registered_model_name="flights")
    wanted = fitted.predict_proba(raw[0])
    for uri in (info.model_uri, f"runs:/{run.info.run_id}/late", "models:/flights/1"):
        assert np.array_equal(corten.mlflow.load_model(uri).predict_proba(raw[0]), wanted)
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("flights", "champion", 1)
    champion = mlflow.pyfunc.load_model("models:/flights@champion")
    assert champion.predict(raw[0].to_pandas()).tolist() == fitted.predict(raw[0]).tolist()


def test_requirements_may_be_added_and_a_full_folder_is_refused(
    mlflow: Any, fitted: Any, folder: str, tmp_path: Path
) -> None:
    corten.mlflow.save_model(fitted, tmp_path / "m", extra_pip_requirements=["polars"], signature=False)
    assert "polars" in (tmp_path / "m" / "requirements.txt").read_text().split()
    assert mlflow.models.get_model_info(str(tmp_path / "m")).signature is None
    with pytest.raises(mlflow.exceptions.MlflowException, match="already exists"):
        corten.mlflow.save_model(fitted, folder)
    with pytest.raises(TypeError, match="'model' parameter must be the path"):
        corten.mlflow.save_model(b"flights", tmp_path / "n")


@pytest.mark.slow
def test_mlflow_serves_it(mlflow: Any, fitted: Any, folder: str, raw: Any, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        folder,
        "-p",
        str(port),
        "--env-manager",
        "local",
    ]
    # The server starts `uvicorn`, and its interpreter, by their names.
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    package = str(Path(corten.__file__).parent.parent)
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env={**os.environ, "PATH": places, "PYTHONPATH": package}, process_group=0
        )
        try:
            url, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
            while True:
                try:
                    urllib.request.urlopen(url + "/ping", timeout=5).close()
                    break
                except (urllib.error.URLError, OSError):
                    assert process.poll() is None and time.monotonic() < end, (tmp_path / "log").read_text()
                    time.sleep(0.2)
            rows = raw[0].head(50)
            body = {"dataframe_split": {"columns": rows.columns, "data": [list(r) for r in rows.rows()]}}
            assert any(None in row for row in body["dataframe_split"]["data"])
            for params, wanted in (
                ({}, fitted.predict(rows).tolist()),
                ({"method": "predict_proba"}, fitted.predict_proba(rows).tolist()),
            ):
                data = json.dumps({**body, "params": params}).encode()
                request = urllib.request.Request(url + "/invocations", data, {"Content-Type": "application/json"})
                with urllib.request.urlopen(request, timeout=60) as response:
                    found = json.load(response)["predictions"]
                found = [list(r.values()) if isinstance(r, dict) else r for r in found]
                assert found == wanted
        finally:
            os.killpg(process.pid, 15)
            process.wait(30)
