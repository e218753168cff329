"""Models of other libraries as Corten's own.

A library is imported only where the model that was given is one of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import _core
from .._model import Model
from . import _boosters, _scikit_learn

__all__ = ["convert"]


def convert(
    model: Any, *, classes: Sequence[Any] | None = None, categories: Mapping[str, Sequence[str]] | None = None
) -> Model:
    """Converts a fitted tree ensemble of another library.

    The converted model gives the library's own answers, to the last bit where the library adds up in the order of its
    trees, and has all that Corten's models have: one row in microseconds, one safe file, the server, the executable.

    Parameters
    ----------
    model : object, path-like or bytes
        A fitted model, or the content or the name of a model file:

        - LightGBM: a `Booster`, `LGBMClassifier`, `LGBMRegressor` or `LGBMRanker`; a text file.
        - XGBoost: a `Booster`, `XGBClassifier`, `XGBRegressor`, `XGBRanker` or their forests; a JSON or UBJSON file.
        - CatBoost: a `CatBoost`, `CatBoostClassifier` or `CatBoostRegressor`; a JSON file. Of numbers and one-hot
          categories.
        - scikit-learn: trees, forests, extra trees, both kinds of gradient boosting, isolation forests.
    classes : sequence, optional
        The classes of a classifier that comes as a file or as a booster, in the order of its outputs. Without them
        `predict` gives the probabilities that the booster's own `predict` gives.
    categories : mapping of str to sequence of str, optional
        For CatBoost's one-hot columns, of which a model knows no more than hashes: the categories by column.

    Returns
    -------
    Model
        With `predict`, `predict_proba` and `decision_function` as far as the model has them, and `save`.

    Raises
    ------
    TypeError
        For an object that is no model of these libraries.
    FormatError
        For a file that is no model, or a damaged one.
    ValueError
        For a model that isn't fitted or can't be converted, with the reason.

    Examples
    --------
    >>> import corten
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> theirs = RandomForestClassifier(n_estimators=10, random_state=0).fit(X, y)
    >>> ours = corten.convert(theirs)
    >>> bool((ours.predict_proba(X) == theirs.predict_proba(X)).all())
    True
    """
    hashed = [(str(name), [str(value) for value in values]) for name, values in (categories or {}).items()]
    given = None if classes is None else list(classes)
    if isinstance(model, (bytes, bytearray, memoryview)):
        return Model(_core.convert(bytes(model), given, hashed))
    if isinstance(model, (str, os.PathLike)):
        content = Path(model).read_bytes()
        try:
            return Model(_core.convert(content, given, hashed))
        except ValueError as error:
            # Every error of Corten takes its text alone.
            raise type(error)(f"{os.fspath(model)}: {error}") from None
    root = type(model).__module__.partition(".")[0]
    if root in _boosters.READERS:
        content, own, in_place = _boosters.READERS[root](model)
        return Model(_core.convert(content, own if given is None else given, hashed, in_place))
    if any(base.__module__.partition(".")[0] == "sklearn" for base in type(model).__mro__):
        return _scikit_learn.convert(model)
    raise TypeError(
        f"corten.convert takes fitted models of LightGBM, XGBoost, CatBoost and scikit-learn, or their files; "
        f"got {type(model).__module__}.{type(model).__qualname__}"
    )
