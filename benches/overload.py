"""Twice as much load as the server can take, in an open loop: what is still answered rightly, how soon the rest is refused.

The server has core 0, the load core 1. Capacity is what a closed loop of 16 connections gets, before and after. Where the machine
has other work, its speed changes meanwhile, and the goodput with it; "by CPU" doesn't: it compares how much of the server's CPU
time its models take, under the load and in the closed loop. Every answer is compared with that of the idle server, whose
probabilities are those of Python. Needs gcc and two cores.

    python benches/overload.py [SECONDS, default 60] [CASE ...]
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from _common import table
from _load import FEATURES, Load, Server, asked

from corten.ensemble import HistGradientBoostingClassifier

#: Trees, rows of a body, protocol.
CASES = {
    "rest, 500 trees, 100 rows": (500, 100, "rest"),
    "grpc, 500 trees, 100 rows": (500, 100, "grpc"),
    "rest, 5000 trees, 10 rows": (5000, 10, "rest"),
    "grpc, 5000 trees, 10 rows": (5000, 10, "grpc"),
    "rest, 5000 trees, 100 rows": (5000, 100, "rest"),
    "grpc, 5000 trees, 100 rows": (5000, 100, "grpc"),
}
CONNECTIONS, BODIES = 1024, 200
#: Milliseconds after which nobody waits for an answer any more, and in which a refusal must come.
GIVEN_UP, SOON = 500, 50


def measure(name: str, model: Path, x: np.ndarray, truth: np.ndarray, seconds: float) -> list[object]:
    """A line of the table."""
    _, rows, protocol = CASES[name]
    server = Server(model)
    try:
        said = json.loads(server.infer(asked(x[:500], "rest"), "rest"))["outputs"]
        said = next(np.array(o["data"]).reshape(o["shape"]) for o in said if o["name"] == "predict_proba")
        if not np.array_equal(said, truth):
            sys.exit("overload: the server's answers aren't those of Python")
        requests = [asked(x[at * rows % (len(x) - rows) :][:rows], protocol) for at in range(BODIES)]
        right = [[server.infer(request, protocol)] for request in requests]
        load = Load(model.parent, protocol, requests, right)
        load.run(server.port, 0, 1, 16)
        _, look = server.scoring_share()
        before = load.run(server.port, 0, 4, 16)
        closed, _ = server.scoring_share(look)
        offered = 2 * len(before.right) / before.seconds
        load.run(server.port, offered, 2, CONNECTIONS)
        memory, used = server.resident(), server.cpu_seconds()
        _, look = server.scoring_share()
        told = load.run(server.port, offered, seconds, CONNECTIONS)
        used = (server.cpu_seconds() - used) / seconds
        loaded, _ = server.scoring_share(look)
        memory = [memory, server.resident()]
        after = load.run(server.port, 0, 4, 16)
        capacity = max(len(t.right) / t.seconds for t in (before, after))
        strange = server.statuses() - {"200", "503", "0", "8"}
        if told.others or strange:
            print(f"{name}: {told.others}, statuses {sorted(strange)}")
        good = (told.right <= GIVEN_UP).sum() / seconds
        return [
            name,
            round(capacity),
            round(offered / capacity, 2),
            round(good / capacity, 3),
            round(loaded / closed, 3),
            *np.percentile(told.right, (50, 99)),
            len(told.refused),
            *(np.percentile(told.refused, (50, 100)) if len(told.refused) else (0, 0)),
            int((told.refused > SOON).sum()),
            sum(told.others.values()),
            f"{memory[0]:.1f} -> {memory[1]:.1f}",
            round(used, 2),
            told.behind,
        ]
    finally:
        server.stop()


def main() -> None:
    """Fit the models and print the table."""
    if (os.cpu_count() or 1) < 2:
        sys.exit("overload: needs two cores")
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    random = np.random.default_rng(0)
    x = random.normal(size=(20_000, FEATURES))
    y = (x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + random.normal(size=len(x)) > 0).astype(int)
    lines, models = [], {}
    with tempfile.TemporaryDirectory() as folder:
        for name in sys.argv[2:] or CASES:
            trees = CASES[name][0]
            if trees not in models:
                file = Path(folder) / str(trees) / "model.corten"
                file.parent.mkdir()
                settings = {"max_iter": trees, "max_leaf_nodes": 63, "learning_rate": 20 / trees}
                model = HistGradientBoostingClassifier(early_stopping=False, **settings).fit(x[:5000], y[:5000])
                model.save(file)
                models[trees] = file, model.predict_proba(x[:500])
            lines.append(measure(name, models[trees][0], x, models[trees][1], seconds))
    heads = [
        "case",
        "capacity/s",
        "offered",
        "goodput",
        "by CPU",
        "p50 ms",
        "p99 ms",
        "refused",
        "p50 ms",
        "most ms",
        "late",
    ]
    table([*heads, "others", "MB", "core", "behind ms"], lines)


if __name__ == "__main__":
    main()
