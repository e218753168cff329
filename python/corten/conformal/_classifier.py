"""Classifiers that answer with sets of classes."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .. import _targets
from ..exceptions import ParameterError, UnsupportedError
from ._split import Split, checked


class SplitConformalClassifier(Split):
    """Sets of classes by a classifier's probabilities, with a coverage that holds for any distribution.

    Parameters
    ----------
    estimator : estimator
        A classifier with `predict_proba`.
    confidence_level : float, default=0.9
        The share of rows whose class is in its set.
    conformity_score : {"lac", "aps"}, default="lac"
        "lac" takes the classes whose probability is high enough, which gives the smallest sets on average, empty ones
        among them; "aps" the most probable ones up to a total, which are larger for rows that are hard to tell and never
        empty.
    prefit : bool, default=True
        Whether the classifier is fitted already; else `fit` fits a copy.

    Attributes
    ----------
    quantile_ : float
        The greatest score of a class in a set.
    classes_ : ndarray of shape (n_classes,)
        The classes in ascending order.
    estimator_ : estimator
        The fitted classifier.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    Sadinle, Lei & Wasserman, "Least Ambiguous Set-Valued Classifiers", JASA 114, 2019 (lac); Romano, Sesia & Candes,
    "Classification with Valid and Adaptive Coverage", NeurIPS 2020 (aps, without its random part).

    Examples
    --------
    >>> import numpy as np
    >>> from corten.conformal import SplitConformalClassifier
    >>> from corten.linear_model import LogisticRegression
    >>> X = np.arange(40.0).reshape(-1, 1) % 10
    >>> y = np.where(X[:, 0] > 4, "high", "low")
    >>> fitted = LogisticRegression().fit(X[:20], y[:20])
    >>> model = SplitConformalClassifier(fitted, confidence_level=0.8).conformalize(X[20:], y[20:])
    >>> predictions, sets = model.predict_set(X[:3])
    >>> sets.shape
    (3, 2, 1)
    """

    def __init__(
        self,
        estimator: Any,
        *,
        confidence_level: float = 0.9,
        conformity_score: str = "lac",
        prefit: bool = True,
    ) -> None:
        self.estimator = estimator
        self.confidence_level = confidence_level
        self.conformity_score = conformity_score
        self.prefit = prefit

    def _given(self) -> list[Any]:
        return [self.estimator]

    @property
    def estimator_(self) -> Any:
        """The fitted classifier."""
        return self._ready()[0]

    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self:
        """Fits a copy of the classifier; with `prefit=False`.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their classes.
        **fit_params : dict
            Passed on to the classifier's `fit`.

        Returns
        -------
        self
        """
        return self._fit_each(checked([self.estimator], type(self).__name__), X, y, fit_params)

    def conformalize(self, X: Any, y: Any) -> Self:
        """Finds which classes are probable enough on rows that the classifier has not seen.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their classes.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For fewer rows than the confidence needs, or a class that the classifier doesn't know.
        """
        if self.conformity_score not in ("lac", "aps"):
            raise ParameterError(
                f"The 'conformity_score' parameter must be one of {{'lac', 'aps'}}. Got {self.conformity_score!r} instead."
            )
        (model,) = checked(self._ready(), type(self).__name__)
        if not hasattr(model, "predict_proba"):
            raise UnsupportedError(
                f"A prediction set needs probabilities; {type(model).__name__} has no predict_proba."
            )
        inputs = self._rows(X, model)
        codes = _codes(y, model.classes_, inputs.rows)
        self.classes_ = model.classes_
        probabilities = model.predict_proba(inputs)
        if self.conformity_score == "lac":
            scores = 1.0 - probabilities[np.arange(inputs.rows), codes]
        else:
            # As the model's own operator adds them up.
            order = np.argsort(-probabilities, axis=1, kind="stable")
            sums = np.cumsum(np.take_along_axis(probabilities, order, axis=1), axis=1)
            scores = sums[order == codes[:, None]]
        self.quantile_ = self._calibrate(scores)
        self._compose(inputs, [model], self.conformity_score)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predicts the class of each row.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Elements of `classes_`.
        """
        out = self._run("predict", X)
        return self.classes_[out.ravel().astype(np.intp)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predicts the probability of each class.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        return self._run("predict_proba", X)

    def predict_set(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Predicts each row's class and a set of classes that holds it.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        predictions : ndarray of shape (n_samples,)
        sets : ndarray of bool of shape (n_samples, n_classes, 1)
            Which classes are in the set. For rows drawn as those it was conformalized on, the share of classes inside
            is at least `confidence_level` on average over draws.
        """
        return self.predict(X), self._run("predict_set", X)[:, :, None] != 0


def _codes(y: Any, classes: np.ndarray, rows: int) -> np.ndarray:
    """The places of labels among the classes."""
    labels = _targets.array_of(y).ravel()
    if len(labels) != rows:
        raise ValueError(f"Found input variables with inconsistent numbers of samples: [{rows}, {len(labels)}]")
    place = {label: at for at, label in enumerate(classes.tolist())}
    known = labels.tolist()
    if unknown := sorted({str(label) for label in known if label not in place}):
        raise ValueError(f"y holds classes that the classifier wasn't fitted on: {', '.join(unknown[:10])}")
    return np.array([place[label] for label in known], dtype=np.intp)
