"""Whether every road and every CPU path gives the same bits, for a tree pipeline and for a linear one.

Roads: a table and single rows in Python, `corten predict`, the server's JSON, the executable. CPU paths: CORTEN_CPU forces
the plain, the AVX2 and the AVX-512 kernels; each fits and predicts in a process of its own.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs
from _common import BIN, flights, pipeline, table

import corten

ROWS = 10_000
PATHS = ("plain", "avx2", "avx512")


def served(path: Path, records: list[dict]) -> list[dict]:
    """The answers of a server of its own, 500 rows a request."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [BIN / "corten-serve", path, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for _ in range(500):
            try:
                connection.connect()
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        answers = []
        for first in range(0, len(records), 500):
            connection.request("POST", "/predict", json.dumps({"rows": records[first : first + 500]}))
            response = connection.getresponse()
            body = json.loads(response.read())
            if response.status != 200:
                raise SystemExit(f"corten-serve answered {response.status}: {body}")
            answers += body["predictions"]
        return answers
    finally:
        process.terminate()
        process.wait(10)


def probabilities(answers: list[dict]) -> np.ndarray:
    return np.array([list(answer["probability"].values()) for answer in answers])


def roads(kind: str) -> dict[str, int]:
    """How many values of each road differ from those of a table in Python."""
    x, y, xt, _ = flights()
    xt = xt.head(ROWS)
    records = xt.to_dicts()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "m.corten"
        pipeline("corten", kind).fit(x, y).save(path)
        model = corten.load(path)
        expected = model.predict_proba(xt)
        xt.write_parquet(folder / "in.parquet")
        command = [BIN / "corten", "predict", path, folder / "in.parquet", "-o", folder / "out.parquet", "--proba"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        subprocess.run([BIN / "corten", "bundle", path, "-o", folder / "app"], check=True, stdout=subprocess.DEVNULL)
        lines = "".join(json.dumps(record) + "\n" for record in records)
        bundled = subprocess.run([folder / "app"], input=lines, stdout=subprocess.PIPE, text=True, check=True).stdout
        found = {
            "Python, row by row": np.array([list(model.predict_proba_one(r).values()) for r in records]),
            "corten predict": pl.read_parquet(folder / "out.parquet").select(cs.starts_with("probability")).to_numpy(),
            "corten-serve": probabilities(served(path, records)),
            "executable": probabilities([json.loads(line) for line in bundled.splitlines()]),
        }
    bits = np.ascontiguousarray(expected).view(np.int64)
    return {road: int((np.ascontiguousarray(values).view(np.int64) != bits).sum()) for road, values in found.items()}


def digest(kind: str) -> str:
    """Digest of the predictions of a model fitted and run in this process."""
    x, y, xt, _ = flights(40_000)
    return hashlib.sha256(pipeline("corten", kind).fit(x, y).predict_proba(xt).tobytes()).hexdigest()[:16]


def forced(kind: str, path: str) -> str:
    """`digest` in a process whose kernels take one CPU path."""
    done = subprocess.run(
        [sys.executable, __file__, kind], env={**os.environ, "CORTEN_CPU": path}, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else f"failed: {done.stderr.strip().splitlines()[-1]}"


def described(path: str) -> str:
    """The path, and whether this CPU has it; where it doesn't, the next one below runs in its place."""
    flags = Path("/proc/cpuinfo").read_text().split()
    needed = {"avx2": "avx2", "avx512": "avx512f"}
    return path if path not in needed or needed[path] in flags else f"{path} (not on this CPU)"


def main() -> None:
    """Prints both tables; exits 1 where anything differs."""
    if len(sys.argv) == 2:
        print(digest(sys.argv[1]))
        return
    kinds = ("trees", "linear")
    differing = {kind: roads(kind) for kind in kinds}
    table(
        [f"values that differ, {ROWS:,} rows", *kinds],
        [[road, *(differing[kind][road] for kind in kinds)] for road in differing["trees"]],
    )
    print()
    digests = {kind: {path: forced(kind, path) for path in PATHS} for kind in kinds}
    table(["digest of fit and predict", *kinds], [[described(p), *(digests[kind][p] for kind in kinds)] for p in PATHS])
    equal = all(len(set(digests[kind].values())) == 1 and not any(differing[kind].values()) for kind in kinds)
    print("\nequal to the last bit" if equal else "\nDIFFERENT")
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
