"""Shapley values of trees: Corten against LightGBM's `pred_contrib` and, where it is installed, `shap`.

Each explains a model of its own of the same shape, grown on the same rows. What is printed are ratios of the least of
several runs that alternate.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars.selectors as cs
from _common import flights

from corten.ensemble import HistGradientBoostingRegressor


def least(calls: dict[str, Callable[[], Any]], repeat: int) -> dict[str, float]:
    """Least wall seconds of each call, in turn."""
    out = dict.fromkeys(calls, float("inf"))
    for _ in range(repeat):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            out[name] = min(out[name], time.perf_counter() - start)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--trees", type=int, default=200)
    parser.add_argument("--leaves", type=int, default=63)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    import lightgbm

    x, y, held_out, _ = (part.select(cs.numeric()) if hasattr(part, "select") else part for part in flights(60_000))
    x, held_out = x.to_numpy().astype(np.float64), held_out.to_numpy().astype(np.float64)[: given.rows]
    ours = HistGradientBoostingRegressor(max_iter=given.trees, max_leaf_nodes=given.leaves, early_stopping=False).fit(
        x, y
    )
    settings = {"num_leaves": given.leaves, "verbose": -1, "num_threads": given.threads}
    theirs = lightgbm.train(settings, lightgbm.Dataset(x, y.astype(float)), given.trees)
    found = ours.explain(held_out)
    gap = float(np.abs(found.base_values + found.values.sum(axis=1) - ours.predict(held_out)).max())
    print(f"{len(held_out)} rows, {given.trees} trees of {given.leaves} leaves, {x.shape[1]} columns")
    print(f"largest distance of base and values from the score: {gap:.1e}")
    times = least(
        {
            "Corten": lambda: ours.explain(held_out),
            "Corten, one row": lambda: ours.explain(held_out[:1]),
            "Corten, interactions of 200 rows": lambda: ours.explain(held_out[:200], interactions=True),
            "LightGBM": lambda: theirs.predict(held_out, pred_contrib=True),
            "LightGBM, one row": lambda: theirs.predict(held_out[:1], pred_contrib=True),
        },
        given.repeat,
    )
    for name, seconds in times.items():
        print(f"{name}: {1e3 * seconds:.1f} ms")
    print(f"LightGBM / Corten: {times['LightGBM'] / times['Corten']:.1f}")
    print(f"LightGBM / Corten, one row: {times['LightGBM, one row'] / times['Corten, one row']:.1f}")
    if importlib.util.find_spec("shap"):
        import shap

        few = held_out[:200]
        explainer = shap.TreeExplainer(theirs)
        times = least({"shap": lambda: explainer.shap_values(few), "Corten": lambda: ours.explain(few)}, 1)
        print(f"shap / Corten, 200 rows: {times['shap'] / times['Corten']:.1f}")


if __name__ == "__main__":
    main()
