"""Held-out AUC and time to fit on the flights, beside LightGBM and scikit-learn with the same trees, leaves, rate, bins."""

from __future__ import annotations

import time
from typing import Any

import lightgbm as lgb
import numpy as np
import sklearn
from _common import TEXT, flights, table
from sklearn.ensemble import HistGradientBoostingClassifier as SkBoosting
from sklearn.metrics import log_loss, roc_auc_score

import corten
from corten.ensemble import HistGradientBoostingClassifier

SAME: dict[str, Any] = {
    "max_iter": 100,
    "max_leaf_nodes": 31,
    "learning_rate": 0.1,
    "min_samples_leaf": 20,
    "max_bins": 255,
}


def main() -> None:
    """Fits each on the same numeric columns, then prints the table."""
    x, y, xt, yt = flights()
    x, xt = (frame.drop(TEXT).to_numpy().astype(np.float64) for frame in (x, xt))
    models = {
        f"corten {corten.__version__}": HistGradientBoostingClassifier(early_stopping=False, **SAME),
        f"lightgbm {lgb.__version__}": lgb.LGBMClassifier(
            n_estimators=100, num_leaves=31, learning_rate=0.1, min_child_samples=20, max_bin=255, verbose=-1
        ),
        f"scikit-learn {sklearn.__version__}": SkBoosting(early_stopping=False, **SAME),
    }
    rows = []
    for name, model in models.items():
        start = time.perf_counter()
        model.fit(x, y)
        seconds = time.perf_counter() - start
        p = model.predict_proba(xt)[:, 1]
        rows.append([name, seconds, f"{roc_auc_score(yt, p):.4f}", f"{log_loss(yt, p):.4f}"])
    print(f"{len(x):,} rows to fit, {len(xt):,} held out, {x.shape[1]} number columns")
    table(["", "fit, s", "AUC", "log loss"], rows)


if __name__ == "__main__":
    main()
