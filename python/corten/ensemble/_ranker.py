"""Boosting of trees that rank."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from .. import _inputs, _targets
from ..exceptions import ParameterError
from . import _files
from ._boosting import HistGradientBoosting


class HistGradientBoostingRanker(HistGradientBoosting):
    """Boosting of trees that put the rows of each query in order, the most relevant first (LambdaMART).

    Parameters
    ----------
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
        Hold out queries and stop when they no longer gain; "auto" does it from 10,000 rows on.
    scoring : str, callable, list of those, or None, default="loss"
        What early stopping looks at: "loss", which is what the mean normalised discounted cumulative gain lacks to 1,
        or a callable `scoring(model, rows, y)`: `model` answers for the rows that are scored, `rows` are their
        positions in X, of shape (n_samples, 1). Of a list the first decides.
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
    lambdarank_truncation_level : int, default=30
        Ranks of a query that count.
    lambdarank_norm : bool, default=True
        Whether pairs of rows count less the further their scores are apart, and queries by the logarithm of their sums.
    sigmoid : float, default=1.0
        How steep the sigmoid of a pair's scores is.

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
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.
    report_ : dict
        How the fit went: iterations, losses, seconds.

    References
    ----------
    Burges, "From RankNet to LambdaRank to LambdaMART", MSR-TR-2010-82; LightGBM's `lambdarank`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.ensemble import HistGradientBoostingRanker
    >>> X = np.tile(np.arange(20.0), 10).reshape(-1, 1)
    >>> y = (X[:, 0] > 14).astype(int)
    >>> model = HistGradientBoostingRanker(max_iter=10, random_state=0).fit(X, y, group=[20] * 10)
    >>> scores = model.predict([[3.0], [18.0]])
    >>> bool(scores[1] > scores[0])
    True
    """

    _core_name = "ensemble.HistGradientBoostingRanker"

    def __init__(
        self,
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
        lambdarank_truncation_level: int = 30,
        lambdarank_norm: bool = True,
        sigmoid: float = 1.0,
    ) -> None:
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
        self.lambdarank_truncation_level = lambdarank_truncation_level
        self.lambdarank_norm = lambdarank_norm
        self.sigmoid = sigmoid

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        group: Any = None,
        group_weight: Any = None,
        init_score: Any = None,
        init_model: Any = None,
        callbacks: Sequence[Callable[..., Any]] | None = None,
        memory: int | str | None = None,
    ) -> Self:
        """Fits the ranker.

        Ctrl-C raises KeyboardInterrupt as always, and the rounds that were done by then are kept: the ranker is fitted.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features), path-like, list of path-like, or Arrow stream
            The rows, query after query; or files that hold them, by path, pattern such as "data/*.parquet" or folder, which
            are read block by block and may be larger than memory.
        y : array-like of shape (n_samples,) or str
            How relevant each row is: whole numbers from 0 to 31; or the column of the files that holds it.
        group : array-like of shape (n_queries,) or str, optional
            How many rows each query has, in the order of the rows; all rows are one query if not given. For files the
            column that names each row's query: rows of a query follow each other.
        group_weight : array-like of shape (n_queries,), optional
            Weight of each query, as XGBoost's rankers take it; 1 each if not given. Rows have none of their own: they
            count in pairs.
        init_score : array-like of shape (n_samples,) or str, optional
            Raw scores to start from, or the column of the files that holds them. They are no part of the model.
        init_model : estimator, optional
            A fitted one of the same class, to whose trees `max_iter` are added.
        callbacks : list of callable, optional
            Called after each round with `iteration`, `total`, `loss` and `validation_loss` as attributes of one object;
            one that returns True ends the fit, which keeps its rounds.
        memory : int or str, optional
            How many of the binned rows of files stay in memory, as in `HistGradientBoostingRegressor.fit`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters out of range, unusable values, and queries that don't add up to the rows.
        """
        if _files.is_files(X):
            if group_weight is not None:
                raise ParameterError("The 'group_weight' parameter must be None for rows in files.")
            given = {"init_score": init_score, "init_model": init_model, "callbacks": callbacks}
            return self._fit_files(X, y, None, memory, group=group, **given)
        inputs = self._read(X, reset=True)
        target = _targets.numbers(y, inputs.rows)
        extras: dict[str, Any] = {}
        sizes = np.array([inputs.rows])
        if group is not None:
            sizes = np.asarray(group)
            if sizes.ndim != 1 or not len(sizes) or (sizes != np.floor(sizes)).any() or (sizes < 0).any():
                raise ValueError(f"group should be a list of sizes of queries. Got {sizes!r:.80} instead.")
            extras["group"] = sizes.astype(np.uint32)
        weights = None
        if group_weight is not None:
            shares = np.asarray(group_weight, dtype=np.float64)
            if shares.shape != sizes.shape:
                raise ValueError(
                    f"group_weight should have {len(sizes)} weights, one a query, but has shape {shares.shape}."
                )
            repeated = np.repeat(shares, sizes.astype(np.intp))
            # Queries that don't add up to the rows are refused by the fit.
            if len(repeated) == inputs.rows:
                weights = _inputs.sample_weight(repeated, inputs.rows)
        return self._boost(
            inputs, target, weights, init_score=init_score, init_model=init_model, callbacks=callbacks, **extras
        )

    def predict(self, X: Any) -> np.ndarray:
        """Predicts a score for each row, the higher the more relevant.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        out: np.ndarray = self._run("predict", X)
        return out.ravel()
