"""Extremely randomized trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._base import ClassifierMixin, Estimator, RegressorMixin
from ..tree import ExtraTreeClassifier, ExtraTreeRegressor
from ._forest import ForestMixin


class ExtraTreesClassifier(ForestMixin, ClassifierMixin, Estimator):
    """A forest of classification trees whose thresholds are drawn at random.

    Answers are the mean of the trees' class frequencies. Missing values are taken as they are.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    criterion : {"gini", "entropy", "log_loss"}, default="gini"
        What splits are judged by.
    max_depth : int or None, default=None
        Most edges from the root to a leaf.
    min_samples_split : int or float, default=2
        Least rows of a node that is split, as a number or a share.
    min_samples_leaf : int or float, default=1
        Least rows of a leaf, as a number or a share.
    min_weight_fraction_leaf : float, default=0.0
        Least share of the weight in a leaf.
    max_features : {"sqrt", "log2"}, int, float or None, default="sqrt"
        Columns that are tried at each split, as a rule, a number or a share; all with None.
    max_leaf_nodes : int or None, default=None
        Most leaves; the best splits come first then.
    min_impurity_decrease : float, default=0.0
        Least gain of a split.
    bootstrap : bool, default=False
        Draw rows with replacement for each tree; all rows otherwise.
    oob_score : bool or callable, default=False
        Score each row by the trees that didn't see it; a callable gets the true and the predicted target.
    n_jobs : int, default=None
        Threads; None and -1 stand for all. The model is the same for any number.
    random_state : int, RandomState or None, default=None
        Seed.
    verbose : int, default=0
        Show progress on stderr.
    warm_start : bool, default=False
        Add trees to the fit before.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class; "balanced" makes up for classes of different size.
    ccp_alpha : float, default=0.0
        Strength of minimal cost-complexity pruning.
    max_samples : int, float or None, default=None
        Rows drawn for each tree, as a number or a share.
    monotonic_cst : array-like of int or None, default=None
        1, 0 or -1 for each column: predictions rise, are free or fall with it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes in ascending order.
    feature_importances_ : ndarray of shape (n_features,)
        Share of the gain that each column brought.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.
    estimators_ : list of estimators
        The trees; not there in a forest that was unpickled.
    report_ : dict
        How the fit went.

    References
    ----------
    Geurts, Ernst & Wehenkel, "Extremely randomized trees", Machine Learning 63 (2006); scikit-learn's `ensemble/_forest.py`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.ensemble import ExtraTreesClassifier
    >>> X = np.arange(40.0).reshape(-1, 1)
    >>> model = ExtraTreesClassifier(n_estimators=10, random_state=0).fit(X, X[:, 0] > 19)
    >>> model.predict([[1.0], [38.0]]).tolist()
    [False, True]
    """

    _core_name = "ensemble.ExtraTreesClassifier"
    _allow_nan = True
    _tree = ExtraTreeClassifier
    feature_importances_: np.ndarray

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        criterion: str = "gini",
        max_depth: int | None = None,
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: Any = "sqrt",
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        bootstrap: bool = False,
        oob_score: Any = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
        class_weight: Any = None,
        ccp_alpha: float = 0.0,
        max_samples: int | float | None = None,
        monotonic_cst: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.bootstrap = bootstrap
        self.oob_score = oob_score
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start
        self.class_weight = class_weight
        self.ccp_alpha = ccp_alpha
        self.max_samples = max_samples
        self.monotonic_cst = monotonic_cst


class ExtraTreesRegressor(ForestMixin, RegressorMixin, Estimator):
    """A forest of regression trees whose thresholds are drawn at random.

    Answers are the mean of the trees' answers. Missing values are taken as they are.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    criterion : {"squared_error", "absolute_error", "friedman_mse", "poisson"}, default="squared_error"
        What splits are judged by.
    max_depth : int or None, default=None
        Most edges from the root to a leaf.
    min_samples_split : int or float, default=2
        Least rows of a node that is split, as a number or a share.
    min_samples_leaf : int or float, default=1
        Least rows of a leaf, as a number or a share.
    min_weight_fraction_leaf : float, default=0.0
        Least share of the weight in a leaf.
    max_features : {"sqrt", "log2"}, int, float or None, default=1.0
        Columns that are tried at each split, as a rule, a number or a share; all with None.
    max_leaf_nodes : int or None, default=None
        Most leaves; the best splits come first then.
    min_impurity_decrease : float, default=0.0
        Least gain of a split.
    bootstrap : bool, default=False
        Draw rows with replacement for each tree; all rows otherwise.
    oob_score : bool or callable, default=False
        Score each row by the trees that didn't see it; a callable gets the true and the predicted target.
    n_jobs : int, default=None
        Threads; None and -1 stand for all. The model is the same for any number.
    random_state : int, RandomState or None, default=None
        Seed.
    verbose : int, default=0
        Show progress on stderr.
    warm_start : bool, default=False
        Add trees to the fit before.
    ccp_alpha : float, default=0.0
        Strength of minimal cost-complexity pruning.
    max_samples : int, float or None, default=None
        Rows drawn for each tree, as a number or a share.
    monotonic_cst : array-like of int or None, default=None
        1, 0 or -1 for each column: predictions rise, are free or fall with it.

    Attributes
    ----------
    feature_importances_ : ndarray of shape (n_features,)
        Share of the gain that each column brought.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.
    estimators_ : list of estimators
        The trees; not there in a forest that was unpickled.
    report_ : dict
        How the fit went.

    References
    ----------
    Geurts, Ernst & Wehenkel, "Extremely randomized trees", Machine Learning 63 (2006); scikit-learn's `ensemble/_forest.py`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.ensemble import ExtraTreesRegressor
    >>> X = np.arange(40.0).reshape(-1, 1)
    >>> model = ExtraTreesRegressor(n_estimators=10, random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(model.score(X, X[:, 0] ** 2) > 0.9)
    True
    """

    _core_name = "ensemble.ExtraTreesRegressor"
    _multi_output = True
    _allow_nan = True
    _tree = ExtraTreeRegressor
    feature_importances_: np.ndarray

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        criterion: str = "squared_error",
        max_depth: int | None = None,
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: Any = 1.0,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        bootstrap: bool = False,
        oob_score: Any = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
        ccp_alpha: float = 0.0,
        max_samples: int | float | None = None,
        monotonic_cst: Any = None,
    ) -> None:
        self.n_estimators = n_estimators
        self.criterion = criterion
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.bootstrap = bootstrap
        self.oob_score = oob_score
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start
        self.ccp_alpha = ccp_alpha
        self.max_samples = max_samples
        self.monotonic_cst = monotonic_cst
