"""Gradient boosting of trees on binned columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

from .. import _inputs, _targets
from .._base import ClassifierMixin, DecisionMixin, RegressorMixin
from . import _files
from ._boosting import HistGradientBoosting
from ._staged import StagedClasses


class HistGradientBoostingClassifier(StagedClasses, DecisionMixin, ClassifierMixin, HistGradientBoosting):
    """Gradient boosting of classification trees on binned columns.

    Takes tables as they are: columns of text and missing values included. The same seed gives the same model for any
    number of threads.

    Parameters
    ----------
    loss : {"log_loss"}, expression or callable, default="log_loss"
        The loss; or that of a row as an expression of `y`, 0 or 1, and `score`, for two classes: see the regressor. A
        callable gets the targets (classes as codes from 0) and the raw scores, of shape (n_samples,) or
        (n_samples, n_classes), and returns gradients and hessians of the same shape; weights of rows are multiplied in
        afterwards, and scores start from 0.
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
        Most bins of a column, besides that of missing values: 2 to 65,535. Each 255 bins of numbers cost as much time and
        memory as another column; categories have at most 255.
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
    scoring : str, callable, list of those, or None, default="loss"
        What early stopping looks at: "loss", "accuracy", "balanced_accuracy", "neg_log_loss" or (two classes)
        "roc_auc"; None is "accuracy". A callable is a
        scorer, called as `scoring(model, rows, y)`: `model` answers for the rows that are scored, `rows` are their
        positions in X, of shape (n_samples, 1). Of a list the first decides, and all are noted in `evals_result_`.
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
    boosting : {"gbdt", "dart"}, default="gbdt"
        With "dart", each round leaves some of the earlier trees out.
    drop_rate : float, default=0.1
        Share of the trees that a round of "dart" leaves out.
    max_drop : int, default=50
        Most trees that a round of "dart" leaves out; 0 for any number.
    skip_drop : float, default=0.5
        Chance that a round of "dart" leaves none out.
    data_sample_strategy : {"bagging", "goss"}, default="bagging"
        With "goss", trees are grown on the rows of large gradients and a sample of the others.
    top_rate : float, default=0.2
        Share of the rows that "goss" keeps for their gradients.
    other_rate : float, default=0.1
        Share of the rows that "goss" draws among the others.
    linear_tree : bool, default=False
        Leaves hold linear models of the numbers on their path; rows are kept as they are while fitting.
    linear_lambda : float, default=0.0
        L2 penalty on the weights of these models.
    budget : str, float or None, default=None
        Time for a well-tuned model, as "1min" or a number of seconds: sizes of trees race on held-out rows, then steps of
        other parameters and models that hold other rows out follow where there is time, and the model is the mean of those
        that do best, up to 8, as one of all their trees. Where there is little, the best size gets what is left.
        `validation_fraction` of the rows judge, but no more than 10,000 (or 500 of the rarest class), unless it is a number
        of rows. What is tried stands in for `learning_rate`, `max_iter`, `max_leaf_nodes` and others; the model depends on
        the speed of the machine.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes in ascending order.
    n_iter_ : int
        Trees that were grown (for each class).
    train_score_, validation_score_ : ndarray
        Scores after each tree; the first is before any.
    evals_result_ : dict of dict
        For "train" and "validation", the scores of each of `scoring` by name.
    feature_importances_ : ndarray of shape (n_features,)
        Share of the gain that each column brought.
    best_params_, budget_steps_, budget_models_ : dict, list of dict, list of dict
        With `budget`, the parameters that did best, all that were tried with their scores and seconds, and those of the
        models whose mean this one is. `n_iter_` counts the rounds of all of these then, and of several there are no scores
        of rounds.
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
        loss: str | Callable[..., Any] = "log_loss",
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
        scoring: Any = "loss",
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
        boosting: str = "gbdt",
        drop_rate: float = 0.1,
        max_drop: int = 50,
        skip_drop: float = 0.5,
        data_sample_strategy: str = "bagging",
        top_rate: float = 0.2,
        other_rate: float = 0.1,
        linear_tree: bool = False,
        linear_lambda: float = 0.0,
        budget: str | float | None = None,
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
        self.boosting = boosting
        self.drop_rate = drop_rate
        self.max_drop = max_drop
        self.skip_drop = skip_drop
        self.data_sample_strategy = data_sample_strategy
        self.top_rate = top_rate
        self.other_rate = other_rate
        self.linear_tree = linear_tree
        self.linear_lambda = linear_lambda
        self.budget = budget

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        init_score: Any = None,
        init_model: Any = None,
        callbacks: Sequence[Callable[..., Any]] | None = None,
        memory: int | str | None = None,
    ) -> Self:
        """Fits the classifier.

        Ctrl-C raises KeyboardInterrupt as always, and the rounds that were done by then are kept: the classifier is fitted.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features), path-like, list of path-like, or Arrow stream
            The rows; or files that hold them, by path, pattern such as "data/*.parquet" or folder: Parquet, Arrow IPC, CSV
            or JSON lines. Files and streams are read block by block and may be larger than memory; the model is that of
            the same rows in memory.
        y : array-like of shape (n_samples,) or str
            The class of each row: numbers, booleans or text; or the column that holds it.
        sample_weight : array-like of shape (n_samples,) or str, optional
            Weight of each row, or the column that holds it; 1 each if not given.
        init_score : array-like of shape (n_samples,) or (n_samples, n_scores), str or list of str, optional
            Raw scores to start from in place of the best constant, or the columns of the files that hold them. They are no
            part of the model.
        init_model : estimator, optional
            A fitted one of the same class, to whose trees `max_iter` are added.
        callbacks : list of callable, optional
            Called after each round with `iteration`, `total`, `loss` and `validation_loss` as attributes of one object;
            one that returns True ends the fit, which keeps its rounds. With `budget` all fits tell, and the search ends.
        memory : int or str, optional
            How many of the binned rows of files stay in memory, as "4GB" or a number of bytes; if not given half of them,
            and at most a quarter of what is free. The others are read from a temporary file. A row needs some 20 bytes
            more, and with several classes 12 for each.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters out of range and unusable values.
        OSError
            For files that can't be read, and no room for the temporary one.
        """
        if _files.is_files(X):
            given = {"init_score": init_score, "init_model": init_model, "callbacks": callbacks}
            return self._fit_files(X, y, sample_weight, memory, **given)
        X, y, sample_weight = _inputs.named(X, y, sample_weight)
        inputs = self._read(X, reset=True)
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        target = _targets.classes(y, inputs.rows, type(self).__name__, weights)
        weights = _targets.class_weights(self.class_weight, target, weights)
        return self._boost(inputs, target, weights, init_score=init_score, init_model=init_model, callbacks=callbacks)


