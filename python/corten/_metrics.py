"""Measures of quality for the command line and reports."""

from __future__ import annotations

import numpy as np


def roc_auc(positive: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve; ties count half.

    Returns
    -------
    float
        NaN where all rows are of one class.
    """
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse.ravel()]
    n = int(positive.sum())
    if n == 0 or n == len(positive):
        return float("nan")
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(positive) - n)))


def log_loss(codes: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative logarithm of the true class's probability."""
    chosen = probabilities[np.arange(len(codes)), codes]
    return float(-np.log(np.clip(chosen, np.finfo(np.float64).tiny, 1)).mean())


def classification(
    truth: np.ndarray, predicted: np.ndarray, classes: np.ndarray, proba: np.ndarray | None
) -> dict[str, float]:
    """Measures of a classifier."""
    out = {"rows": float(len(truth)), "accuracy": float((truth == predicted).mean())}
    if proba is not None:
        position = {c: i for i, c in enumerate(classes.tolist())}
        known = np.array([t in position for t in truth.tolist()])
        codes = np.array([position[t] for t in truth[known].tolist()], dtype=np.intp)
        if len(codes):
            out["log_loss"] = log_loss(codes, proba[known])
            if len(classes) == 2:
                out["roc_auc"] = roc_auc(codes == 1, proba[known][:, 1])
    return out


def regression(truth: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """Measures of a regressor."""
    off = truth - predicted
    total = float(((truth - truth.mean()) ** 2).sum())
    return {
        "rows": float(len(truth)),
        "r2": 1 - float((off**2).sum()) / total if total else float("nan"),
        "rmse": float(np.sqrt((off**2).mean())),
        "mae": float(np.abs(off).mean()),
    }
