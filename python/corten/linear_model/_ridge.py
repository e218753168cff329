"""Least squares with an L2 penalty."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._base import Estimator, RegressorMixin


class Ridge(RegressorMixin, Estimator):
    """Least squares with a penalty on the squares of the coefficients.

    Minimises `||y - X w||^2 + alpha ||w||^2`.

    Parameters
    ----------
    alpha : float or array-like of shape (n_targets,), default=1.0
        Strength of the penalty, at least 0.
    fit_intercept : bool, default=True
        Whether there is an intercept, which isn't penalised.
    copy_X : bool, default=True
        Without effect: the data are never changed.
    max_iter : int, default=None
        Most iterations of the iterative solvers.
    tol : float, default=1e-4
        Precision of the iterative solvers.
    solver : {"auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs"}, default="auto"
        The road to the solution, which is the same for all.
    positive : bool, default=False
        Keep the coefficients at or above zero.
    random_state : int, RandomState or None, default=None
        Without effect: no solver draws random numbers.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients.
    intercept_ : float or ndarray of shape (n_targets,)
        Intercept, 0 without one.
    n_iter_ : None or ndarray of shape (n_targets,)
        Iterations of an iterative solver.
    solver_ : str
        The solver that was used.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.
    report_ : dict
        How the fit went.

    References
    ----------
    scikit-learn's `linear_model/_ridge.py`.

    Examples
    --------
    >>> from corten.linear_model import Ridge
    >>> model = Ridge(alpha=2.0).fit([[-1.0], [0.0], [1.0]], [-2.0, 0.0, 2.0])
    >>> model.coef_.round(6)
    array([1.])
    """

    _core_name = "linear_model.Ridge"
    _multi_output = True
    coef_: np.ndarray
    intercept_: float | np.ndarray

    def __init__(
        self,
        alpha: Any = 1.0,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        max_iter: int | None = None,
        tol: float = 1e-4,
        solver: str = "auto",
        positive: bool = False,
        random_state: Any = None,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.max_iter = max_iter
        self.tol = tol
        self.solver = solver
        self.positive = positive
        self.random_state = random_state

    def _takes_sparse(self) -> bool:
        return True
