"""Explanations: exact Shapley values of a model's trees."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from . import _inputs
from ._inputs import Input


class Explanation:
    """Shapley values of some rows, shaped as `shap.Explanation` is; what `explain` gives where `shap` isn't installed.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_features) or (n_samples, n_features, n_outputs)
        What each feature adds to a row's score; (n_samples, n_features, n_features) and the outputs for interactions.
    base_values : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        The mean score over the training rows. With the values of a row it sums to the row's score.
    data : ndarray of shape (n_samples, n_features)
        The rows that were explained.
    feature_names : list of str
        Names of the features.

    Examples
    --------
    >>> import numpy as np
    >>> from corten._explain import Explanation
    >>> found = Explanation(np.ones((3, 2)), np.zeros(3), np.eye(3, 2), ["a", "b"])
    >>> found[:2].shape
    (2, 2)
    """

    def __init__(
        self,
        values: np.ndarray,
        base_values: np.ndarray | None = None,
        data: np.ndarray | None = None,
        feature_names: list[str] | None = None,
    ) -> None:
        self.values = values
        self.base_values = base_values
        self.data = data
        self.feature_names = feature_names

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of `values`."""
        return self.values.shape

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Explanation:
        """Some of the rows."""
        base = None if self.base_values is None else self.base_values[rows]
        data = None if self.data is None else self.data[rows]
        return Explanation(self.values[rows], base, data, self.feature_names)

    def __repr__(self) -> str:
        return f"<Explanation of {len(self)} rows: values {self.shape}>"


def explain(
    model: Any, inputs: Input, *, interactions: bool, threads: int | None = None, names: list[str] | None = None
) -> Any:
    """The explanation that a model gives of some rows.

    Parameters
    ----------
    model : corten._core.Model
        The model.
    inputs : Input
        The rows.
    interactions : bool
        Whether pairs of features are told apart.
    threads : int, optional
        Threads to use.
    names : list of str, optional
        Names of the inputs, where the model knows none.

    Returns
    -------
    shap.Explanation or Explanation
    """
    found = model.explain(inputs.data, interactions, threads)
    values = found["interactions"] if interactions else found["values"]
    single = values.shape[-1] == 1
    base = found["base"]
    base_values = np.full(inputs.rows, base[0]) if single else np.tile(base, (inputs.rows, 1))
    sources = found["sources"]
    own = found["names"]
    if names is not None:
        own = [name if source is None else names[source] for name, source in zip(own, sources, strict=True)]
    values = values[..., 0] if single else values
    return _explanation()(values, base_values, _data(inputs, sources, found["data"]), feature_names=list(own))


def _data(inputs: Input, sources: list[int | None], numbers: np.ndarray) -> np.ndarray:
    """The features' values: as they came where they are the model's own columns."""
    texts = [f for f, source in enumerate(sources) if source in inputs.texts]
    if not texts:
        return numbers
    data = numbers.astype(object)
    for f in texts:
        column = inputs.column(sources[f])  # type: ignore[arg-type]
        data[:, f] = column if isinstance(column, list) else np.asarray(column, dtype=object)
    return data


def _explanation() -> Any:
    """`shap.Explanation` where shap is installed; importing it takes seconds, so only when something is explained."""
    try:
        return importlib.import_module("shap").Explanation
    except ImportError:
        return Explanation


class Explains:
    """`explain` of an estimator whose model is trees."""

    def explain(self, X: Any, *, interactions: bool = False) -> Any:
        """Explains each row's score by what every feature adds to it: exact path-dependent TreeSHAP.

        The score is the sum of the trees: the prediction of a regressor, the log-odds of gradient boosting (the
        logarithm of the prediction under the losses "poisson", "gamma" and "tweedie"), the probabilities of forests and
        trees, and the mean depth in an isolation forest.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        interactions : bool, default=False
            Tell pairs of features apart: `values[r, i, j]` is half of what the pair adds beyond both alone, and a row
            of them sums to the value of feature `i`.

        Returns
        -------
        shap.Explanation or Explanation
            With `values` of shape (n_samples, n_features) or (n_samples, n_features, n_features), followed by
            n_outputs where there is more than one; `base_values`, the mean score over the training rows; `data` and
            `feature_names`. It is `shap`'s own class where `shap` is installed, so that its plots take it.

        Raises
        ------
        NotFittedError
            Before `fit`.
        UnsupportedError
            For a model that has no trees, or more than one ensemble of them.

        References
        ----------
        Lundberg et al., "From local explanations to global understanding with explainable AI for trees", Nature
        Machine Intelligence 2, 2020; Yu et al., "Linear TreeShap", NeurIPS 2022.

        Examples
        --------
        >>> import numpy as np
        >>> from corten.tree import DecisionTreeRegressor
        >>> X = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
        >>> model = DecisionTreeRegressor(max_depth=1).fit(X, [0.0, 0.0, 4.0, 4.0])
        >>> found = model.explain(X[:1])
        >>> found.base_values.tolist(), found.values.tolist()
        ([2.0], [[-2.0, 0.0]])
        """
        model = self._fitted_model()  # type: ignore[attr-defined]
        inputs = self._read(X, reset=False)  # type: ignore[attr-defined]
        return explain(model, inputs, interactions=interactions, threads=self._threads())  # type: ignore[attr-defined]


def explain_step(step: Any, X: Any, names: list[str] | None, *, interactions: bool) -> Any:
    """The explanation that the last step of a pipeline gives of what reaches it.

    Parameters
    ----------
    step : estimator
        A fitted estimator of trees.
    X : Input or array-like
        What reaches it.
    names : list of str or None
        Names of its columns.
    interactions : bool
        Whether pairs of features are told apart.

    Returns
    -------
    shap.Explanation or Explanation
    """
    inputs = _inputs.read(X, type(step).__name__, sparse=True, text=True)
    return explain(step._fitted_model(), inputs, interactions=interactions, threads=step._threads(), names=names)
