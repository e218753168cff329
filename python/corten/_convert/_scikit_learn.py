"""scikit-learn's trees as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _core
from .._model import Model
from ..exceptions import NotFittedError


def _concat(arrays: Sequence[Any], dtype: Any) -> np.ndarray:
    return np.concatenate([np.asarray(a, dtype=dtype).ravel() for a in arrays]) if len(arrays) else np.empty(0, dtype)


def _trees(trees: Sequence[Any], values: Sequence[np.ndarray], features: Sequence[Any] | None = None) -> dict[str, Any]:
    """Trees of Cython and their values, a row a node; `features` are the columns that each reads, if not all."""
    columns = [t.feature for t in trees]
    if features is not None:
        columns = [np.asarray(f)[np.maximum(c, 0)] for f, c in zip(features, columns, strict=True)]
    missing = [getattr(t, "missing_go_to_left", np.zeros(t.node_count)) for t in trees]
    return {
        "counts": np.array([t.node_count for t in trees], np.int64),
        "left": _concat([t.children_left for t in trees], np.int64),
        "right": _concat([t.children_right for t in trees], np.int64),
        "feature": _concat(columns, np.int64),
        "threshold": _concat([t.threshold for t in trees], np.float64),
        "missing_left": _concat(missing, np.int64),
        "cover": _concat([t.weighted_n_node_samples for t in trees], np.float64),
        "values": _concat(values, np.float64),
        "width": int(values[0].reshape(trees[0].node_count, -1).shape[1]),
        "sets": np.empty(0, np.int64),
        "codes": np.empty(0, np.int64),
    }


def _meaning(model: Any, answer: tuple[str, float, float], base: Any, **other: Any) -> dict[str, Any]:
    names = getattr(model, "feature_names_in_", None)
    return {
        "source": f"sklearn.{type(model).__name__}",
        "names": None if names is None else [str(n) for n in names],
        "features": int(model.n_features_in_),
        "categories": [],
        "base": [float(b) for b in base],
        "average": False,
        "narrow": True,
        "answer": answer,
        "scores": False,
        **other,
    }


def _classes(model: Any) -> list[Any] | None:
    classes = getattr(model, "classes_", None)
    if classes is None:
        return None
    if isinstance(classes, list):
        raise ValueError(f"{type(model).__name__} with several outputs of classes can't be converted; one output can")
    labels: list[Any] = np.asarray(classes).tolist()
    if len(labels) < 2:
        raise ValueError(f"{type(model).__name__} knows one class only; two are needed to be converted")
    return labels


def _finish(trees: dict[str, Any], meaning: dict[str, Any], classes: list[Any] | None = None) -> Model:
    return Model(_core.convert_arrays(trees, meaning, classes))


def _forest(model: Any) -> Model:
    """A tree or a forest of them: the mean of the leaves."""
    members = [e.tree_ for e in getattr(model, "estimators_", [model])]
    classes = _classes(model)
    values = [t.value[:, 0, :] if classes is not None else t.value[:, :, 0] for t in members]
    width = values[0].shape[1]
    answer = ("probabilities" if classes is not None else "sums", 1.0, 0.0)
    return _finish(_trees(members, values), _meaning(model, answer, [0.0] * width, average=True), classes)


def _gradient_boosting(model: Any) -> Model:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    init = model.init_
    if not (init is None or isinstance(init, (str, DummyClassifier, DummyRegressor))):
        raise ValueError(
            f"{type(model).__name__}(init={type(init).__name__}()) can't be converted: only a constant start can"
        )
    base = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))[0]
    stages = [e.tree_ for stage in model.estimators_ for e in stage]
    values = [t.value[:, 0, :] * model.learning_rate for t in stages]
    classes = _classes(model)
    if classes is None:
        answer = ("sums", 1.0, 0.0)
    elif len(base) > 1:
        answer = ("softmax", 1.0, 0.0)
    else:
        answer = ("sigmoid", 2.0 if model.loss == "exponential" else 1.0, 0.0)
    return _finish(_trees(stages, values), _meaning(model, answer, base, scores=classes is not None), classes)


def _hist_gradient_boosting(model: Any) -> Model:
    predictors = [p for iteration in model._predictors for p in iteration]
    nodes = [p.nodes for p in predictors]
    order = np.arange(model.n_features_in_)
    categories: list[tuple[int, list[Any]]] = []
    if model.is_categorical_ is not None:
        # Categorical columns come first in what the trees read.
        chosen = np.asarray(model.is_categorical_)
        order = np.concatenate([np.flatnonzero(chosen), np.flatnonzero(~chosen)])
        encoder = model._preprocessor.named_transformers_["encoder"]
        for column, known in zip(np.flatnonzero(chosen), encoder.categories_, strict=True):
            # A missing value has no code of its own.
            present = [v for v in np.asarray(known).tolist() if v is not None and v == v]
            categories.append((int(column), present))
    starts = np.cumsum([0] + [len(n) for n in nodes])
    sets = np.full((int(starts[-1]), 2), (0, -1), np.int64)
    codes: list[np.ndarray] = []
    count = 0
    for start, predictor in zip(starts, predictors, strict=False):
        for at in np.flatnonzero(predictor.nodes["is_categorical"] & ~predictor.nodes["is_leaf"].astype(bool)):
            words = predictor.raw_left_cat_bitsets[predictor.nodes["bitset_idx"][at]]
            left = np.flatnonzero(np.unpackbits(np.asarray(words, "<u4").view(np.uint8), bitorder="little"))
            levels = len(dict(categories)[int(order[predictor.nodes["feature_idx"][at]])])
            left = left[left < levels]
            sets[start + at] = count, len(left)
            codes.append(left)
            count += len(left)
    leaf = [n["is_leaf"].astype(bool) for n in nodes]
    baseline = np.ravel(model._baseline_prediction)
    trees = {
        "counts": np.diff(starts).astype(np.int64),
        "left": _concat(
            [np.where(k, -1, n["left"].astype(np.int64)) for k, n in zip(leaf, nodes, strict=True)], np.int64
        ),
        "right": _concat(
            [np.where(k, -1, n["right"].astype(np.int64)) for k, n in zip(leaf, nodes, strict=True)], np.int64
        ),
        "feature": _concat([order[n["feature_idx"]] for n in nodes], np.int64),
        "threshold": _concat([n["num_threshold"] for n in nodes], np.float64),
        "missing_left": _concat([n["missing_go_to_left"] for n in nodes], np.int64),
        "cover": _concat([n["count"] for n in nodes], np.float64),
        "values": _concat([n["value"] for n in nodes], np.float64),
        "width": 1,
        "sets": sets.ravel(),
        "codes": _concat(codes, np.int64),
    }
    classes = _classes(model)
    if classes is not None:
        answer = ("softmax" if len(baseline) > 1 else "sigmoid", 1.0, 0.0)
    else:
        answer = ("exp" if model.loss in ("poisson", "gamma") else "sums", 1.0, 0.0)
    meaning = _meaning(model, answer, baseline, narrow=False, scores=classes is not None, categories=categories)
    return _finish(trees, meaning, classes)


def _isolation(model: Any) -> Model:
    trees = [e.tree_ for e in model.estimators_]
    lengths = zip(model._decision_path_lengths, model._average_path_length_per_tree, strict=True)
    depths = [(path + average - 1.0)[:, None] for path, average in lengths]
    from sklearn.ensemble._iforest import _average_path_length

    average = float(_average_path_length([model._max_samples])[0])
    if average == 0:
        raise ValueError("an IsolationForest whose trees saw one row each can't be converted")
    answer = ("isolation", -np.log(2) / average, float(model.offset_))
    meaning = _meaning(model, answer, [0.0], average=True)
    return _finish(_trees(trees, depths, model.estimators_features_), meaning)


_KINDS = {
    "DecisionTreeClassifier": _forest,
    "DecisionTreeRegressor": _forest,
    "ExtraTreeClassifier": _forest,
    "ExtraTreeRegressor": _forest,
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "GradientBoostingClassifier": _gradient_boosting,
    "GradientBoostingRegressor": _gradient_boosting,
    "HistGradientBoostingClassifier": _hist_gradient_boosting,
    "HistGradientBoostingRegressor": _hist_gradient_boosting,
    "IsolationForest": _isolation,
}


def convert(model: Any) -> Model:
    """Converts a fitted tree, forest, gradient boosting or isolation forest of scikit-learn."""
    for base in type(model).__mro__:
        if base.__name__ in _KINDS and base.__module__.partition(".")[0] == "sklearn":
            if not hasattr(model, "n_features_in_") or not any(
                hasattr(model, name) for name in ("tree_", "estimators_", "_predictors")
            ):
                raise NotFittedError(
                    f"This {type(model).__name__} is not fitted yet; corten.convert needs a fitted model."
                )
            return _KINDS[base.__name__](model)
    raise TypeError(f"{type(model).__name__} can't be converted; of scikit-learn, these can: {', '.join(_KINDS)}")
