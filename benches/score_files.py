#!/usr/bin/env python3
"""`corten score` on one large file: rows a second beside Polars reading the same file, and the most memory it takes.

    python benches/score_files.py [rows] [trees] [format]

The format is parquet, csv or ndjson. The file has 8 columns of numbers and is made by repeating a million rows; it is deleted
at the end. Polars sums all columns in its streaming engine, which is what reading costs, and scores the file with
`corten.polars.predict` in the same engine. All take the better of two runs, in turns; each run is a process of its own, and its
memory is the peak that the system kept for it (VmHWM). The file is in the page cache where that is large enough, for all.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from _common import table

from corten.ensemble import HistGradientBoostingRegressor

BLOCK = 1_000_000
REPORT = """
seconds = time.perf_counter() - start
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print("figures", seconds, peak / 1024)
"""
SCORE = """
import sys, time
from corten._cli import main
start = time.perf_counter()
assert main(["score", *sys.argv[1:]]) == 0
"""
READ = """
import sys, time
import polars as pl
scan = getattr(pl, "scan_" + sys.argv[1].rpartition(".")[2])
start = time.perf_counter()
scan(sys.argv[1]).select(pl.all().sum()).collect(engine="streaming")
"""
PREDICT = """
import sys, time
import polars as pl
import corten.polars
suffix = sys.argv[1].rpartition(".")[2]
scan, sink = getattr(pl, "scan_" + suffix), getattr(pl.LazyFrame, "sink_" + suffix)
start = time.perf_counter()
sink(scan(sys.argv[1]).select(corten.polars.predict(sys.argv[2])), sys.argv[3])
"""


def figures(code: str, *arguments: object) -> tuple[float, float]:
    """Seconds and MB (2^20 bytes) of a process."""
    command = [sys.executable, "-c", code + REPORT, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("figures")]
    if not found:
        raise SystemExit(done.stderr[-1000:])
    return float(found[0][0]), float(found[0][1])


def main() -> None:
    """Makes the file and the model, measures, prints."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000_000
    trees = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    suffix = sys.argv[3] if len(sys.argv) > 3 else "parquet"
    random = np.random.default_rng(0)
    frame = pl.DataFrame(random.normal(size=(min(rows, BLOCK), 8)), schema=[f"f{i}" for i in range(8)])
    with tempfile.TemporaryDirectory() as folder:
        part, data, model = (Path(folder) / name for name in ("part.parquet", f"rows.{suffix}", "m.corten"))
        some = frame.head(20_000)
        boosting = HistGradientBoostingRegressor(max_iter=trees, early_stopping=False)
        boosting.fit(some, some["f0"] * some["f1"] + some["f2"]).save(model)
        frame.write_parquet(part)
        many = pl.concat([pl.scan_parquet(part)] * (rows // len(frame)))
        options = {"row_group_size": 250_000} if suffix == "parquet" else {}
        getattr(many, f"sink_{suffix}")(data, **options)
        part.unlink()
        size = data.stat().st_size / 1e6
        best = [(float("inf"), 0.0)] * 3
        for turn in range(2):
            out = Path(folder) / f"out{turn}"
            theirs = Path(folder) / f"theirs.{suffix}"
            found = (figures(SCORE, model, data, out), figures(READ, data), figures(PREDICT, data, model, theirs))
            best = [(min(b[0], f[0]), max(b[1], f[1])) for b, f in zip(best, found, strict=True)]
            theirs.unlink()
            scored = getattr(pl, f"scan_{suffix}")(out / data.name)
            if scored.select(pl.len()).collect().item() != rows // len(frame) * len(frame):
                raise SystemExit("the result has another number of rows")
            for path in [*out.iterdir()]:
                path.unlink()
    lines = [
        [name, seconds, rows / seconds / 1e6, peak]
        for name, (seconds, peak) in zip(("corten score", "Polars reading", "Polars scoring"), best, strict=True)
    ]
    print(f"{rows:,} rows of 8 columns, {size:,.0f} MB of {suffix}, {trees} trees")
    table(["", "s", "million rows/s", "peak MB"], lines)
    print(f"corten score takes {best[0][0] / best[1][0]:.2f} times as long as Polars takes to read")
    print(f"and {best[0][0] / best[2][0]:.2f} times as long as Polars takes to score with the same model")


if __name__ == "__main__":
    main()
