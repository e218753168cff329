"""Single trees."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._base import ClassifierMixin, Estimator, RegressorMixin
from ._structure import TreeMixin


class DecisionTreeClassifier(TreeMixin, ClassifierMixin, Estimator):
    """One classification tree.

    Missing values are taken as they are.

    Parameters
    ----------
    criterion : {"gini", "entropy", "log_loss"}, default="gini"
        What splits are judged by.
    splitter : {"best", "random"}, default="best"
        Whether thresholds are searched or drawn.
    max_depth : int or None, default=None
        Most edges from the root to a leaf.
    min_samples_split : int or float, default=2
        Least rows of a node that is split, as a number or a share.
    min_samples_leaf : int or float, default=1
        Least rows of a leaf, as a number or a share.
    min_weight_fraction_leaf : float, default=0.0
        Least share of the weight in a leaf.
    max_features : {"sqrt", "log2"}, int, float or None, default=None
        Columns that are tried at each split, as a rule, a number or a share; all with None.
    random_state : int, RandomState or None, default=None
        Seed.
    max_leaf_nodes : int or None, default=None
        Most leaves; the best splits come first then.
    min_impurity_decrease : float, default=0.0
        Least gain of a split.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class; "balanced" makes up for classes of different size.
    ccp_alpha : float, default=0.0
        Strength of minimal cost-complexity pruning.
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
    tree_ : Tree
        The nodes, in arrays of scikit-learn's names.
    report_ : dict
        How the fit went.

    References
    ----------
    Breiman, Friedman, Olshen & Stone, "Classification and regression trees" (1984); scikit-learn's `tree/_classes.py`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.tree import DecisionTreeClassifier
    >>> X = np.arange(40.0).reshape(-1, 1)
    >>> model = DecisionTreeClassifier(random_state=0).fit(X, X[:, 0] > 19)
    >>> model.predict([[1.0], [38.0]]).tolist()
    [False, True]
    """

    _core_name = "tree.DecisionTreeClassifier"
    _allow_nan = True
    feature_importances_: np.ndarray

    def __init__(
        self,
        *,
        criterion: str = "gini",
        splitter: str = "best",
        max_depth: int | None = None,
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: Any = None,
        random_state: Any = None,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        class_weight: Any = None,
        ccp_alpha: float = 0.0,
        monotonic_cst: Any = None,
    ) -> None:
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.random_state = random_state
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.class_weight = class_weight
        self.ccp_alpha = ccp_alpha
        self.monotonic_cst = monotonic_cst


class DecisionTreeRegressor(TreeMixin, RegressorMixin, Estimator):
    """One regression tree.

    Missing values are taken as they are.

    Parameters
    ----------
    criterion : {"squared_error", "absolute_error", "friedman_mse", "poisson"}, default="squared_error"
        What splits are judged by.
    splitter : {"best", "random"}, default="best"
        Whether thresholds are searched or drawn.
    max_depth : int or None, default=None
        Most edges from the root to a leaf.
    min_samples_split : int or float, default=2
        Least rows of a node that is split, as a number or a share.
    min_samples_leaf : int or float, default=1
        Least rows of a leaf, as a number or a share.
    min_weight_fraction_leaf : float, default=0.0
        Least share of the weight in a leaf.
    max_features : {"sqrt", "log2"}, int, float or None, default=None
        Columns that are tried at each split, as a rule, a number or a share; all with None.
    random_state : int, RandomState or None, default=None
        Seed.
    max_leaf_nodes : int or None, default=None
        Most leaves; the best splits come first then.
    min_impurity_decrease : float, default=0.0
        Least gain of a split.
    ccp_alpha : float, default=0.0
        Strength of minimal cost-complexity pruning.
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
    tree_ : Tree
        The nodes, in arrays of scikit-learn's names.
    report_ : dict
        How the fit went.

    References
    ----------
    Breiman, Friedman, Olshen & Stone, "Classification and regression trees" (1984); scikit-learn's `tree/_classes.py`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.tree import DecisionTreeRegressor
    >>> X = np.arange(40.0).reshape(-1, 1)
    >>> model = DecisionTreeRegressor(random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(model.score(X, X[:, 0] ** 2) > 0.9)
    True
    """

    _core_name = "tree.DecisionTreeRegressor"
    _multi_output = True
    _allow_nan = True
    feature_importances_: np.ndarray

    def __init__(
        self,
        *,
        criterion: str = "squared_error",
        splitter: str = "best",
        max_depth: int | None = None,
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_features: Any = None,
        random_state: Any = None,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        ccp_alpha: float = 0.0,
        monotonic_cst: Any = None,
    ) -> None:
        self.criterion = criterion
        self.splitter = splitter
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_features = max_features
        self.random_state = random_state
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.ccp_alpha = ccp_alpha
        self.monotonic_cst = monotonic_cst
