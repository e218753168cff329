"""Members that vote, or whose answers are averaged."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .. import _inputs, _targets
from .._base import ClassifierMixin, RegressorMixin, available_if
from ..exceptions import ParameterError
from ._members import Named, fit_member


class VotingClassifier(ClassifierMixin, Named):
    """Classifiers that vote for a class, or whose probabilities are averaged.

    Members are Corten estimators or pipelines of them, so that the ensemble is one model.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and members; "drop" leaves one out.
    voting : {"hard", "soft"}, default="hard"
        Whether classes are counted or probabilities averaged.
    weights : array-like of float, default=None
        Weight of each member; 1 each with None.
    n_jobs : int, default=None
        Threads that predict; None and -1 stand for all.
    flatten_transform : bool, default=True
        Without effect; there for scikit-learn's signature.
    verbose : bool, default=False
        Without effect; there for scikit-learn's signature.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted members.
    named_estimators_ : dict
        The same by name.
    classes_ : ndarray of shape (n_classes,)
        The classes in ascending order.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    scikit-learn's `ensemble/_voting.py`.

    Examples
    --------
    >>> from corten.ensemble import VotingClassifier
    >>> from corten.linear_model import LogisticRegression
    >>> from corten.tree import DecisionTreeClassifier
    >>> members = [("linear", LogisticRegression()), ("tree", DecisionTreeClassifier(random_state=0))]
    >>> model = VotingClassifier(members, voting="soft").fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    >>> model.predict([[0.5], [2.5]])
    array([0, 1])
    """

    def __init__(
        self,
        estimators: Any,
        *,
        voting: str = "hard",
        weights: Any = None,
        n_jobs: int | None = None,
        flatten_transform: bool = True,
        verbose: bool = False,
    ) -> None:
        self.estimators = estimators
        self.voting = voting
        self.weights = weights
        self.n_jobs = n_jobs
        self.flatten_transform = flatten_transform
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the members.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            The class of each row.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row, which all members must take.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable members, parameters or values.
        """
        if self.voting not in ("hard", "soft"):
            raise ParameterError(
                f"The 'voting' parameter must be a str among {{'hard', 'soft'}}. Got {self.voting!r} instead."
            )
        members, shares = self._named(), self._shares(self.weights)
        inputs = self._read(X, reset=True)
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        target = _targets.classes(y, inputs.rows, type(self).__name__, weights)
        assert target.classes is not None
        self.classes_ = target.classes
        labels = target.classes[target.values]
        self.estimators_ = [fit_member(e, inputs, labels, weights) for _, e in members]
        self._remember(inputs)
        self._model = self._compose(inputs, self.voting, weights=shares, classes=target.labels)
        return self

    @available_if(lambda self: self.voting == "soft")
    def predict_proba(self, X: Any) -> np.ndarray:
        """The weighted mean of the members' probabilities; only with `voting="soft"`.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        out: np.ndarray = self._run("predict_proba", X)
        return out

    @available_if(lambda self: self.voting == "soft")
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of `predict_proba`.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


class VotingRegressor(RegressorMixin, Named):
    """Regressors whose answers are averaged.

    Members are Corten estimators or pipelines of them, so that the ensemble is one model.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and members; "drop" leaves one out.
    weights : array-like of float, default=None
        Weight of each member; 1 each with None.
    n_jobs : int, default=None
        Threads that predict; None and -1 stand for all.
    verbose : bool, default=False
        Without effect; there for scikit-learn's signature.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted members.
    named_estimators_ : dict
        The same by name.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    scikit-learn's `ensemble/_voting.py`.

    Examples
    --------
    >>> from corten.ensemble import VotingRegressor
    >>> from corten.linear_model import LinearRegression
    >>> from corten.tree import DecisionTreeRegressor
    >>> members = [("linear", LinearRegression()), ("tree", DecisionTreeRegressor(random_state=0))]
    >>> model = VotingRegressor(members, weights=[3, 1]).fit([[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0])
    >>> model.predict([[2.0]]).round(6)
    array([4.])
    """

    def __init__(
        self, estimators: Any, *, weights: Any = None, n_jobs: int | None = None, verbose: bool = False
    ) -> None:
        self.estimators = estimators
        self.weights = weights
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the members.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            The target.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row, which all members must take.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable members, parameters or values.
        """
        members, shares = self._named(), self._shares(self.weights)
        inputs = self._read(X, reset=True)
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        target = _targets.numbers(y, inputs.rows)
        self._flat = True
        self.estimators_ = [fit_member(e, inputs, target.values, weights) for _, e in members]
        self._remember(inputs)
        self._model = self._compose(inputs, "mean", weights=shares)
        return self
