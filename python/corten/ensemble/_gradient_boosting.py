"""Gradient boosting of exact trees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from .. import _core
from .._base import ClassifierMixin, DecisionMixin, Estimator, RegressorMixin, Savable
from .._inputs import Input
from .._params import seed, signature
from .._parts import model_of
from ..exceptions import ParameterError, not_fitted
from ..tree import DecisionTreeRegressor
from ._members import fit_member, member
from ._staged import Scored, Staged, StagedClasses, of_columns


class _GradientBoosting(Staged, Estimator):
    """What both have in common: the stages, one by one."""

    _keeps_handle = True
    _keeps_rounds = True
    n_estimators_: int
    n_trees_per_iteration_: int
    train_score_: np.ndarray
    feature_importances_: np.ndarray
    init_: Any
    init: Any
    learning_rate: float
    n_iter_no_change: int | None
    validation_fraction: float
    _start: np.ndarray

    def _core_params(self, inputs: Input) -> dict[str, Any]:
        out = super()._core_params(inputs)
        if self._starts():
            out["init"] = "zero"
            out["random_state"] = self.__dict__.pop("_drawn", out["random_state"])
        return out

    def _starts(self) -> bool:
        """Whether `init` is an estimator."""
        return self.init is not None and not isinstance(self.init, str)

    def _fit_core(self, inputs: Input, target: Any = None, sample_weight: Any = None, **extras: Any) -> Self:
        goes_on = getattr(self, "warm_start", False) and getattr(self, "_handle", None) is not None
        if not self._starts():
            self.__dict__.pop("init_", None)
        elif not (goes_on and hasattr(self, "init_")):
            extras["start"] = self._fit_init(inputs, target, sample_weight)
        return super()._fit_core(inputs, target, sample_weight, **extras)

    def _fit_init(self, inputs: Input, target: Any, weights: np.ndarray | None) -> Any:
        """Fits the estimator to start from, on the rows that aren't held out; what it hands on is a model."""
        what = f"init of {type(self).__name__}"
        wanted = self._estimator_type
        if not isinstance(self.init, Savable):
            model_of(self.init, what)
        if getattr(self.init, "_estimator_type", wanted) != wanted:
            raise ParameterError(f"The {what} should be a {wanted}, but {self.init} is none.")
        method = "predict" if target.classes is None else "predict_proba"
        if not hasattr(self.init, method):
            raise ParameterError(f"The {what} should have '{method}', but {self.init} has not.")
        y = target.values if target.classes is None else target.classes[target.values]
        rows, classes = inputs, 0 if target.classes is None else len(target.classes)
        if self.n_iter_no_change is not None:
            # The stages hold out the same rows.
            self._drawn = seed(self.random_state)  # type: ignore[attr-defined]
            share = float(self.validation_fraction)
            kept = np.flatnonzero(_core.held_out(target.values, classes, share, self._drawn) == 0)
            rows, y, weights = inputs.take(kept), y[kept], None if weights is None else weights[kept]
        self.init_ = fit_member(self.init, rows, y, weights)
        if classes and len(self.init_.classes_) != classes:
            raise ValueError(f"The {what} has seen {len(self.init_.classes_)} classes of {classes}: too few rows.")
        methods = [(method, classes == 2)]
        return _core.ensemble(inputs.schema(), [member(self.init_, inputs, what)], "stack", methods=methods)

    def _init_scores(self, inputs: Input) -> np.ndarray | float:
        """What the scores of rows start from."""
        if not self._starts():
            return 0.0
        if not hasattr(self, "classes_"):
            return np.asarray(self.init_.predict(inputs)).reshape(-1, 1)
        apart = float(np.finfo(np.float64).eps)
        p = np.clip(self.init_.predict_proba(inputs), apart, 1 - apart)
        if p.shape[1] == 2:
            factor = 0.5 if self.loss == "exponential" else 1.0  # type: ignore[attr-defined]
            return np.asarray(factor * np.log(p[:, 1:] / (1 - p[:, 1:])))
        logs = np.log(p)
        return np.asarray(logs - logs.mean(axis=1, keepdims=True))

    def _take(self, handle: Any) -> None:
        for name in ("oob_improvement_", "oob_scores_", "oob_score_", "_members"):
            self.__dict__.pop(name, None)
        super()._take(handle)

    @property
    def estimators_(self) -> np.ndarray:
        """The trees, each a fitted regressor of `corten.tree`.

        Returns
        -------
        ndarray of shape (n_estimators_, n_trees_per_iteration_)

        Raises
        ------
        AttributeError
            Before `fit`.
        """
        state = self.__dict__
        if "_members" not in state:
            if state.get("_handle") is None:
                raise AttributeError(f"This {type(self).__name__} has no attribute 'estimators_': it is not fitted.")
            trees = np.empty((self.n_estimators_, self.n_trees_per_iteration_), dtype=object)
            for at, handle in enumerate(state["_handle"].members()):
                trees.flat[at] = self._member(handle)
            state["_members"] = trees
        members: np.ndarray = state["_members"]
        return members

    def _member(self, handle: Any) -> DecisionTreeRegressor:
        known, mine = signature(DecisionTreeRegressor), self.get_params(deep=False)
        tree = DecisionTreeRegressor(**{k: mine[k] for k in known if k in mine and k != "criterion"})
        tree._take(handle)
        tree._flat = True
        for name in ("n_features_in_", "feature_names_in_"):
            if name in self.__dict__:
                setattr(tree, name, self.__dict__[name])
        return tree

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_members", None)
        return state

    def _pickles_state(self) -> bool:
        return True

    def apply(self, X: Any) -> np.ndarray:
        """The leaf of each row in each tree.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_estimators_) or (n_samples, n_estimators_, n_classes)
            Indices of nodes; with a last axis for classes in a classifier.
        """
        inputs = self._trees_read(X)
        leaves = [tree.tree_.apply(inputs) for tree in self.estimators_.flat]
        shape = (inputs.rows, self.n_estimators_, self.n_trees_per_iteration_)
        out = np.column_stack(leaves).reshape(shape).astype(np.float64)
        return out if hasattr(self, "classes_") else out[:, :, 0]

    def _trees_read(self, X: Any) -> Any:
        if not self.__sklearn_is_fitted__():
            raise not_fitted(self)
        return self._read(X, reset=False)

    def _staged(self, X: Any) -> Iterator[Scored]:
        """What scores after each stage say, added up as the model adds them."""
        inputs = self._trees_read(X)
        scores = np.tile(self._start, (inputs.rows, 1)) + self._init_scores(inputs)
        for stage in self.estimators_:
            for k, tree in enumerate(stage):
                values = tree.tree_.value[:, 0, 0]
                scores[:, k] += (self.learning_rate * values)[tree.tree_.apply(inputs)]
            yield Scored(self, of_columns(scores.copy()), getattr(self, "classes_", None))