class HistGradientBoostingRegressor(RegressorMixin, HistGradientBoosting):
    """Gradient boosting of regression trees on binned columns.

    Takes tables as they are: columns of text and missing values included. The same seed gives the same model for any
    number of threads.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "gamma", "poisson", "quantile", "huber", "tweedie", \
            "cross_entropy", "cox"}, expression or callable, default="squared_error"
        The loss. "cross_entropy" takes targets from 0 to 1; "cox" the time of each row's event, or minus the time until
        which it had none, and predicts the logarithm of its relative hazard. An expression such as
        "where(score < y, 3, 1) * (y - score) ** 2" gives the loss of a row with the target `y` at its raw score `score`,
        which is what is predicted; its gradient and hessian are found by differentiation, and no Python runs while
        fitting. It has Python's operators, comparisons, numbers, `pi`, and the functions exp, expm1, log, log1p, sqrt,
        abs, tanh, sigmoid, softplus, square, min, max and where. A callable gets the targets and the raw
        scores and returns gradients and hessians, all of shape (n_samples,); weights of rows are multiplied in
        afterwards, and scores start from 0.
    quantile : float or array-like of float, default=None
        The quantile between 0 and 1 for the loss "quantile"; with several, one model predicts them all.
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
        Most bins of a column, besides that of missing values: 2 to 65,535. Each 255 bins of numbers cost as much time and
        memory as another column; categories have at most 255.
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
    scoring : str, callable, list of those, or None, default="loss"
        What early stopping looks at: "loss", "r2", "neg_mean_squared_error", "neg_root_mean_squared_error" or
        "neg_mean_absolute_error"; None is "r2". A callable is a
        scorer, called as `scoring(model, rows, y)`: `model` answers for the rows that are scored, `rows` are their
        positions in X, of shape (n_samples, 1). Of a list the first decides, and all are noted in `evals_result_`.
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
    boosting : {"gbdt", "dart"}, default="gbdt"
        With "dart", each round leaves some of the earlier trees out.
    drop_rate : float, default=0.1
        Share of the trees that a round of "dart" leaves out.
    max_drop : int, default=50
        Most trees that a round of "dart" leaves out; 0 for any number.
    skip_drop : float, default=0.5
        Chance that a round of "dart" leaves none out.
    data_sample_strategy : {"bagging", "goss"}, default="bagging"
        With "goss", trees are grown on the rows of large gradients and a sample of the others.
    top_rate : float, default=0.2
        Share of the rows that "goss" keeps for their gradients.
    other_rate : float, default=0.1
        Share of the rows that "goss" draws among the others.
    linear_tree : bool, default=False
        Leaves hold linear models of the numbers on their path; rows are kept as they are while fitting.
    linear_lambda : float, default=0.0
        L2 penalty on the weights of these models.
    budget : str, float or None, default=None
        Time for a well-tuned model, as "1min" or a number of seconds: sizes of trees race on held-out rows, then steps of
        other parameters and models that hold other rows out follow where there is time, and the model is the mean of those
        that do best, up to 8, as one of all their trees. Where there is little, the best size gets what is left.
        `validation_fraction` of the rows judge, but no more than 10,000 (or 500 of the rarest class), unless it is a number
        of rows. What is tried stands in for `learning_rate`, `max_iter`, `max_leaf_nodes` and others; the model depends on
        the speed of the machine.
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
    evals_result_ : dict of dict
        For "train" and "validation", the scores of each of `scoring` by name.
    feature_importances_ : ndarray of shape (n_features,)
        Share of the gain that each column brought.
    best_params_, budget_steps_, budget_models_ : dict, list of dict, list of dict
        With `budget`, the parameters that did best, all that were tried with their scores and seconds, and those of the
        models whose mean this one is. `n_iter_` counts the rounds of all of these then, and of several there are no scores
        of rounds.
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
        loss: str | Callable[..., Any] = "squared_error",
        *,
        quantile: float | Sequence[float] | None = None,
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
        scoring: Any = "loss",
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
        boosting: str = "gbdt",
        drop_rate: float = 0.1,
        max_drop: int = 50,
        skip_drop: float = 0.5,
        data_sample_strategy: str = "bagging",
        top_rate: float = 0.2,
        other_rate: float = 0.1,
        linear_tree: bool = False,
        linear_lambda: float = 0.0,
        budget: str | float | None = None,
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
        self.boosting = boosting
        self.drop_rate = drop_rate
        self.max_drop = max_drop
        self.skip_drop = skip_drop
        self.data_sample_strategy = data_sample_strategy
        self.top_rate = top_rate
        self.other_rate = other_rate
        self.linear_tree = linear_tree
        self.linear_lambda = linear_lambda
        self.budget = budget
        self.huber_delta = huber_delta
        self.tweedie_power = tweedie_power

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        init_score: Any = None,
        init_model: Any = None,
        callbacks: Sequence[Callable[..., Any]] | None = None,
        memory: int | str | None = None,
    ) -> Self:
        """Fits the regressor.

        Ctrl-C raises KeyboardInterrupt as always, and the rounds that were done by then are kept: the regressor is fitted.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features), path-like, list of path-like, or Arrow stream
            The rows; or files that hold them, by path, pattern such as "data/*.parquet" or folder: Parquet, Arrow IPC, CSV
            or JSON lines. Files and streams are read block by block and may be larger than memory; the model is that of
            the same rows in memory.
        y : array-like of shape (n_samples,) or str
            The target, or the column that holds it.
        sample_weight : array-like of shape (n_samples,) or str, optional
            Weight of each row, or the column that holds it; 1 each if not given.
        init_score : array-like of shape (n_samples,) or (n_samples, n_scores), str or list of str, optional
            Raw scores to start from in place of the best constant, or the columns of the files that hold them. They are no
            part of the model.
        init_model : estimator, optional
            A fitted one of the same class, to whose trees `max_iter` are added.
        callbacks : list of callable, optional
            Called after each round with `iteration`, `total`, `loss` and `validation_loss` as attributes of one object;
            one that returns True ends the fit, which keeps its rounds. With `budget` all fits tell, and the search ends.
        memory : int or str, optional
            How many of the binned rows of files stay in memory, as "4GB" or a number of bytes; if not given half of them,
            and at most a quarter of what is free. The others are read from a temporary file. A row needs some 20 bytes
            more, and with several classes 12 for each.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters out of range and unusable values.
        OSError
            For files that can't be read, and no room for the temporary one.
        """
        several = self.quantile is not None and not isinstance(self.quantile, (int, float)) and len(self.quantile) > 1
        self._flat = not (self.loss == "quantile" and several)
        if _files.is_files(X):
            given = {"init_score": init_score, "init_model": init_model, "callbacks": callbacks}
            return self._fit_files(X, y, sample_weight, memory, **given)
        X, y, sample_weight = _inputs.named(X, y, sample_weight)
        inputs = self._read(X, reset=True)
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        target = _targets.numbers(y, inputs.rows)
        return self._boost(inputs, target, weights, init_score=init_score, init_model=init_model, callbacks=callbacks)
