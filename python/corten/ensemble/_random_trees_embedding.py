"""Leaves of random trees as columns."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .. import _inputs
from .._base import Estimator, TransformerMixin
from .._inputs import Input


class RandomTreesEmbedding(TransformerMixin, Estimator):
    """Columns of 0 and 1 that say in which leaf of each of many random trees a row is.

    Parameters
    ----------
    n_estimators : int, default=100
        Number of trees.
    max_depth : int or None, default=5
        Most edges from the root to a leaf.
    min_samples_split : int or float, default=2
        Least rows of a node that is split, as a number or a share.
    min_samples_leaf : int or float, default=1
        Least rows of a leaf, as a number or a share.
    min_weight_fraction_leaf : float, default=0.0
        Least share of the weight in a leaf.
    max_leaf_nodes : int or None, default=None
        Most leaves; the best splits come first then.
    min_impurity_decrease : float, default=0.0
        Least gain of a split.
    sparse_output : bool, default=True
        Whether `transform` gives a SciPy CSR matrix in place of an array.
    n_jobs : int, default=None
        Threads; None and -1 stand for all.
    random_state : int, RandomState or None, default=None
        Seed.
    verbose : int, default=0
        Show progress on stderr.
    warm_start : bool, default=False
        Add trees to the fit before.

    Attributes
    ----------
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
    Moosmann, Triggs & Jurie, "Fast discriminative visual codebooks using randomized clustering forests", NIPS 2006;
    scikit-learn's `ensemble/_forest.py`.

    Examples
    --------
    >>> from corten.ensemble import RandomTreesEmbedding
    >>> model = RandomTreesEmbedding(n_estimators=3, random_state=0)
    >>> columns = model.fit_transform([[0.0], [1.0], [2.0], [3.0]])
    >>> columns.toarray().sum(axis=1).tolist()
    [3.0, 3.0, 3.0, 3.0]
    """

    _core_name = "ensemble.RandomTreesEmbedding"
    _routed = {"fit": ("sample_weight",)}
    feature_importances_: np.ndarray

    def __init__(
        self,
        n_estimators: int = 100,
        *,
        max_depth: int | None = 5,
        min_samples_split: int | float = 2,
        min_samples_leaf: int | float = 1,
        min_weight_fraction_leaf: float = 0.0,
        max_leaf_nodes: int | None = None,
        min_impurity_decrease: float = 0.0,
        sparse_output: bool = True,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
        warm_start: bool = False,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.min_samples_split = min_samples_split
        self.min_samples_leaf = min_samples_leaf
        self.min_weight_fraction_leaf = min_weight_fraction_leaf
        self.max_leaf_nodes = max_leaf_nodes
        self.min_impurity_decrease = min_impurity_decrease
        self.sparse_output = sparse_output
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose
        self.warm_start = warm_start

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Grows the trees.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : None
            Ignored.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row; 1 each if not given.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters out of range or unusable values.
        """
        inputs = self._read(X, reset=True)
        return self._fit_core(inputs, None, _inputs.sample_weight(sample_weight, inputs.rows))

    def _hand_out(self, inputs: Input, original: Any) -> Any:
        if not self.sparse_output:
            return super()._hand_out(inputs, original)
        from scipy import sparse

        # Some rows at a time, so that the zeros between are never there all at once.
        step = max(1, (1 << 24) // max(1, len(self._model.output("transform")["names"])))
        parts = []
        for start in range(0, inputs.rows, step):
            rows = np.arange(start, min(start + step, inputs.rows))
            own = inputs if len(rows) == inputs.rows else inputs.take(rows)
            parts.append(sparse.csr_matrix(self._raw(own)))
        return sparse.vstack(parts, format="csr")
