"""`budget=` beside perpetual and 100 Optuna trials of LightGBM: held-out loss, time and memory, each in a process of its own.

    python benches/budget.py FOLDER [SET ...] [--ways "corten 10s,perpetual 1.0"] [--threads N]

The folder holds the sets as Parquet files: adult_income, elec2_nsw, california_housing and diamonds where none are named.
Another file is named with its target, as `adbench_cover=x9`, where that is a number. The memory is the most
that a fit and its predictions hold beyond the data, what libraries load the first time included.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _common import peak_of, table

SETS = {"adult_income": "income", "elec2_nsw": "class", "california_housing": "median_house_value", "diamonds": "price"}
WAYS = ("corten 10s", "corten 30s", "perpetual 1.0", "perpetual 1.5", "optuna 100")


def read(folder: Path, given: str) -> tuple[Any, np.ndarray, Any, np.ndarray, bool]:
    """Training and test rows with text as categorical columns, and whether the target is a class."""
    name, _, target = given.partition("=")
    frame = pl.read_parquet(folder / f"{name}.parquet")
    target = target or next(c for c in (SETS[name], "target", "y") if c in frame.columns)
    frame = frame.drop_nulls(target)
    classes = name in ("adult_income", "elec2_nsw")
    y = frame[target].to_numpy()
    y = np.unique(y, return_inverse=True)[1] if classes else y.astype(float)
    x = frame.drop(target).with_columns(pl.col(pl.String).cast(pl.Categorical)).to_pandas()
    test = np.random.default_rng(0).random(len(y)) < 0.25
    return x[~test], y[~test], x[test], y[test], classes


def threads() -> int:
    """Threads of each way."""
    return int(os.environ["OMP_NUM_THREADS"])


def loss(y: np.ndarray, p: np.ndarray, classes: bool) -> float:
    """Log loss, or the root of the mean squared error."""
    if classes:
        p = np.clip(p, 1e-15, 1 - 1e-15)
        return float(-np.mean(np.where(y == 1, np.log(p), np.log(1 - p))))
    return float(np.sqrt(np.mean((p - y) ** 2)))


def corten(x: Any, y: Any, xt: Any, classes: bool, setting: str) -> np.ndarray:
    """A model in a time."""
    from corten.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    model = (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(budget=setting)
    model.fit(x, y)
    print(model.best_params_, len(model.budget_steps_), file=sys.stderr)
    return model.predict_proba(xt)[:, 1] if classes else model.predict(xt)


def perpetual(x: Any, y: Any, xt: Any, classes: bool, setting: str) -> np.ndarray:
    """A model of a budget, its categories as pandas'."""
    from perpetual import PerpetualBooster

    model = PerpetualBooster(
        objective="LogLoss" if classes else "SquaredLoss", num_threads=threads(), budget=float(setting)
    )
    model.fit(x, y.astype(float))
    out = np.asarray(model.predict_proba(xt))[:, 1] if classes else np.asarray(model.predict(xt))
    return out


def optuna(x: Any, y: Any, xt: Any, classes: bool, setting: str) -> np.ndarray:
    """Trials of LightGBM with early stopping on a tenth of the rows, the best one fitted again on all."""
    import lightgbm as lgb
    import optuna as search

    search.logging.set_verbosity(search.logging.ERROR)
    own = np.random.default_rng(1).random(len(y)) < 0.1
    kind = lgb.LGBMClassifier if classes else lgb.LGBMRegressor

    def params(trial: Any) -> dict[str, Any]:
        return {
            "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.2, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 8, 256, log=True),
            "min_child_samples": trial.suggest_int("min_child_samples", 2, 200, log=True),
            "colsample_bytree": trial.suggest_float("colsample_bytree", 0.4, 1.0),
            "reg_lambda": trial.suggest_float("reg_lambda", 1e-3, 30.0, log=True),
        }

    def objective(trial: Any) -> float:
        model = kind(n_estimators=3000, n_jobs=threads(), verbose=-1, **params(trial))
        stop = [lgb.early_stopping(30, verbose=False)]
        model.fit(x[~own], y[~own], eval_set=[(x[own], y[own])], callbacks=stop)
        trial.set_user_attr("rounds", model.best_iteration_)
        return float(next(iter(model.best_score_["valid_0"].values())))

    study = search.create_study(sampler=search.samplers.TPESampler(seed=0))
    study.optimize(objective, n_trials=int(setting))
    rounds = int(np.ceil(study.best_trial.user_attrs["rounds"] * 1.1))
    model = kind(n_estimators=rounds, n_jobs=threads(), verbose=-1, **study.best_params).fit(x, y)
    return model.predict_proba(xt)[:, 1] if classes else model.predict(xt)


def child(folder: str, name: str, way: str) -> None:
    """One way on one set, on as many cores as it has threads."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: threads()])
    x, y, xt, yt, classes = read(Path(folder), name)
    library, setting = way.split()
    predict = {"corten": corten, "perpetual": perpetual, "optuna": optuna}[library]
    found = []
    start, cpu = time.perf_counter(), time.process_time()
    memory = peak_of(lambda: found.append(predict(x, y, xt, classes, setting)))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    print(json.dumps([loss(yt, found[0], classes), seconds, cpu, memory]))


def main() -> None:
    """Runs all ways on all sets and prints a table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("sets", nargs="*", default=list(SETS))
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    names = ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")
    env = {**os.environ, **dict.fromkeys(names, str(given.threads))}
    for name in given.sets:
        rows = []
        for way in given.ways.split(","):
            command = [sys.executable, __file__, "--child", given.folder, name, way]
            done = subprocess.run(command, env=env, capture_output=True, text=True)
            if done.returncode:
                rows.append([way, "failed", "", "", done.stderr.strip().splitlines()[-1][:60]])
                continue
            found, seconds, cpu, memory = json.loads(done.stdout.splitlines()[-1])
            rows.append([way, f"{found:.5g}", f"{seconds:.1f}", f"{cpu:.1f}", f"{memory:.0f}"])
        print(name)
        table(["", "loss", "seconds", "CPU seconds", "MB"], rows)
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
