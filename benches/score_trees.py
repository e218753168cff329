#!/usr/bin/env python3
"""Scoring of LightGBM's own model by Corten, LightGBM, and as far as they are installed lleaves, ONNX Runtime, treelite and
tl2cgen, whose code gcc compiles: minutes for hundreds of trees.

    python benches/score_trees.py [trees] [leaves] [numbers | categories]
    python benches/score_trees.py [trees] forest

One row (thousands of different rows in turn), and batches on one and on two threads. The model is one of binary classes
on normal columns, with `categories` also on columns of up to 3,000 levels; each answer is compared with LightGBM's.
`forest` takes deep trees of scikit-learn's on the same columns instead, beside scikit-learn, ONNX Runtime and treelite.
Ratios are to the quickest peer in the same run.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np
from _common import median_us

import corten

BATCHES = (100, 1_000, 10_000, 100_000)


LEVELS = (3_000, 300, 30)


def columns(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and classes."""
    random = np.random.default_rng(0)
    x = random.normal(size=(200_000, 24)).astype(np.float32).astype(float)
    x[random.random(x.shape) < 0.02] = np.nan
    z = np.nan_to_num(x)
    y = (
        z[:, 0] * z[:, 1] + np.sin(2 * z[:, 2]) + z[:, 3] ** 2 + z[:, 4:12].sum(axis=1) + random.logistic(size=len(x))
    ) > (0 if kind == "categories" else 1)
    if kind == "categories":
        # Levels that differ in how often they come, and in the share of each class.
        for column, levels in enumerate(LEVELS, start=12):
            level = (levels * random.random(len(x)) ** 2).astype(int)
            y ^= random.random(len(x)) < random.random(levels)[level] / 2
            x[:, column] = level
    return x, y


def make(trees: int, leaves: int, kind: str) -> tuple[lgb.Booster, np.ndarray]:
    """A booster, and rows that it hasn't seen."""
    x, y = columns(kind)
    settings = {"objective": "binary", "num_leaves": leaves, "learning_rate": 0.05, "verbose": -1, "num_threads": 2}
    categories = list(range(12, 12 + len(LEVELS))) if kind == "categories" else []
    seen = lgb.Dataset(x[:100_000], y[:100_000], categorical_feature=categories)
    return lgb.train(settings, seen, trees), np.ascontiguousarray(x[100_000:])


def forest_scorers(trees: int) -> tuple[dict[str, Callable[[np.ndarray, int], Any]], np.ndarray]:
    """The same for a forest whose trees are as deep as they grow, and rows that it hasn't seen."""
    from sklearn.ensemble import RandomForestClassifier

    x, y = columns("forest")
    forest = RandomForestClassifier(trees, n_jobs=2, random_state=0).fit(x[:100_000], y[:100_000])
    model = corten.convert(forest)

    def theirs(x: np.ndarray, threads: int) -> np.ndarray:
        forest.n_jobs = threads
        return forest.predict_proba(x)[:, 1]

    out: dict[str, Callable[[np.ndarray, int], Any]] = {
        "corten": lambda x, threads: (
            model._core.run("predict_proba", x, threads) if len(x) > 4 else model.predict_proba(x)
        )[:, 1],
        "scikit-learn": theirs,
    }
    try:
        import onnxruntime
        from skl2onnx import to_onnx

        options = {RandomForestClassifier: {"zipmap": False}}
        onnx = to_onnx(forest, x[:1].astype(np.float32), options=options, target_opset=17).SerializeToString()
        sessions = {}
        for threads in (1, 2):
            limits = onnxruntime.SessionOptions()
            limits.intra_op_num_threads = threads
            sessions[threads] = onnxruntime.InferenceSession(onnx, limits, providers=["CPUExecutionProvider"])
        name = sessions[1].get_inputs()[0].name
        out["onnxruntime"] = lambda x, threads: sessions[threads].run(None, {name: x.astype(np.float32)})[1]
    except ImportError:
        print("onnxruntime or skl2onnx isn't installed")
    try:
        import treelite

        loaded = treelite.sklearn.import_model(forest)
        out["treelite"] = lambda x, threads: treelite.gtil.predict(loaded, x, nthread=threads)
    except ImportError:
        print("treelite isn't installed")
    return out, np.ascontiguousarray(x[100_000:])


