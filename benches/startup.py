"""What it costs to begin: `import corten`, a model loaded, the executable to its first prediction, the server until it is
ready."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _common import BIN, TEXT, flights, pipeline, table

from corten.ensemble import HistGradientBoostingRegressor, RandomForestClassifier

MB = 1e6
IMPORT = """
import sys, time
before = time.process_time()
import {0}
alone = time.process_time() - before
import {0}.ensemble, {0}.pipeline
cpu = time.process_time() - before
rss = next(int(l.split()[1]) / 1024 for l in open("/proc/self/status") if l.startswith("VmRSS"))
print(alone, cpu, rss, "{0}" != "sklearn" and ("sklearn" in sys.modules or "scipy" in sys.modules))
"""

LOAD = """
import sys, time
import numpy as np
import corten
def resident():
    return next(int(l.split()[1]) / 1024 for l in open("/proc/self/status") if l.startswith("VmRSS"))
def answer():
    model = corten.load(sys.argv[2])
    model.predict(row)
    return model
small, row = corten.load(sys.argv[1]), np.zeros((1, 20))
small.predict(row)
before = resident()
model = answer()
grown, times = resident() - before, []
for _ in range(20):
    start = time.perf_counter()
    answer()
    times.append((time.perf_counter() - start) * 1e3)
print(min(times), grown)
"""


def status_mb(pid: int, field: str) -> float:
    """A memory figure of a process in MB (2^20 bytes)."""
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def imported(library: str) -> list[list[Any]]:
    """CPU and memory of importing a library's ensembles and pipelines in a fresh process."""
    code = IMPORT.format(library)
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split() for _ in range(5)
    ]
    if any(run[3] == "True" for run in runs):
        raise SystemExit(f"import {library} loads SciPy or scikit-learn")
    return [
        [f"import {library}, CPU s (best of 5)", min(float(run[0]) for run in runs)],
        ["  with ensembles and pipelines, CPU s", min(float(run[1]) for run in runs)],
        ["  with ensembles and pipelines, RSS MB", min(float(run[2]) for run in runs)],
    ]


def loaded(folder: Path) -> list[list[Any]]:
    """Time and memory of 500 trees of 63 leaves, loaded where a small model was before."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60_000, 20))
    y = np.sin(x[:, 0]) * x[:, 1] + x[:, 2] * x[:, 3]
    paths = []
    for trees in (1, 500):
        paths.append(folder / f"{trees}.corten")
        HistGradientBoostingRegressor(max_iter=trees, max_leaf_nodes=63, early_stopping=False).fit(x, y).save(paths[-1])
    done = subprocess.run([sys.executable, "-c", LOAD, *paths], capture_output=True, text=True, check=True)
    milliseconds, grown = map(float, done.stdout.split())
    size = paths[1].stat().st_size / (1 << 20)
    return [
        ["load of 500 trees to the first answer, ms (best of 20)", milliseconds],
        ["  memory / file", grown / size],
    ]


def bundled(model: Path, row: dict) -> list[list[Any]]:
    executable, size = model.with_name("app"), model.stat().st_size
    subprocess.run([BIN / "corten", "bundle", model, "-o", executable], check=True, stdout=subprocess.DEVNULL)
    times, memory = [], []
    for _ in range(50):
        start = time.perf_counter()
        process = subprocess.Popen([executable], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(row) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        times.append((time.perf_counter() - start) * 1e3)
        memory.append(status_mb(process.pid, "VmHWM"))
        process.stdin.close()
        process.wait(5)
    return [
        [f"executable of a model of {size / MB:.1f} MB, beyond the model, MB", (executable.stat().st_size - size) / MB],
        ["  start to first prediction, ms (median / least)", f"{np.median(times):.2f} / {min(times):.2f}"],
        ["  peak RSS beyond the model, MB", max(memory) - size / (1 << 20)],
    ]


def ready(model: Path) -> list[list[Any]]:
    times, memory = [], []
    for _ in range(20):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        start = time.perf_counter()
        process = subprocess.Popen(
            [BIN / "corten-serve", model, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port), 1) as connection:
                    connection.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                    if connection.recv(64).startswith(b"HTTP/1.1 200"):
                        break
            except ConnectionRefusedError:
                time.sleep(0.0005)
        times.append((time.perf_counter() - start) * 1e3)
        memory.append(status_mb(process.pid, "VmRSS"))
        process.terminate()
        process.wait(10)
    what = f"corten-serve, model of {model.stat().st_size / MB:.1f} MB"
    return [
        [f"{what}, start to ready, ms", float(np.median(times))],
        ["  RSS MB when ready", max(memory)],
    ]


def heavy(folder: Path, x: pl.DataFrame, y: np.ndarray) -> Path:
    """A forest of as many trees as make 10 MB."""
    path, numbers = folder / "heavy.corten", x.drop(TEXT).fill_null(0)
    RandomForestClassifier(n_estimators=2, random_state=0).fit(numbers, y).save(path)
    trees = int(np.ceil(2 * 10 * MB / path.stat().st_size))
    RandomForestClassifier(n_estimators=trees, random_state=0).fit(numbers, y).save(path)
    return path


def main() -> None:
    """Prints the table for a pipeline of 100 trees on the flights, the executable and the server with a forest of 10 MB too."""
    x, y, xt, _ = flights(40_000)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "m.corten"
        pipeline("corten", "trees").fit(x, y).save(model)
        large = heavy(Path(folder), x, y)
        served = [*ready(model), *ready(large)]
        numbers = xt.drop(TEXT).fill_null(0)
        sizes = [
            ["model file, MB", model.stat().st_size / MB],
            ["corten-serve, MB", (BIN / "corten-serve").stat().st_size / MB],
        ]
        table(
            ["", "measured"],
            [
                *imported("corten"),
                *imported("sklearn"),
                *loaded(Path(folder)),
                *sizes,
                *bundled(model, xt.to_dicts()[0]),
                *bundled(large, numbers.to_dicts()[0]),
                *served,
            ],
        )


if __name__ == "__main__":
    main()
