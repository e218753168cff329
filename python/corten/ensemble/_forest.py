"""What forests show of their trees."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np

from .._explain import Explains
from .._inputs import Input
from .._params import signature
from .._targets import Target


class ForestMixin(Explains):
    """Trees of a forest, leaves and paths of rows, out-of-bag scores by any measure."""

    _keeps_handle = True
    #: The class of a single tree.
    _tree: type
    oob_score: Any
    warm_start: bool

    def _takes_sparse(self) -> bool:
        return True

    def _core_params(self, inputs: Input) -> dict[str, Any]:
        params: dict[str, Any] = super()._core_params(inputs)  # type: ignore[misc]
        if callable(self.oob_score):
            params["oob_score"] = True
        return params

    def _fit_core(
        self,
        inputs: Input,
        target: Target | None = None,
        sample_weight: Any = None,
        *,
        partial: bool = False,
        **extras: Any,
    ) -> Self:
        self.__dict__.pop("_members", None)
        super()._fit_core(inputs, target, sample_weight, partial=partial, **extras)  # type: ignore[misc]
        report = self.report_  # type: ignore[attr-defined]
        if self.warm_start and not report["added"]:
            warnings.warn("Warm-start fitting without increasing n_estimators does not fit new trees.", stacklevel=4)
        if report["rows_without_out_of_bag_score"]:
            warnings.warn(
                "Some inputs do not have OOB scores. This probably means too few trees were used to compute any "
                "reliable OOB estimates.",
                stacklevel=4,
            )
        if callable(self.oob_score) and target is not None and report["out_of_bag_score"] is not None:
            if target.classes is None:
                truth, answers = target.values, self.oob_prediction_  # type: ignore[attr-defined]
            else:
                best = self.oob_decision_function_.argmax(axis=1)  # type: ignore[attr-defined]
                truth, answers = target.classes[target.values], target.classes[best]
            self.oob_score_ = self.oob_score(truth, answers)
        return self

    @property
    def estimators_(self) -> list[Any]:
        """The trees, each a fitted estimator of `corten.tree` that predicts as the forest does.

        Returns
        -------
        list of estimators

        Raises
        ------
        AttributeError
            Before `fit`, and for a forest that was unpickled: it keeps what predicts, not how each tree grew.
        """
        state = self.__dict__
        if "_members" not in state:
            if state.get("_handle") is None:
                why = "was unpickled or loaded" if state.get("_model") is not None else "is not fitted"
                raise AttributeError(f"This {type(self).__name__} has no attribute 'estimators_': it {why}.")
            state["_members"] = [self._member(handle) for handle in state["_handle"].members()]
        members: list[Any] = state["_members"]
        return members

    def _member(self, handle: Any) -> Any:
        known = signature(self._tree)
        mine = self.get_params(deep=False)  # type: ignore[attr-defined]
        tree = self._tree(**{k: mine[k] for k in known if k in mine and k != "class_weight"})
        tree._take(handle)
        for name in ("n_features_in_", "feature_names_in_", "classes_", "_flat"):
            if name in self.__dict__:
                setattr(tree, name, self.__dict__[name])
        return tree

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())  # type: ignore[call-overload]
        state.pop("_members", None)
        return state

    def __len__(self) -> int:
        return len(self.estimators_)

    def __iter__(self) -> Any:
        return iter(self.estimators_)

    def __getitem__(self, index: int) -> Any:
        return self.estimators_[index]

    def __bool__(self) -> bool:
        return True

    def apply(self, X: Any) -> np.ndarray:
        """The leaf that each row ends in, tree by tree.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_estimators)
            Places in the arrays of the trees' `tree_`.
        """
        self._fitted_model()  # type: ignore[attr-defined]
        inputs = self._read(X, reset=False)  # type: ignore[attr-defined]
        return np.column_stack([tree.tree_.apply(inputs) for tree in self.estimators_])

    def decision_path(self, X: Any) -> tuple[Any, np.ndarray]:
        """The nodes that each row passes.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        indicator : scipy.sparse.csr_matrix of shape (n_samples, n_nodes)
            1 where a row passes a node; the nodes of the trees side by side.
        n_nodes_ptr : ndarray of shape (n_estimators + 1,)
            Where the nodes of each tree start, and the end.
        """
        from scipy import sparse

        self._fitted_model()  # type: ignore[attr-defined]
        inputs = self._read(X, reset=False)  # type: ignore[attr-defined]
        paths = [tree.tree_.decision_path(inputs) for tree in self.estimators_]
        ends = np.cumsum([0, *(p.shape[1] for p in paths)])
        return sparse.hstack(paths).tocsr(), ends
