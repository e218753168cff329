"""Rows whose cells are hard on thresholds."""

from __future__ import annotations

import functools

import numpy as np


@functools.cache
def table() -> tuple[np.ndarray, np.ndarray]:
    """Rows, and three classes of them."""
    random = np.random.default_rng(1)
    x = random.normal(size=(900, 4)).astype(np.float32).astype(float)
    return x, (x[:, 0] + x[:, 1] ** 2 > 0.6).astype(int) + (x[:, 2] > 1)


def odd(x: np.ndarray, missing: bool = True) -> np.ndarray:
    """Rows of the fit with cells beside them, tiny ones, and missing ones."""
    near = np.vstack([x[:100], np.nextafter(x[:100], np.inf), np.nextafter(x[:100], -np.inf)])
    tiny = np.full((4, x.shape[1]), [[0.0], [-0.0], [1e-40], [-1e-40]])
    out = np.vstack([near, tiny, (x[:99] + x[1:100]) / 2])
    if missing:
        out[::5, 0] = np.nan
        out[::7, 2] = np.nan
    return out
