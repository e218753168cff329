"""How much worse a model gets when a column is shuffled."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._params import seed
from ..exceptions import ParameterError
from ..tree._structure import Bunch
from ._columns import Columns


def permutation_importance(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    scoring: Any = None,
    n_repeats: int = 5,
    random_state: Any = None,
    sample_weight: Any = None,
    max_samples: int | float = 1.0,
) -> Any:
    """How much a fitted model's score falls when the values of a column are shuffled.

    Shuffles as scikit-learn does: the same seed gives its importances.

    Parameters
    ----------
    estimator : estimator
        A fitted model.
    X : array-like or frame of shape (n_samples, n_features)
        The rows; held-out ones tell what the model generalises from.
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
        Their target.
    scoring : str, callable or list of str, optional
        The score: the estimator's own if not given, a name of scikit-learn's (which is then needed), or
        `scorer(estimator, X, y)`. A list gives a dict of results.
    n_repeats : int, default=5
        Shuffles of each column.
    random_state : int, RandomState or None, default=None
        Seed.
    sample_weight : array-like of shape (n_samples,), optional
        Weight of each row in the score.
    max_samples : int or float, default=1.0
        Rows, or share of the rows, that are drawn for each column.

    Returns
    -------
    Bunch
        `importances` of shape (n_features, n_repeats), with their mean and standard deviation `importances_mean` and
        `importances_std`.

    Raises
    ------
    ParameterError
        For parameters out of range.

    References
    ----------
    Breiman, "Random Forests", Machine Learning 45, 2001.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.inspection import permutation_importance
    >>> from corten.linear_model import Ridge
    >>> X = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]])
    >>> model = Ridge(alpha=1e-9).fit(X, X[:, 0])
    >>> found = permutation_importance(model, X, X[:, 0], random_state=0)
    >>> bool(found.importances_mean[0] > 1), bool(abs(found.importances_mean[1]) < 1e-6)
    (True, True)
    """
    if not isinstance(n_repeats, (int, np.integer)) or isinstance(n_repeats, bool) or n_repeats < 1:
        raise ParameterError(f"The 'n_repeats' parameter must be an int from 1. Got {n_repeats!r} instead.")
    columns = Columns(estimator, X)
    scorers = _scorers(estimator, scoring)
    target = np.asarray(y)
    weights = None if sample_weight is None else np.asarray(sample_weight)
    count = _samples(max_samples, columns.rows)
    column_seed = _random(random_state).randint(np.iinfo(np.int32).max + 1)
    whole = columns.original()
    base = {name: _score(scorer, estimator, whole, target, weights) for name, scorer in scorers.items()}
    falls = {name: np.empty((columns.width, n_repeats)) for name in scorers}
    for at in range(columns.width):
        random = np.random.RandomState(column_seed)
        part, own, own_weights = columns, target, weights
        if count < columns.rows:
            rows = random.permutation(columns.rows)[:count]
            part, own = columns.take(rows), target[rows]
            own_weights = None if weights is None else weights[rows]
        order, whole_order = np.arange(part.rows), np.arange(part.rows)
        for repeat in range(n_repeats):
            # Each shuffle is of the values as the one before left them.
            random.shuffle(order)
            whole_order = whole_order[order]
            shuffled = part.shuffled(at, whole_order)
            for name, scorer in scorers.items():
                falls[name][at, repeat] = base[name] - _score(scorer, estimator, shuffled, own, own_weights)
    found = {name: _bunch(values) for name, values in falls.items()}
    return found if isinstance(scoring, (list, tuple, set)) else next(iter(found.values()))


def _bunch(falls: np.ndarray) -> Bunch:
    return Bunch(importances_mean=falls.mean(axis=1), importances_std=falls.std(axis=1), importances=falls)


def _random(random_state: Any) -> np.random.RandomState:
    if isinstance(random_state, np.random.RandomState):
        return random_state
    return np.random.RandomState(seed(random_state) % 2**32)


def _samples(max_samples: int | float, rows: int) -> int:
    whole = isinstance(max_samples, (int, np.integer)) and not isinstance(max_samples, bool)
    if whole and 1 <= max_samples <= rows:
        return int(max_samples)
    if isinstance(max_samples, float) and 0 < max_samples <= 1:
        return max(1, int(max_samples * rows))
    raise ParameterError(
        f"The 'max_samples' parameter must be an int from 1 to {rows} or a float above 0 and up to 1. "
        f"Got {max_samples!r} instead."
    )


def _scorers(estimator: Any, scoring: Any) -> dict[str, Any]:
    if isinstance(scoring, (list, tuple, set)):
        return {str(name): _scorer(estimator, name) for name in scoring}
    return {"score": _scorer(estimator, scoring)}


def _scorer(estimator: Any, scoring: Any) -> Any:
    if callable(scoring):
        return scoring
    if isinstance(scoring, str):
        from sklearn.metrics import get_scorer

        return get_scorer(scoring)
    if scoring is not None:
        raise ParameterError(
            f"The 'scoring' parameter must be the name of a score, a callable, a list of names or None. "
            f"Got {scoring!r} instead."
        )
    if not hasattr(estimator, "score"):
        raise ParameterError(
            f"The 'scoring' parameter is needed for a {type(estimator).__name__}, which has no score of its own. "
            "Got None instead."
        )
    return type(estimator).score


def _score(scorer: Any, estimator: Any, X: Any, y: np.ndarray, weights: np.ndarray | None) -> float:
    return float(scorer(estimator, X, y) if weights is None else scorer(estimator, X, y, sample_weight=weights))
