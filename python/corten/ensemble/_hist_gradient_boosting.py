"""Gradient boosting of trees on binned columns."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .. import _inputs
from .._base import ClassifierMixin, DecisionMixin, Estimator, RegressorMixin
from .._explain import Explains
from .._inputs import Input
from ..exceptions import ParameterError


class _HistGradientBoosting(Explains, Estimator):
    """What both have in common."""

    _allow_nan = True
    _takes_text = True
    n_iter_: int
    train_score_: np.ndarray
    validation_score_: np.ndarray
    feature_importances_: np.ndarray
    _gains: np.ndarray
    _splits: np.ndarray

    def _core_params(self, inputs: Input) -> dict[str, Any]:
        out = super()._core_params(inputs)
        chosen = self.categorical_features  # type: ignore[attr-defined]
        if chosen is not None and not (isinstance(chosen, str) and chosen == "from_dtype"):
            out["categorical_features"] = _inputs.positions(chosen, inputs, "categorical_features")
        monotonic = self.monotonic_cst  # type: ignore[attr-defined]
        if isinstance(monotonic, dict):
            signs = [0] * inputs.width
            for name, sign in monotonic.items():
                signs[_inputs.positions(name, inputs, "monotonic_cst")[0]] = int(sign)
            out["monotonic_cst"] = signs
        if callable(self.scoring):  # type: ignore[attr-defined]
            raise ValueError("The 'scoring' parameter must be the name of a score or None. Got a callable instead.")
        interaction = self.interaction_cst  # type: ignore[attr-defined]
        if interaction is not None and not isinstance(interaction, str):
            out["interaction_cst"] = [_inputs.positions(sorted(g), inputs, "interaction_cst") for g in interaction]
        return out

    def feature_importance(self, importance_type: str = "split") -> np.ndarray:
        """What the splits of each column are worth, as LightGBM's `Booster.feature_importance` counts it.

        Parameters
        ----------
        importance_type : {"split", "gain"}, default="split"
            The number of splits, or the sum of what they gained.

        Returns
        -------
        ndarray of shape (n_features,)
            Of int64 for "split", of float64 for "gain".

        Raises
        ------
        ParameterError
            For another type.
        NotFittedError
            Before `fit`.
        """
        if importance_type not in ("split", "gain"):
            raise ParameterError(
                f"The 'importance_type' parameter must be one of {{'split', 'gain'}}. Got {importance_type!r} instead."
            )
        self._fitted_model()
        return (self._splits if importance_type == "split" else self._gains).copy()

    def to_lightgbm(self, path: str | os.PathLike[str] | None = None) -> str:
        """Writes the trees as a text model of LightGBM, whose booster predicts the same.

        The booster gives the probabilities of a classifier, and what a regressor predicts.

        Parameters
        ----------
        path : path-like, optional
            A file to write as well.

        Returns
        -------
        str
            The text, for `lightgbm.Booster(model_str=...)`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        UnsupportedError
            With the reason, when the model says more than LightGBM's models can; nothing is written then.

        Notes
        -----
        LightGBM takes values of a magnitude of at most 1e-35 for 0, whatever the model does.
        """
        from .._lightgbm import write

        return write(self._fitted_model(), path)


class HistGradientBoostingClassifier(DecisionMixin, ClassifierMixin, _HistGradientBoosting):
    """Gradient boosting of classification trees on binned columns.

    Takes tables as they are: columns of text and missing values included. The same seed gives the same model for any
    number of threads.

    Parameters
    ----------
    loss : {"log_loss"}, default="log_loss"
        The loss.
    learning_rate : float, default=0.1
        What each tree's values are multiplied by.
    max_iter : int, default=100
        Most trees (for each class, where there are more than two).
    max_leaf_nodes : int or None, default=31
        Most leaves of a tree.
    max_depth : int or None, default=None
        Most edges from the root to a leaf.
    min_samples_leaf : int, default=20
        Least rows of a leaf.
    l2_regularization : float, default=0.0
        L2 penalty on the values of leaves.
    max_features : float, default=1.0
        Share of the columns that are tried at each split.
    max_bins : int, default=255
        Most bins of a column, besides that of missing values.
    categorical_features : "from_dtype", array-like of str, int or bool, or None, default="from_dtype"
        Columns whose values are categories: by the frame's own types (text and categorical), by names, positions or a
        mask. A split chooses among the subsets of up to 32 categories, of more where each has thousands of rows. Others
        are told by their order and by the mean target of their rows, which for training leaves a row's own part of the
        rows out.
    monotonic_cst : array-like of int, dict or None, default=None
        1, 0 or -1 for each column: predictions rise, are free or fall with it.
    interaction_cst : {"pairwise", "no_interactions"}, sequence of sets or None, default=None
        Which columns may appear together on a path.
    warm_start : bool, default=False
        Add trees to the fit before.
    early_stopping : "auto" or bool, default="auto"
        Hold out rows and stop when they no longer gain; "auto" does it from 10,000 rows on.
    scoring : str or None, default="loss"
        What early stopping looks at: "loss", "accuracy", "balanced_accuracy", "neg_log_loss" or (two classes)
        "roc_auc"; None is "accuracy".
    validation_fraction : int, float or None, default=0.1
        How much is held out.
    n_iter_no_change : int, default=10
        Trees without gain after which fitting stops.
    tol : float, default=1e-7
        Least gain.
    verbose : int, default=0
        Show progress on stderr.
    random_state : int, RandomState or None, default=None
        Seed.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class; "balanced" makes up for classes of different size.
    l1_regularization : float, default=0.0
        L1 penalty on the values of leaves.
    min_child_weight : float, default=1e-3
        Least sum of hessians of a leaf.
    min_gain_to_split : float, default=0.0
        Least gain of a split.
    max_delta_step : float, default=0.0
        Largest value of a leaf, before the learning rate; 0 for no limit.
    subsample : float, default=1.0
        Share of the rows that each tree is grown on.
    colsample_bytree : float, default=1.0
        Share of the columns that each tree may use.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes in ascending order.
    n_iter_ : int
        Trees that were grown (for each class).
    train_score_, validation_score_ : ndarray
        Scores after each tree; the first is before any.
    feature_importances_ : ndarray of shape (n_features,)
        Share of the gain that each column brought.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.
    report_ : dict
        How the fit went: iterations, losses, seconds.

    References
    ----------
    Ke et al., "LightGBM", NIPS 2017; scikit-learn's `ensemble/_hist_gradient_boosting`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.ensemble import HistGradientBoostingClassifier
    >>> X = np.arange(200.0).reshape(-1, 1)
    >>> model = HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(X, X[:, 0] > 99)
    >>> model.predict([[3.0], [180.0]]).tolist()
    [False, True]
    """

    _core_name = "ensemble.HistGradientBoostingClassifier"

    def __init__(
        self,
        loss: str = "log_loss",
        *,
        learning_rate: float = 0.1,
        max_iter: int = 100,
        max_leaf_nodes: int | None = 31,
        max_depth: int | None = None,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        max_features: float = 1.0,
        max_bins: int = 255,
        categorical_features: Any = "from_dtype",
        monotonic_cst: Any = None,
        interaction_cst: Any = None,
        warm_start: bool = False,
        early_stopping: str | bool = "auto",
        scoring: str | None = "loss",
        validation_fraction: int | float | None = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-7,
        verbose: int = 0,
        random_state: Any = None,
        class_weight: Any = None,
        l1_regularization: float = 0.0,
        min_child_weight: float = 1e-3,
        min_gain_to_split: float = 0.0,
        max_delta_step: float = 0.0,
        subsample: float = 1.0,
        colsample_bytree: float = 1.0,
    ) -> None:
        self.loss = loss
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.max_bins = max_bins
        self.categorical_features = categorical_features
        self.monotonic_cst = monotonic_cst
        self.interaction_cst = interaction_cst
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.scoring = scoring
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.class_weight = class_weight
        self.l1_regularization = l1_regularization
        self.min_child_weight = min_child_weight
        self.min_gain_to_split = min_gain_to_split
        self.max_delta_step = max_delta_step
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree


class HistGradientBoostingRegressor(RegressorMixin, _HistGradientBoosting):
    """Gradient boosting of regression trees on binned columns.

    Takes tables as they are: columns of text and missing values included. The same seed gives the same model for any
    number of threads.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "gamma", "poisson", "quantile", "huber", "tweedie", \
            "cross_entropy"}, default="squared_error"
        The loss; "cross_entropy" takes targets from 0 to 1.
    quantile : float, default=None
        The quantile between 0 and 1 for the loss "quantile".
    learning_rate : float, default=0.1
        What each tree's values are multiplied by.
    max_iter : int, default=100
        Most trees.
    max_leaf_nodes : int or None, default=31
        Most leaves of a tree.
    max_depth : int or None, default=None
        Most edges from the root to a leaf.
    min_samples_leaf : int, default=20
        Least rows of a leaf.
    l2_regularization : float, default=0.0
        L2 penalty on the values of leaves.
    max_features : float, default=1.0
        Share of the columns that are tried at each split.
    max_bins : int, default=255
        Most bins of a column, besides that of missing values.
    categorical_features : "from_dtype", array-like of str, int or bool, or None, default="from_dtype"
        Columns whose values are categories: by the frame's own types (text and categorical), by names, positions or a
        mask. A split chooses among the subsets of up to 32 categories, of more where each has thousands of rows. Others
        are told by their order and by the mean target of their rows, which for training leaves a row's own part of the
        rows out.
    monotonic_cst : array-like of int, dict or None, default=None
        1, 0 or -1 for each column: predictions rise, are free or fall with it.
    interaction_cst : {"pairwise", "no_interactions"}, sequence of sets or None, default=None
        Which columns may appear together on a path.
    warm_start : bool, default=False
        Add trees to the fit before.
    early_stopping : "auto" or bool, default="auto"
        Hold out rows and stop when they no longer gain; "auto" does it from 10,000 rows on.
    scoring : str or None, default="loss"
        What early stopping looks at: "loss", "r2", "neg_mean_squared_error", "neg_root_mean_squared_error" or
        "neg_mean_absolute_error"; None is "r2".
    validation_fraction : int, float or None, default=0.1
        How much is held out.
    n_iter_no_change : int, default=10
        Trees without gain after which fitting stops.
    tol : float, default=1e-7
        Least gain.
    verbose : int, default=0
        Show progress on stderr.
    random_state : int, RandomState or None, default=None
        Seed.
    l1_regularization : float, default=0.0
        L1 penalty on the values of leaves.
    min_child_weight : float, default=1e-3
        Least sum of hessians of a leaf.
    min_gain_to_split : float, default=0.0
        Least gain of a split.
    max_delta_step : float, default=0.0
        Largest value of a leaf, before the learning rate; 0 for no limit.
    subsample : float, default=1.0
        Share of the rows that each tree is grown on.
    colsample_bytree : float, default=1.0
        Share of the columns that each tree may use.
    huber_delta : float, default=1.0
        Distance from the target beyond which the loss "huber" is linear.
    tweedie_power : float, default=1.5
        Power of the mean that the variance of the loss "tweedie" grows with, between 1 and 2.

    Attributes
    ----------
    n_iter_ : int
        Trees that were grown.
    train_score_, validation_score_ : ndarray
        Scores after each tree; the first is before any.
    feature_importances_ : ndarray of shape (n_features,)
        Share of the gain that each column brought.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.
    report_ : dict
        How the fit went: iterations, losses, seconds.

    References
    ----------
    Ke et al., "LightGBM", NIPS 2017; scikit-learn's `ensemble/_hist_gradient_boosting`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.ensemble import HistGradientBoostingRegressor
    >>> X = np.arange(200.0).reshape(-1, 1)
    >>> model = HistGradientBoostingRegressor(random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(model.score(X, X[:, 0] ** 2) > 0.99)
    True
    """

    _core_name = "ensemble.HistGradientBoostingRegressor"

    def __init__(
        self,
        loss: str = "squared_error",
        *,
        quantile: float | None = None,
        learning_rate: float = 0.1,
        max_iter: int = 100,
        max_leaf_nodes: int | None = 31,
        max_depth: int | None = None,
        min_samples_leaf: int = 20,
        l2_regularization: float = 0.0,
        max_features: float = 1.0,
        max_bins: int = 255,
        categorical_features: Any = "from_dtype",
        monotonic_cst: Any = None,
        interaction_cst: Any = None,
        warm_start: bool = False,
        early_stopping: str | bool = "auto",
        scoring: str | None = "loss",
        validation_fraction: int | float | None = 0.1,
        n_iter_no_change: int = 10,
        tol: float = 1e-7,
        verbose: int = 0,
        random_state: Any = None,
        l1_regularization: float = 0.0,
        min_child_weight: float = 1e-3,
        min_gain_to_split: float = 0.0,
        max_delta_step: float = 0.0,
        subsample: float = 1.0,
        colsample_bytree: float = 1.0,
        huber_delta: float = 1.0,
        tweedie_power: float = 1.5,
    ) -> None:
        self.loss = loss
        self.quantile = quantile
        self.learning_rate = learning_rate
        self.max_iter = max_iter
        self.max_leaf_nodes = max_leaf_nodes
        self.max_depth = max_depth
        self.min_samples_leaf = min_samples_leaf
        self.l2_regularization = l2_regularization
        self.max_features = max_features
        self.max_bins = max_bins
        self.categorical_features = categorical_features
        self.monotonic_cst = monotonic_cst
        self.interaction_cst = interaction_cst
        self.warm_start = warm_start
        self.early_stopping = early_stopping
        self.scoring = scoring
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.verbose = verbose
        self.random_state = random_state
        self.l1_regularization = l1_regularization
        self.min_child_weight = min_child_weight
        self.min_gain_to_split = min_gain_to_split
        self.max_delta_step = max_delta_step
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree
        self.huber_delta = huber_delta
        self.tweedie_power = tweedie_power
