"""Isolation forests."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .. import _inputs
from .._base import Estimator
from .._explain import Explains


class IsolationForest(Explains, Estimator):
    """Finds outliers: rows that few drawn cuts set apart from the others.

    Missing values are taken as they are.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    max_samples : "auto", int or float, default="auto"
        Rows drawn for each tree, as a number or a share; 256 at most with "auto".
    contamination : "auto" or float, default="auto"
        Share of outliers among the rows of the fit, in (0, 0.5]; sets `offset_`.
    max_features : int or float, default=1.0
        Columns drawn for each tree, as a number or a share.
    bootstrap : bool, default=False
        Draw rows with replacement.
    n_jobs : int, default=None
        Threads; None and -1 stand for all. The model is the same for any number.
    random_state : int, RandomState or None, default=None
        Seed.
    verbose : int, default=0
        Without effect; there for scikit-learn's signature.
    warm_start : bool, default=False
        Add trees to the fit before.

    Attributes
    ----------
    offset_ : float
        Scores below it are outliers.
    max_samples_ : int
        Rows drawn for each tree.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.
    report_ : dict
        How the fit went.

    References
    ----------
    Liu, Ting & Zhou, "Isolation forest", ICDM 2008; scikit-learn's `ensemble/_iforest.py`.

    Examples
    --------
    >>> from corten.ensemble import IsolationForest
    >>> X = [[-1.1], [0.3], [0.5], [100.0]]
    >>> IsolationForest(random_state=0).fit(X).predict([[0.1], [0.0], [90.0]])
    array([ 1,  1, -1])
    """

    _core_name = "ensemble.IsolationForest"
    _estimator_type = "outlier_detector"
    _allow_nan = True
    _routed = {"fit": ("sample_weight",)}

    def _takes_sparse(self) -> bool:
        return True

    offset_: float

    def __init__(
        self,
        *,
        n_estimators: int = 100,
        max_samples: Any = "auto",
        contamination: Any = "auto",
        max_features: int | float = 1.0,
        bootstrap: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.contamination = contamination
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fits the forest.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            How likely each row is drawn; all alike if not given.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters out of range or unusable values.
        """
        inputs = self._read(X, reset=True)
        if isinstance(self.max_samples, (int, np.integer)) and self.max_samples > inputs.rows:
            import warnings

            warnings.warn(
                f"max_samples ({self.max_samples}) is greater than the total number of samples ({inputs.rows}). "
                "max_samples will be set to n_samples for estimation.",
                stacklevel=2,
            )
        return self._fit_core(inputs, None, _inputs.sample_weight(sample_weight, inputs.rows))

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> np.ndarray:
        """Fits the forest and says which of the same rows are outliers.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            As in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
            -1 for outliers, 1 for others.
        """
        return self.fit(X, sample_weight=sample_weight).predict(X)

    def predict(self, X: Any) -> np.ndarray:
        """Says which rows are outliers.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            -1 for outliers, 1 for others.
        """
        index = self._run("predict", X).ravel()
        return np.where(index > 0, 1, -1)

    def decision_function(self, X: Any) -> np.ndarray:
        """How far each row's score lies above `offset_`.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Negative for outliers.
        """
        out: np.ndarray = self._run("decision_function", X).ravel()
        return out

    def score_samples(self, X: Any) -> np.ndarray:
        """The score of each row: -1 for what is set apart at once, 0 for what never is.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self.decision_function(X) + self.offset_
