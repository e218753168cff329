"""Other Python threads while `fit` runs, and how soon Ctrl-C stops a fit."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import numpy as np
from _common import table

from corten.ensemble import HistGradientBoostingClassifier

LONG_FIT = """
import numpy as np
from corten.ensemble import HistGradientBoostingClassifier
x = np.random.default_rng(0).normal(size=(200_000, 20))
print("fitting", flush=True)
HistGradientBoostingClassifier(max_iter=10_000, early_stopping=False).fit(x, x[:, 0] > 0)
"""


def ticks_per_second() -> float:
    """Ticks of 1 ms that another thread gets through while a model is fitted."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200_000, 20))
    y = x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(size=len(x)) > 0
    ticks, done = 0, threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not done.wait(0.001):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    start = time.perf_counter()
    HistGradientBoostingClassifier(max_iter=50, early_stopping=False).fit(x, y)
    seconds = time.perf_counter() - start
    done.set()
    thread.join()
    return ticks / seconds


def seconds_to_stop() -> float:
    """From SIGINT to the end of a process in the middle of a fit."""
    process = subprocess.Popen(
        [sys.executable, "-c", LONG_FIT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(2)
    start = time.perf_counter()
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    if "KeyboardInterrupt" not in errors:
        raise SystemExit(f"no KeyboardInterrupt: {errors}")
    return time.perf_counter() - start


def main() -> None:
    """Prints both figures."""
    rows = [["ticks of 1 ms a second while fitting", ticks_per_second()], ["Ctrl-C to the end, s", seconds_to_stop()]]
    table(["", "measured"], rows)


if __name__ == "__main__":
    main()
