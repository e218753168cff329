"""The nodes of a fitted tree, and what follows from them: paths, depths, pruning."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from .._explain import Explains
from .._inputs import Input
from .._params import clone
from ..exceptions import not_fitted

_ARRAYS = (
    "children_left",
    "children_right",
    "feature",
    "threshold",
    "missing_go_to_left",
    "impurity",
    "n_node_samples",
    "weighted_n_node_samples",
    "value",
)


class Bunch(dict[str, Any]):
    """A dict whose keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Tree:
    """The nodes of a tree in arrays, by scikit-learn's names; children come after their parents.

    Parameters
    ----------
    arrays : sequence of ndarray
        The arrays below, in the order of the attributes.
    n_features : int
        Number of columns.

    Attributes
    ----------
    children_left, children_right : ndarray of shape (node_count,)
        Node on either side; -1 at a leaf.
    feature : ndarray of shape (node_count,)
        Column that is compared; -2 at a leaf.
    threshold : ndarray of shape (node_count,)
        Values up to it go left; -2 at a leaf.
    missing_go_to_left : ndarray of shape (node_count,)
        Whether missing values go left.
    impurity : ndarray of shape (node_count,)
        Impurity of the rows of the fit in each node.
    n_node_samples : ndarray of shape (node_count,)
        Rows of the fit in each node.
    weighted_n_node_samples : ndarray of shape (node_count,)
        Their weight.
    value : ndarray of shape (node_count, n_outputs, n_classes)
        Means, or shares of classes.
    node_count, n_leaves, max_depth, n_features, n_outputs : int
        Sizes.
    """

    children_left: np.ndarray
    children_right: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing_go_to_left: np.ndarray
    impurity: np.ndarray
    n_node_samples: np.ndarray
    weighted_n_node_samples: np.ndarray
    value: np.ndarray

    def __init__(self, arrays: Any, n_features: int) -> None:
        for name, array in zip(_ARRAYS, arrays, strict=True):
            setattr(self, name, array)
        self.missing_go_to_left = self.missing_go_to_left.astype(np.uint8)
        self.n_features = n_features
        self.node_count = len(self.feature)
        self.n_outputs = self.value.shape[1]
        self.max_n_classes = self.value.shape[2]
        self.n_classes = np.full(self.n_outputs, self.max_n_classes)
        self._inner = self.children_left >= 0
        self.n_leaves = int((~self._inner).sum())

    @property
    def depths(self) -> np.ndarray:
        """Edges from the root to each node."""
        out = np.zeros(self.node_count, np.int64)
        for at in np.flatnonzero(self._inner):
            out[self.children_left[at]] = out[self.children_right[at]] = out[at] + 1
        return out

    @property
    def max_depth(self) -> int:
        """Edges from the root to the deepest leaf."""
        return int(self.depths.max())

    def _walk(self, inputs: Input) -> Any:
        """The nodes of all rows, step by step, until all are leaves."""
        columns: dict[int, np.ndarray] = {}
        for feature in np.unique(self.feature[self._inner]).tolist():
            columns[feature] = np.asarray(inputs.column(feature), np.float64)
        at = np.zeros(inputs.rows, np.int64)
        yield at
        rows = np.arange(inputs.rows)[self._inner[at]]
        while len(rows):
            nodes = at[rows]
            values = np.empty(len(rows))
            features = self.feature[nodes]
            for feature in np.unique(features).tolist():
                mine = features == feature
                values[mine] = columns[feature][rows[mine]]
            left = np.where(np.isnan(values), self.missing_go_to_left[nodes] == 1, values <= self.threshold[nodes])
            at = at.copy()
            at[rows] = np.where(left, self.children_left[nodes], self.children_right[nodes])
            yield at
            rows = rows[self._inner[at[rows]]]

    def apply(self, inputs: Input) -> np.ndarray:
        """The leaf of each row."""
        for at in self._walk(inputs):
            last = at
        out: np.ndarray = last
        return out

    def decision_path(self, inputs: Input) -> Any:
        """The nodes that each row passes, as a SciPy CSR matrix of 0 and 1."""
        from scipy import sparse

        steps = np.column_stack(list(self._walk(inputs)))
        fresh = np.ones(steps.shape, bool)
        fresh[:, 1:] = steps[:, 1:] != steps[:, :-1]
        counts = np.concatenate([[0], np.cumsum(fresh.sum(axis=1))])
        indices = steps[fresh]
        shape = (inputs.rows, self.node_count)
        return sparse.csr_matrix((np.ones(len(indices), np.int64), indices, counts), shape=shape)

    def pruning_path(self) -> Bunch:
        """Strengths of the weakest links, and the impurity of all leaves after each is cut."""
        own = self.impurity * self.weighted_n_node_samples / self.weighted_n_node_samples[0]
        risk, leaves = own.copy(), np.ones(self.node_count, np.int64)
        parent = np.full(self.node_count, -1)
        for at in np.flatnonzero(self._inner)[::-1]:
            left, right = self.children_left[at], self.children_right[at]
            parent[left] = parent[right] = at
            risk[at], leaves[at] = risk[left] + risk[right], leaves[left] + leaves[right]
        inner = self._inner.copy()
        heap = [((own[at] - risk[at]) / (leaves[at] - 1), at) for at in np.flatnonzero(inner).tolist()]
        heapq.heapify(heap)
        alphas, impurities = [0.0], [risk[0]]
        while heap:
            alpha, at = heapq.heappop(heap)
            # An entry is stale when its node was cut, or when something below it was.
            if not inner[at] or alpha != (own[at] - risk[at]) / (leaves[at] - 1):
                continue
            lost, gone = own[at] - risk[at], leaves[at] - 1
            below = [at]
            while below:
                node = below.pop()
                if inner[node]:
                    inner[node] = False
                    below += [self.children_left[node], self.children_right[node]]
            up = at
            while up >= 0:
                risk[up] += lost
                leaves[up] -= gone
                if inner[up]:
                    heapq.heappush(heap, ((own[up] - risk[up]) / (leaves[up] - 1), int(up)))
                up = parent[up]
            alphas.append(alpha)
            impurities.append(risk[0])
        return Bunch(ccp_alphas=np.array(alphas), impurities=np.array(impurities))


