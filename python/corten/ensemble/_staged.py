"""Boosting round by round: what the scores of a round say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .._routing import tags


class Scored:
    """The model of a round, for scorers: it answers for the rows that are scored, whatever it is asked about."""

    def __init__(self, owner: Any, scores: np.ndarray, classes: np.ndarray | None) -> None:
        self._owner = owner
        self._scores = scores
        self._estimator_type = owner._estimator_type
        if classes is not None:
            self.classes_ = classes

    def __sklearn_tags__(self) -> Any:
        return tags(self._owner)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def decision_function(self, X: Any) -> np.ndarray:
        """Raw scores."""
        return self._scores

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of classes."""
        scores = self._scores
        if scores.ndim == 1:
            factor = 2 if getattr(self._owner, "loss", None) == "exponential" else 1
            positive = 1 / (1 + np.exp(-factor * scores))
            return np.column_stack([1 - positive, positive])
        exps = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(exps / exps.sum(axis=1, keepdims=True))

    def predict(self, X: Any) -> np.ndarray:
        """Classes, or numbers."""
        if hasattr(self, "classes_"):
            scores = self._scores
            return np.asarray(self.classes_[(scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)])
        link = getattr(self._owner, "loss", None)
        if link in ("poisson", "gamma", "tweedie"):
            return np.exp(self._scores)
        return 1 / (1 + np.exp(-self._scores)) if link == "cross_entropy" else self._scores


def of_columns(scores: np.ndarray) -> np.ndarray:
    """Scores of an output a column, flat where there is one."""
    return scores[:, 0] if scores.shape[1] == 1 else scores


class Staged:
    """What a boosted model says after each of its rounds; its class has `_staged`, a `Scored` a round."""

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """What `predict` gives after each round.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Yields
        ------
        ndarray of shape (n_samples,), or (n_samples, n_quantiles) for several quantiles

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        for scored in self._staged(X):  # type: ignore[attr-defined]
            yield scored.predict(X)


class StagedClasses(Staged):
    """The same of a classifier."""

    def staged_decision_function(self, X: Any) -> Iterator[np.ndarray]:
        """The scores after each round.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Yields
        ------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            The last one is what `decision_function` gives.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        for scored in self._staged(X):  # type: ignore[attr-defined]
            yield scored.decision_function(X)

    def staged_predict_proba(self, X: Any) -> Iterator[np.ndarray]:
        """The probability of each class after each round.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Yields
        ------
        ndarray of shape (n_samples, n_classes)
            The last one is what `predict_proba` gives, up to rounding.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        for scored in self._staged(X):  # type: ignore[attr-defined]
            yield scored.predict_proba(X)
