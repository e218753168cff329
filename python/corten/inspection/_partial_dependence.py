"""What a model predicts on average where some columns have given values."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ..exceptions import ParameterError
from ..tree._structure import Bunch
from ._columns import Columns


def partial_dependence(
    estimator: Any,
    X: Any,
    features: Any,
    *,
    sample_weight: Any = None,
    categorical_features: Any = None,
    response_method: str = "auto",
    percentiles: tuple[float, float] = (0.05, 0.95),
    grid_resolution: int = 100,
    custom_values: dict[Any, Any] | None = None,
    kind: str = "average",
) -> Any:
    """The mean prediction over the rows where some columns are set to each point of a grid.

    Parameters
    ----------
    estimator : estimator
        A fitted classifier or regressor.
    X : array-like or frame of shape (n_samples, n_features)
        The rows that are averaged over.
    features : int, str or list of them
        The columns that are set, by position or name.
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each row in the mean.
    categorical_features : list of int or str, optional
        Columns whose grid is their distinct values; those of text always are.
    response_method : {"auto", "predict_proba", "decision_function"}, default="auto"
        What is averaged for a classifier; "auto" takes the first that there is.
    percentiles : tuple of two floats, default=(0.05, 0.95)
        Quantiles that a grid of numbers runs between.
    grid_resolution : int, default=100
        Points of the grid of a column with at least that many distinct values.
    custom_values : dict, optional
        Grids by column, in place of those.
    kind : {"average", "individual", "both"}, default="average"
        The mean, the prediction of each row, or both.

    Returns
    -------
    Bunch
        `grid_values`, an array for each column; `average` of shape (n_outputs, n_values, ...) and `individual` of shape
        (n_outputs, n_samples, n_values, ...), with an axis of values for each column. A classifier of two classes has
        one output, of the second class.

    Raises
    ------
    ParameterError
        For parameters out of range.

    References
    ----------
    Friedman, "Greedy Function Approximation", Annals of Statistics 29, 2001; Goldstein et al., "Peeking Inside the
    Black Box", Journal of Computational and Graphical Statistics 24, 2015 (individual).

    Examples
    --------
    >>> from corten.inspection import partial_dependence
    >>> from corten.linear_model import LinearRegression
    >>> X = [[0.0, 1.0], [1.0, 0.0], [2.0, 1.0]]
    >>> model = LinearRegression().fit(X, [0.0, 2.0, 4.0])
    >>> partial_dependence(model, X, 0).average.round(6).tolist()
    [[0.0, 2.0, 4.0]]
    """
    if kind not in ("average", "individual", "both"):
        raise ParameterError(
            f"The 'kind' parameter must be one of {{'average', 'individual', 'both'}}. Got {kind!r} instead."
        )
    if not isinstance(grid_resolution, (int, np.integer)) or grid_resolution < 2:
        raise ParameterError(f"The 'grid_resolution' parameter must be an int from 2. Got {grid_resolution!r} instead.")
    low, high = percentiles
    if not 0 <= low < high <= 1:
        raise ParameterError(
            f"The 'percentiles' parameter must be two floats from 0 to 1, the first one less. Got {percentiles} instead."
        )
    columns = Columns(estimator, X)
    listed = list(features) if isinstance(features, (list, tuple, np.ndarray)) else [features]
    chosen = [columns.position(f, "features") for f in listed]
    categories = {columns.position(f, "categorical_features") for f in categorical_features or ()}
    custom = {columns.position(f, "custom_values"): v for f, v in (custom_values or {}).items()}
    grids = [
        np.asarray(custom[at])
        if at in custom
        else _grid(columns.column(at), at in categories, (low, high), grid_resolution)
        for at in chosen
    ]
    respond = _response(estimator, response_method)
    single = kind == "average"
    answers = []
    for point in itertools.product(*(grid.tolist() for grid in grids)):
        answer = respond(columns.replaced(dict(zip(chosen, point, strict=True))))
        # Averaged at once: the answers of every row at every point may be many.
        answers.append(np.average(answer, axis=0, weights=sample_weight) if single else answer)
    shape = tuple(len(grid) for grid in grids)
    stacked = np.stack(answers, axis=-1)
    out = Bunch(grid_values=grids)
    if not single:
        outputs = np.swapaxes(stacked, 0, 1)
        out["individual"] = outputs.reshape(*outputs.shape[:2], *shape)
        stacked = np.average(stacked, axis=0, weights=sample_weight)
    if kind != "individual":
        out["average"] = stacked.reshape(len(stacked), *shape)
    return out


def _grid(column: Any, category: bool, percentiles: tuple[float, float], resolution: int) -> np.ndarray:
    if isinstance(column, list):
        return np.array(sorted({v for v in column if v is not None}), dtype=object)
    values = np.asarray(column, dtype=np.float64)
    values = np.sort(values[~np.isnan(values)])
    unique = np.unique(values)
    if category or len(unique) < resolution:
        return unique
    ends = [_quantile(values, p) for p in percentiles]
    if np.isclose(ends[0], ends[1]):
        raise ParameterError(
            f"The 'percentiles' parameter must be further apart: both ends of the grid are {ends[0]}. "
            f"Got {percentiles} instead."
        )
    return np.linspace(ends[0], ends[1], num=resolution)


def _quantile(values: np.ndarray, share: float) -> float:
    """A quantile of sorted values, between their plotting positions (i - 0.4) / (n + 0.2)."""
    count = len(values)
    place = count * share + 0.4 + 0.2 * share
    at = int(np.floor(np.clip(place, 1, max(count - 1, 1))))
    rest = float(np.clip(place - at, 0, 1))
    return float((1 - rest) * values[at - 1] + rest * values[min(at, count - 1)])


def _response(estimator: Any, method: str) -> Any:
    """What is averaged: a function from rows to answers of shape (n_samples, n_outputs)."""
    known = ("auto", "predict_proba", "decision_function")
    if method not in known:
        raise ParameterError(f"The 'response_method' parameter must be one of {set(known)}. Got {method!r} instead.")
    classifier = hasattr(estimator, "classes_")
    if not classifier and method != "auto":
        raise ParameterError(f"The 'response_method' parameter must be 'auto' for a regressor. Got {method!r} instead.")
    if not classifier:
        name = "predict"
    elif method == "auto":
        name = "predict_proba" if hasattr(estimator, "predict_proba") else "decision_function"
    else:
        name = method
    ask = getattr(estimator, name)

    def respond(X: Any) -> np.ndarray:
        answer = np.asarray(ask(X))
        if answer.ndim == 1:
            return answer[:, None]
        return answer[:, 1:] if name == "predict_proba" and answer.shape[1] == 2 else answer

    return respond