class _Nodes:
    """The arrays of a fitted tree before anyone asks for them; pickles and copies hold the arrays."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def arrays(self) -> list[np.ndarray]:
        """The arrays, in the order of :class:`Tree`'s attributes."""
        return self._handle.nodes()

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (self.arrays(),)


class TreeMixin(Explains):
    """What a single tree shows of its nodes."""

    _nodes: Any
    n_features_in_: int

    def _take(self, handle: Any) -> None:
        super()._take(handle)  # type: ignore[misc]
        self._nodes = _Nodes(handle)

    def _takes_sparse(self) -> bool:
        return True

    @property
    def tree_(self) -> Tree:
        """The nodes.

        Returns
        -------
        Tree

        Raises
        ------
        AttributeError
            Before `fit`.
        """
        if "_nodes" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute 'tree_' before fit")
        nodes = self._nodes
        if isinstance(nodes, _Nodes):
            self._nodes = nodes = nodes.arrays()
        return Tree(nodes, self.n_features_in_)

    def _fitted_tree(self) -> Tree:
        if "_nodes" not in self.__dict__:
            raise not_fitted(self)
        return self.tree_

    def get_depth(self) -> int:
        """Edges from the root to the deepest leaf.

        Returns
        -------
        int
        """
        return self._fitted_tree().max_depth

    def get_n_leaves(self) -> int:
        """Number of leaves.

        Returns
        -------
        int
        """
        return self._fitted_tree().n_leaves

    def apply(self, X: Any, check_input: bool = True) -> np.ndarray:
        """The leaf that each row ends in.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        check_input : bool, default=True
            Without effect; there for scikit-learn's signature.

        Returns
        -------
        ndarray of shape (n_samples,)
            Places in the arrays of `tree_`.
        """
        tree = self._fitted_tree()
        return tree.apply(self._read(X, reset=False))  # type: ignore[attr-defined]

    def decision_path(self, X: Any, check_input: bool = True) -> Any:
        """The nodes that each row passes.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        check_input : bool, default=True
            Without effect; there for scikit-learn's signature.

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n_samples, node_count)
            1 where a row passes a node.
        """
        tree = self._fitted_tree()
        return tree.decision_path(self._read(X, reset=False))  # type: ignore[attr-defined]

    def cost_complexity_pruning_path(self, X: Any, y: Any, sample_weight: Any = None) -> Bunch:
        """Strengths at which minimal cost-complexity pruning cuts a full tree further.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The target.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        dict
            `ccp_alphas`, ascending, and `impurities` of all leaves together at each of them.
        """
        full = clone(self).set_params(ccp_alpha=0.0).fit(X, y, sample_weight=sample_weight)
        path: Bunch = full.tree_.pruning_path()
        return path