def scorers(booster: lgb.Booster, folder: Path) -> dict[str, Callable[[np.ndarray, int], Any]]:
    """By name, what scores an array on a number of threads."""
    model = corten.convert(booster)
    booster.save_model(folder / "m.txt")
    width = booster.num_feature()
    out: dict[str, Callable[[np.ndarray, int], Any]] = {
        "corten": lambda x, threads: model._core.run("predict", x, threads) if len(x) > 4 else model.predict(x),
        "lightgbm": lambda x, threads: booster.predict(x, num_threads=threads),
    }
    try:
        import lleaves

        compiled = lleaves.Model(str(folder / "m.txt"))
        compiled.compile()
        out["lleaves"] = lambda x, threads: compiled.predict(x, n_jobs=threads)
    except ImportError:
        print("lleaves isn't installed")
    try:
        import onnxruntime
        from onnxmltools import convert_lightgbm
        from onnxmltools.convert.common.data_types import FloatTensorType

        onnx = convert_lightgbm(booster, initial_types=[("x", FloatTensorType([None, width]))], zipmap=False)
        sessions = {}
        for threads in (1, 2):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            sessions[threads] = onnxruntime.InferenceSession(
                onnx.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        out["onnxruntime"] = lambda x, threads: sessions[threads].run(None, {"x": x.astype(np.float32)})[1]
    except ImportError:
        print("onnxruntime or onnxmltools isn't installed")
    try:
        import treelite

        loaded = treelite.frontend.load_lightgbm_model(str(folder / "m.txt"))
        out["treelite"] = lambda x, threads: treelite.gtil.predict(loaded, x, nthread=threads)
    except ImportError:
        print("treelite isn't installed")
        return out
    try:
        import tl2cgen

        if shutil.which("gcc") is None:
            print("gcc, which compiles tl2cgen's code, isn't installed")
            return out
        # Files of C that gcc compiles side by side, and much sooner than one.
        library, files = folder / "tl2cgen.so", max(16, os.cpu_count() or 1)
        tl2cgen.export_lib(loaded, toolchain="gcc", libpath=library, params={"parallel_comp": files})
        predictors = {threads: tl2cgen.Predictor(library, nthread=threads) for threads in (1, 2)}
        out["tl2cgen"] = lambda x, threads: predictors[threads].predict(tl2cgen.DMatrix(x))
    except ImportError:
        print("tl2cgen isn't installed")
    return out


def seconds(call: Callable[[], Any]) -> float:
    """The best of a few calls."""
    best, spent = float("inf"), 0.0
    while spent < 1.0:
        start = time.perf_counter()
        call()
        took = time.perf_counter() - start
        best, spent = min(best, took), spent + took
    return best


def main() -> None:
    """Measures and prints."""
    trees = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    size, *kind = sys.argv[2:] or ["63"]
    with tempfile.TemporaryDirectory() as folder:
        if size == "forest":
            all_of_them, x = forest_scorers(trees)
            peer, what = "scikit-learn", "deep trees"
        else:
            booster, x = make(trees, int(size), kind[0] if kind else "numbers")
            all_of_them = scorers(booster, Path(folder))
            peer, what = "lightgbm", f"trees of {size} leaves"
        want, got = (np.asarray(all_of_them[name](x[:5_000], 2)).ravel() for name in (peer, "corten"))
        print(f"{trees} {what}; largest difference to {peer} {np.abs(got - want).max():.1e}")
        rows = [np.ascontiguousarray(x[i : i + 1]) for i in range(4_096)]
        table: dict[str, dict[str, float]] = {"one row, us": {}}
        for name, score in all_of_them.items():
            repeat = 500 if name == "treelite" else 2_000
            table["one row, us"][name] = median_us(lambda row, score=score: score(row, 1), rows, repeat)
            for size in BATCHES:
                for threads in (1, 2):
                    part = x[:size]
                    took = seconds(lambda score=score, part=part, threads=threads: score(part, threads))
                    table.setdefault(f"{size:,} rows, {threads} threads, k rows/s", {})[name] = size / took / 1e3
        print(f"{'':32}" + "".join(f"{name:>13}" for name in all_of_them) + "   corten to best peer")
        for what, figures in table.items():
            peers = [value for name, value in figures.items() if name != "corten"]
            quick = min(peers) / figures["corten"] if what.startswith("one") else figures["corten"] / max(peers)
            print(f"{what:32}" + "".join(f"{figures[name]:13.1f}" for name in all_of_them) + f"   {quick:.1f}x")


if __name__ == "__main__":
    main()