class GradientBoostingClassifier(StagedClasses, DecisionMixin, ClassifierMixin, _GradientBoosting):
    """Gradient boosting of exact regression trees for classes.

    For many rows `HistGradientBoostingClassifier` is faster by far.

    Parameters
    ----------
    loss : {"log_loss", "exponential"}, default="log_loss"
        The loss; "exponential" is for two classes.
    learning_rate : float, default=0.1
        What each tree's values are multiplied by.
    n_estimators : int, default=100
        Stages; each has one tree, or one for each of more than two classes.
    subsample : float, default=1.0
        Share of the rows that each stage is grown on.
    criterion : "deprecated", default="deprecated"
        Without effect; there for scikit-learn's signature.
    min_samples_split : int or float, default=2
        Least rows of a node that is split, as a number or a share.
    min_samples_leaf : int or float, default=1
        Least rows of a leaf, as a number or a share.
    min_weight_fraction_leaf : float, default=0.0
        Least share of the weight in a leaf.
    max_depth : int or None, default=3
        Most edges from the root to a leaf.
    min_impurity_decrease : float, default=0.0
        Least gain of a split.
    init : estimator, "zero" or None, default=None
        Where scores start: at what a Corten estimator or pipeline says that is fitted first, at 0, or at the best
        constant.
    random_state : int, RandomState or None, default=None
        Seed.
    max_features : {"sqrt", "log2"}, int, float or None, default=None
        Columns that are tried at each split, as a rule, a number or a share; all with None.
    verbose : int, default=0
        Show progress on stderr.
    max_leaf_nodes : int or None, default=None
        Most leaves; the best splits come first then.
    warm_start : bool, default=False
        Add stages to the fit before.
    validation_fraction : float, default=0.1
        How much is held out where `n_iter_no_change` is given.
    n_iter_no_change : int or None, default=None
        Stages without gain on held-out rows after which fitting stops; never with None.
    tol : float, default=1e-4
        Least gain.
    ccp_alpha : float, default=0.0
        Strength of minimal cost-complexity pruning.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes in ascending order.
    n_classes_ : int
        Their number.
    n_estimators_ : int
        Stages that were grown.
    init_ : estimator
        The fitted `init`, where that is an estimator.
    n_trees_per_iteration_ : int
        Trees of a stage.
    train_score_ : ndarray of shape (n_estimators_,)
        Loss of each stage on the rows that it was grown on.
    oob_improvement_, oob_scores_ : ndarray of shape (n_estimators_,)
        With `subsample` below 1, how much each stage lowers the loss of the other rows, and that loss.
    feature_importances_ : ndarray of shape (n_features,)
        Share of the gain that each column brought.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.
    report_ : dict
        How the fit went.

    References
    ----------
    Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 29, 2001; scikit-learn's
    `ensemble/_gb.py`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.ensemble import GradientBoostingClassifier
    >>> X = np.arange(40.0).reshape(-1, 1)
    >>> model = GradientBoostingClassifier(n_estimators=10, random_state=0).fit(X, X[:, 0] > 19)
    >>> model.predict([[1.0], [38.0]]).tolist()
    [False, True]
    """

    _core_name = "ensemble.GradientBoostingClassifier"

    def __init__(
        self,
        *,
        loss: str = "log_loss",
        learning_rate: float = 0.1,
        n_estimators: int = 100,
        subsample: float = 1.0,
        criterion: str = "deprecated",
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_depth: int | None = 3,
        min_impurity_decrease: float = 0.0,
        init: Any = None,
        random_state: Any = None,
        max_features: Any = None,
        verbose: int = 0,
        max_leaf_nodes: int | None = None,
        warm_start: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = None,
        tol: float = 1e-4,
        ccp_alpha: float = 0.0,
    ) -> None:
        self.loss = loss
        self.learning_rate = learning_rate
        self.n_estimators = n_estimators
        self.subsample = subsample
        self.criterion = criterion
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_depth = max_depth
        self.min_impurity_decrease = min_impurity_decrease
        self.init = init
        self.random_state = random_state
        self.max_features = max_features
        self.verbose = verbose
        self.max_leaf_nodes = max_leaf_nodes
        self.warm_start = warm_start
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.ccp_alpha = ccp_alpha


