"""Models as they come back from a file: predictions without the classes that trained them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from . import _core, _inputs, _output
from ._base import available_if
from ._explain import explain
from ._export import Exports
from ._lightgbm import WritesLightGBM


def _has(method: str) -> Any:
    return available_if(lambda self: method in self._methods)


class Model(_core.Quick, Exports, WritesLightGBM):
    """A fitted model, usually from `corten.load`.

    It has the methods that the fitted estimator had (`predict`, `predict_proba`, `decision_function`, `transform`),
    and for single rows given as a dict `predict_one`, `predict_proba_one`, `decision_function_one` and
    `transform_one`, which are calls into Rust without anything between.

    Parameters
    ----------
    core : corten._core.Model
        The model in Rust.

    Attributes
    ----------
    schema : dict
        The columns that it reads: `named`, and for each of `inputs` its `name`, `kind` and `dtype`.
    metadata : dict
        Facts that were saved with it.
    methods : list of str
        What it can be asked for.
    classes_ : ndarray
        The classes, for a classifier.
    feature_names_in_ : ndarray of str objects
        The names of the columns, where they are found by name.

    Examples
    --------
    >>> import corten, tempfile, os
    >>> from corten.linear_model import LogisticRegression
    >>> path = os.path.join(tempfile.mkdtemp(), "m.corten")
    >>> LogisticRegression().fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"]).save(path)
    >>> model = corten.load(path)
    >>> model.predict([[0.0], [3.0]]).tolist()
    ['no', 'yes']
    >>> model.predict_one({"x0": 3.0})
    'yes'
    """

    predict_one: Callable[[Mapping[str, Any]], Any]
    predict_proba_one: Callable[[Mapping[str, Any]], dict[Any, float]]
    decision_function_one: Callable[[Mapping[str, Any]], Any]
    transform_one: Callable[[Mapping[str, Any]], dict[str, Any]]
    predict_interval_one: Callable[[Mapping[str, Any]], dict[str, float]]
    predict_set_one: Callable[[Mapping[str, Any]], dict[Any, float]]
    classes_: np.ndarray
    feature_names_in_: np.ndarray

    def __init__(self, core: Any) -> None:
        self._core = core
        self._methods = frozenset(core.methods())
        schema = core.schema()
        self._width, self._named = len(schema["inputs"]), schema["named"]
        for method in self._methods:
            # Straight to the builtin: a Python function around it would cost as much as the prediction.
            setattr(self, f"{method}_one", getattr(core, f"{method}_one"))
        output = core.output("predict") if "predict" in self._methods else None
        if output is not None and output.get("classes") is not None:
            self.classes_ = _label_array(output["classes"])
        if self._named:
            self.feature_names_in_ = np.array([i["name"] for i in schema["inputs"]], dtype=object)
        self._few = core.few
        self.__class__ = _kind(frozenset(_QUICK - self._methods))
        # The score from which a row is an outlier: of isolation forests that were converted.
        self._offset: float | None = core.metadata().get("offset")

    @property
    def methods(self) -> list[str]:
        """What the model can be asked for."""
        return list(self._core.methods())

    @property
    def schema(self) -> dict[str, Any]:
        """The columns that the model reads."""
        return dict(self._core.schema())

    @property
    def metadata(self) -> dict[str, Any]:
        """Facts that were saved with the model."""
        return dict(self._core.metadata())

    @property
    def n_features_in_(self) -> int:
        """Number of columns that the model reads."""
        return self._width

    def _run(self, method: str, X: Any) -> Any:
        few = self._few(method, X)
        return self._core.run(method, self._read(X).data) if few is None else few

    def _read(self, X: Any) -> _inputs.Input:
        X = _inputs.only(X, self.feature_names_in_ if self._named else None)
        inputs = _inputs.read(X, "Model", sparse=True, text=True)
        if inputs.width != self._width and (inputs.names is None or not self._named):
            raise ValueError(f"X has {inputs.width} features, but Model is expecting {self._width} features as input.")
        return inputs

    def _answer(self, method: str, X: Any) -> np.ndarray:
        """What `predict`, `predict_proba` and `decision_function` answer to more than a few rows of an array."""
        out: np.ndarray = self._run(method, X)
        if method == "predict" and "classes_" in self.__dict__:
            return self.classes_[out.ravel().astype(np.intp)]
        return out.ravel() if method != "predict_proba" and out.ndim == 2 and out.shape[1] == 1 else out

    @available_if(lambda self: self._offset is not None)
    def score_samples(self, X: Any) -> np.ndarray:
        """The score of each row by an isolation forest: the lower, the more of an outlier.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        scores: np.ndarray = self.decision_function(X) + self._offset
        return scores

    @_has("predict_interval")
    def predict_interval(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Predicts each row's target and an interval that holds it with the confidence that it was calibrated to.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        predictions : ndarray of shape (n_samples,)
        intervals : ndarray of shape (n_samples, 2, 1)
            Lower and upper end.
        """
        return self.predict(X), self._run("predict_interval", X)[:, :, None]

    @_has("predict_set")
    def predict_set(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Predicts each row's class and a set of classes that holds it with the confidence it was calibrated to.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        predictions : ndarray of shape (n_samples,)
        sets : ndarray of bool of shape (n_samples, n_classes, 1)
            Which classes are in the set.
        """
        return self.predict(X), self._run("predict_set", X)[:, :, None] != 0

    @_has("transform")
    def transform(self, X: Any) -> np.ndarray:
        """Transforms rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
        """
        return _output.as_array(self._run("transform", X))

    @_has("transform")
    def get_feature_names_out(self) -> np.ndarray:
        """Names of the columns that `transform` gives.

        Returns
        -------
        ndarray of str objects
        """
        return np.array(self._core.output("transform")["names"], dtype=object)

    def explain(self, X: Any, *, interactions: bool = False) -> Any:
        """Explains each row's score by what every feature adds to it: exact path-dependent TreeSHAP.

        Features are the columns that the trees decide by: behind a one-hot encoder, its indicators.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        interactions : bool, default=False
            Tell pairs of features apart.

        Returns
        -------
        shap.Explanation or Explanation
            `values` of shape (n_samples, n_features) or (n_samples, n_features, n_features), followed by n_outputs
            where there is more than one, with `base_values`, `data` and `feature_names`.

        Raises
        ------
        UnsupportedError
            For a model that has no trees, or more than one ensemble of them.
        """
        return explain(self._core, self._read(X), interactions=interactions)

    def update(self, X: Any) -> np.ndarray:
        """Advances a model that has state by some rows, in their order.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_features_out)
            The state after each row, as `transform` gives it.

        Raises
        ------
        ValueError
            For a model without state.
        """
        X = _inputs.only(X, self.feature_names_in_ if self._named else None)
        return np.asarray(self._core.update(_inputs.read(X, "Model", text=True).data))

    def _fitted_model(self) -> Any:
        return self._core

    def save(self, path: str | os.PathLike[str]) -> None:
        """Saves the model, with its present state.

        Parameters
        ----------
        path : path-like
            The file; it is written beside and then put in place at once.
        """
        self._core.save(os.fspath(path))

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_bytes, (self._core.to_bytes(),)

    def __repr__(self) -> str:
        made = self._core.metadata().get("estimator", "")
        return f"<Model of {self.n_features_in_} columns: {', '.join(self.methods)}{'; ' + made if made else ''}>"


#: Methods that a single row may be asked through: whether a model has them must not cost a call.
_QUICK = frozenset({"predict", "predict_proba", "decision_function"})


class _Lacking:
    """A method that models of some kind don't have, as `hasattr` sees it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        raise AttributeError(f"This {owner.__name__!r} has no attribute {self._name!r}")


@functools.cache
def _kind(lacking: frozenset[str]) -> type[Model]:
    """The class of the models that lack some methods."""
    members = {name: _Lacking(name) for name in lacking}
    return type("Model", (Model,), {**members, "__module__": Model.__module__, "__doc__": Model.__doc__})


def _label_array(classes: list[Any]) -> np.ndarray:
    if classes and isinstance(classes[0], str):
        return np.array(classes, dtype=object)
    return np.array(classes)


def _from_bytes(data: bytes) -> Model:
    return Model(_core.from_bytes(data))


def load(path: str | os.PathLike[str]) -> Model:
    """Loads a model file.

    Nothing in a model file can run, and everything in it is checked before it is used.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    Model

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    FormatError
        When it is no model, or a damaged one.
    VersionError
        When a newer version of Corten wrote it.
    """
    return Model(_core.load(os.fspath(path)))
