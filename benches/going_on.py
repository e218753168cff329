"""Going on: models swapped 100 times under load, and SIGTERM under load, over REST and gRPC, each answer compared.

The server has core 0, the load (70 % of what a closed loop gets) core 1. Over one protocol after the other, two models of
different answers take turns under one name; then the server is told to stop while the load goes on. Needs gcc and two cores.

    python benches/going_on.py [SWAPS, default 100]
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import table
from _load import FEATURES, Load, Server, asked

from corten.ensemble import HistGradientBoostingClassifier

#: Share of the capacity that is offered, connections, and seconds between two swaps.
SHARE, CONNECTIONS, BETWEEN = 0.7, 64, 0.5
#: How long the server goes on taking requests after the word to stop, in seconds.
DELAY = 2


def put(model: Path, folder: Path) -> None:
    """Puts a model in its place by a rename."""
    shutil.copy(model, folder / ".new")
    os.replace(folder / ".new", folder / "model.corten")


def swaps(folder: Path, models: list[Path], protocol: str, rows: list[bytes], count: int) -> list[object]:
    """Swaps under load: a line of the table."""
    where = folder / "models"
    where.mkdir(exist_ok=True)
    server, right = None, []
    try:
        for model in models:
            put(model, where)
            server = Server(where)
            right.append([server.infer(row, protocol) for row in rows])
            server.stop()
        server = Server(where)
        load = Load(folder, protocol, rows, list(zip(*right, strict=True)))
        rate = SHARE * len((whole := load.run(server.port, 0, 2, CONNECTIONS)).right) / whole.seconds
        turns = [(BETWEEN * at, lambda at=at: put(models[at % 2], where)) for at in range(1, count + 1)]
        told = load.run(server.port, rate, BETWEEN * (count + 1), CONNECTIONS, turns)
        # Each change of the answer's kind is a swap that was seen; an old answer may end after a new one.
        shares = [round(float((told.which == at).mean()), 2) for at in (0, 1)]
        loads = server.metric('corten_model_loads_total{result="ok"}')
        return [f"{count} swaps, {protocol}", round(rate), len(told.right), shares, int(loads), *end(told), ""]
    finally:
        if server is not None:
            server.stop()


def stop(folder: Path, model: Path, protocol: str, rows: list[bytes]) -> list[object]:
    """SIGTERM under load: a line of the table."""
    server = Server(model, "--drain-delay", str(DELAY))
    right = [[server.infer(row, protocol)] for row in rows]
    load = Load(folder, protocol, rows, right)
    rate = SHARE * len((whole := load.run(server.port, 0, 2, CONNECTIONS)).right) / whole.seconds
    said, ended = [], []

    def tell() -> None:
        said.append(time.monotonic())
        server.process.send_signal(signal.SIGTERM)

    def wait() -> None:
        code = server.process.wait(30)
        ended.extend([time.monotonic(), code])

    told = load.run(server.port, rate, 2 + DELAY + 1, CONNECTIONS, [(2, tell), (2, wait)])
    late = ended[0] - said[0] - DELAY
    return [f"SIGTERM, {protocol}", round(rate), len(told.right), "", "", *end(told), f"{late:.2f}, status {ended[1]}"]


def end(told: object) -> list[object]:
    """What went wrong, and the waits."""
    # Once nobody listens, there is nobody to connect to.
    others = {what: n for what, n in told.others.items() if what not in ("connection refused", "not sent")}
    return [len(told.refused), others or "none", *(float(p) for p in np.percentile(told.right, (50, 99, 100)))]


def main() -> None:
    """Fit the models and print the table."""
    if (os.cpu_count() or 1) < 2:
        sys.exit("going_on: needs two cores")
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    random = np.random.default_rng(0)
    x = random.normal(size=(20_000, FEATURES))
    y = (x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + random.normal(size=len(x)) > 0).astype(int)
    lines: list[list[object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder, models = Path(name), []
        for trees in (100, 120):
            (folder / str(trees)).mkdir()
            models.append(folder / str(trees) / "model.corten")
            HistGradientBoostingClassifier(max_iter=trees, early_stopping=False).fit(x, y).save(models[-1])
        for protocol in ("rest", "grpc"):
            rows = [asked(x[at : at + 1], protocol) for at in range(500)]
            lines.append(swaps(folder, models, protocol, rows, count))
            lines.append(stop(folder, models[0], protocol, rows))
    heads = [
        "case",
        "requests/s",
        "right",
        "of each model",
        "loads",
        "refused",
        "others",
        "p50 ms",
        "p99 ms",
        "most ms",
    ]
    table([*heads, "exit after the delay, s"], lines)


if __name__ == "__main__":
    main()
