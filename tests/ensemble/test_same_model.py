"""The boosting engine gives the same bytes for any number of threads and any instruction set."""

from __future__ import annotations

import functools
import os
import subprocess
import sys

import pytest

CODE = """
import hashlib, sys
import numpy as np
from corten.ensemble import HistGradientBoostingClassifier as C, HistGradientBoostingRegressor as R

rng = np.random.default_rng(0)
n, threads = 70_000, int(sys.argv[1])
X = rng.normal(size=(n, 20)).astype(np.float32)
X[rng.random(X.shape) < 0.02] = np.nan
z = np.nan_to_num(X)
y = z[:, 0] + z[:, 1] * z[:, 2] + np.sin(3 * z[:, 3]) + rng.normal(size=n)
digest = hashlib.sha256()
for model, target, rows in (
    (C(max_iter=4, max_leaf_nodes=40, early_stopping=False), y > 0, n),
    (C(max_iter=3, early_stopping=True, max_features=0.5, random_state=1), np.digitize(y, [-1, 0, 1]), 30_000),
    (R(max_iter=4, early_stopping=False), y, n),
    (R(max_iter=3, loss="poisson", early_stopping=False), np.exp(y), 30_000),
    (R(max_iter=3, loss="absolute_error", early_stopping=False), y, 30_000),
    (R(max_iter=3, loss="quantile", quantile=0.3, early_stopping=False), y, n),
    (R(max_iter=3, max_leaf_nodes=15, linear_tree=True, early_stopping=False), y, 30_000),
    (R(max_iter=6, early_stopping=False), y, 16_000),
):
    model._threads = lambda: threads
    # Columns twice, where few rows alone would keep one thread busy only.
    model.fit(np.hstack([X[:rows]] * (2 if rows < 20_000 else 1)), target[:rows])
    digest.update(model._model.to_bytes())
print(digest.hexdigest())
"""


@functools.cache
def _digest(threads: int, cpu: str) -> str:
    env = {**os.environ, "CORTEN_CPU": cpu, "SOURCE_DATE_EPOCH": "0"}
    done = subprocess.run([sys.executable, "-c", CODE, str(threads)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(("threads", "cpu"), [(2, "avx512"), (4, "avx512"), (1, "avx2"), (3, "plain")])
def test_threads_and_instructions_do_not_show(threads: int, cpu: str) -> None:
    assert _digest(threads, cpu) == _digest(1, "avx512")
