"""Ordinary least squares."""

from __future__ import annotations

import numpy as np

from .._base import Estimator, RegressorMixin


class LinearRegression(RegressorMixin, Estimator):
    """Ordinary least squares.

    Finds the coefficients with the least sum of squared errors; of several, those of least length.

    Parameters
    ----------
    fit_intercept : bool, default=True
        Whether there is an intercept.
    copy_X : bool, default=True
        Without effect: the data are never changed.
    tol : float, default=1e-6
        Precision of the solver for sparse data.
    n_jobs : int, default=None
        Threads; None and -1 stand for all. The model is the same for any number.
    positive : bool, default=False
        Keep the coefficients at or above zero.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept, 0 without one.
    rank_ : int
        Rank of a dense X.
    singular_ : ndarray of shape (min(n_samples, n_features),)
        Singular values of a dense X.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.
    report_ : dict
        How the fit went.

    See Also
    --------
    corten.linear_model.Ridge : The same with a penalty on large coefficients.

    References
    ----------
    scikit-learn's `linear_model/_base.py`.

    Examples
    --------
    >>> from corten.linear_model import LinearRegression
    >>> model = LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> model.coef_.round(6), round(float(model.intercept_), 6)
    (array([2.]), 1.0)
    >>> model.predict([[3.0]]).round(6)
    array([7.])
    """

    _core_name = "linear_model.LinearRegression"
    _multi_output = True
    coef_: np.ndarray
    intercept_: float | np.ndarray

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        tol: float = 1e-6,
        n_jobs: int | None = None,
        positive: bool = False,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.tol = tol
        self.n_jobs = n_jobs
        self.positive = positive

    def _takes_sparse(self) -> bool:
        return True