class GradientBoostingRegressor(RegressorMixin, _GradientBoosting):
    """Gradient boosting of exact regression trees.

    For many rows `HistGradientBoostingRegressor` is faster by far.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "huber", "quantile"}, default="squared_error"
        The loss.
    learning_rate : float, default=0.1
        What each tree's values are multiplied by.
    n_estimators : int, default=100
        Stages; each has one tree, or one for each of more than two classes.
    subsample : float, default=1.0
        Share of the rows that each stage is grown on.
    criterion : "deprecated", default="deprecated"
        Without effect; there for scikit-learn's signature.
    min_samples_split : int or float, default=2
        Least rows of a node that is split, as a number or a share.
    min_samples_leaf : int or float, default=1
        Least rows of a leaf, as a number or a share.
    min_weight_fraction_leaf : float, default=0.0
        Least share of the weight in a leaf.
    max_depth : int or None, default=3
        Most edges from the root to a leaf.
    min_impurity_decrease : float, default=0.0
        Least gain of a split.
    init : estimator, "zero" or None, default=None
        Where scores start: at what a Corten estimator or pipeline says that is fitted first, at 0, or at the best
        constant.
    random_state : int, RandomState or None, default=None
        Seed.
    max_features : {"sqrt", "log2"}, int, float or None, default=None
        Columns that are tried at each split, as a rule, a number or a share; all with None.
    alpha : float, default=0.9
        The quantile of the loss "quantile", and the share of the residuals that "huber" counts in full.
    verbose : int, default=0
        Show progress on stderr.
    max_leaf_nodes : int or None, default=None
        Most leaves; the best splits come first then.
    warm_start : bool, default=False
        Add stages to the fit before.
    validation_fraction : float, default=0.1
        How much is held out where `n_iter_no_change` is given.
    n_iter_no_change : int or None, default=None
        Stages without gain on held-out rows after which fitting stops; never with None.
    tol : float, default=1e-4
        Least gain.
    ccp_alpha : float, default=0.0
        Strength of minimal cost-complexity pruning.

    Attributes
    ----------
    n_estimators_ : int
        Stages that were grown.
    init_ : estimator
        The fitted `init`, where that is an estimator.
    n_trees_per_iteration_ : int
        Trees of a stage.
    train_score_ : ndarray of shape (n_estimators_,)
        Loss of each stage on the rows that it was grown on.
    oob_improvement_, oob_scores_ : ndarray of shape (n_estimators_,)
        With `subsample` below 1, how much each stage lowers the loss of the other rows, and that loss.
    feature_importances_ : ndarray of shape (n_features,)
        Share of the gain that each column brought.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.
    report_ : dict
        How the fit went.

    References
    ----------
    Friedman, "Greedy function approximation: a gradient boosting machine", Annals of Statistics 29, 2001; scikit-learn's
    `ensemble/_gb.py`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.ensemble import GradientBoostingRegressor
    >>> X = np.arange(40.0).reshape(-1, 1)
    >>> model = GradientBoostingRegressor(random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(model.score(X, X[:, 0] ** 2) > 0.99)
    True
    """

    _core_name = "ensemble.GradientBoostingRegressor"

    def __init__(
        self,
        *,
        loss: str = "squared_error",
        learning_rate: float = 0.1,
        n_estimators: int = 100,
        subsample: float = 1.0,
        criterion: str = "deprecated",
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_depth: int | None = 3,
        min_impurity_decrease: float = 0.0,
        init: Any = None,
        random_state: Any = None,
        max_features: Any = None,
        alpha: float = 0.9,
        verbose: int = 0,
        max_leaf_nodes: int | None = None,
        warm_start: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int | None = None,
        tol: float = 1e-4,
        ccp_alpha: float = 0.0,
    ) -> None:
        self.loss = loss
        self.learning_rate = learning_rate
        self.n_estimators = n_estimators
        self.subsample = subsample
        self.criterion = criterion
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_depth = max_depth
        self.min_impurity_decrease = min_impurity_decrease
        self.init = init
        self.random_state = random_state
        self.max_features = max_features
        self.alpha = alpha
        self.verbose = verbose
        self.max_leaf_nodes = max_leaf_nodes
        self.warm_start = warm_start
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.ccp_alpha = ccp_alpha
