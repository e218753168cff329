"""Logistic regression."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._base import ClassifierMixin, DecisionMixin, Estimator


class LogisticRegression(DecisionMixin, ClassifierMixin, Estimator):
    """Classes by a linear score, with an L2, an L1 or both penalties.

    Minimises `C * sum of losses + l1_ratio |w| + (1 - l1_ratio) / 2 ||w||^2` with the log loss for two classes and the
    multinomial loss for more.

    Parameters
    ----------
    penalty : {"l1", "l2", "elasticnet", None}, default="deprecated"
        The penalty, as older code gives it; say it by `l1_ratio` and `C` instead.
    C : float, default=1.0
        Inverse strength of the penalty; `np.inf` for none.
    l1_ratio : float, default=0.0
        Share of the L1 penalty between 0 and 1.
    dual : bool, default=False
        Without effect: the dual problem has the same solution.
    tol : float, default=1e-4
        Largest entry of the gradient at the solution.
    fit_intercept : bool, default=True
        Whether there is an intercept.
    intercept_scaling : float, default=1
        Scale of the intercept that the solver "liblinear" penalises.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class; "balanced" makes up for classes of different size.
    random_state : int, RandomState or None, default=None
        Without effect: no solver draws random numbers.
    solver : {"lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"}, default="lbfgs"
        The road to the solution.
    max_iter : int, default=100
        Most iterations.
    verbose : int, default=0
        Show progress on stderr.
    warm_start : bool, default=False
        Start from the solution of the fit before.
    n_jobs : int, default=None
        Threads; None and -1 stand for all. The model is the same for any number.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes in ascending order.
    coef_ : ndarray of shape (1, n_features) or (n_classes, n_features)
        Coefficients; one row for two classes.
    intercept_ : ndarray of shape (1,) or (n_classes,)
        Intercepts.
    n_iter_ : ndarray of shape (1,)
        Iterations.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.
    report_ : dict
        How the fit went.

    References
    ----------
    scikit-learn's `linear_model/_logistic.py`; Fan et al., "LIBLINEAR", JMLR 9 (2008).

    Examples
    --------
    >>> from corten.linear_model import LogisticRegression
    >>> model = LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
    >>> model.predict([[0.2], [2.8]]).tolist()
    ['no', 'yes']
    >>> model.predict_proba([[1.5]]).round(3)
    array([[0.5, 0.5]])
    """

    _core_name = "linear_model.LogisticRegression"
    coef_: np.ndarray
    intercept_: np.ndarray
    n_iter_: np.ndarray

    def __init__(
        self,
        penalty: str | None = "deprecated",
        *,
        C: float = 1.0,
        l1_ratio: float | None = 0.0,
        dual: bool = False,
        tol: float = 1e-4,
        fit_intercept: bool = True,
        intercept_scaling: float = 1,
        class_weight: Any = None,
        random_state: Any = None,
        solver: str = "lbfgs",
        max_iter: int = 100,
        verbose: int = 0,
        warm_start: bool = False,
        n_jobs: int | None = None,
    ) -> None:
        self.penalty = penalty
        self.C = C
        self.l1_ratio = l1_ratio
        self.dual = dual
        self.tol = tol
        self.fit_intercept = fit_intercept
        self.intercept_scaling = intercept_scaling
        self.class_weight = class_weight
        self.random_state = random_state
        self.solver = solver
        self.max_iter = max_iter
        self.verbose = verbose
        self.warm_start = warm_start
        self.n_jobs = n_jobs

    def _takes_sparse(self) -> bool:
        return True
