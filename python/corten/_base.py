"""What all estimators share: the fit through the extension's one door, fitted attributes, saving, pickling."""

from __future__ import annotations

import copy
import functools
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from . import _core, _inputs, _output, _targets
from ._export import Exports
from ._inputs import Input
from ._params import Parameters, plain, seed, signature
from ._parts import as_input
from ._progress import Line, Round, Rounds
from ._routing import Routing, ScoreRouting, tags
from .exceptions import not_fitted


@functools.cache
def core_defaults(name: str) -> dict[str, Any]:
    """Parameters that the Rust side of an estimator knows, with its defaults."""
    return dict(_core.defaults(name))


def available_if(check: Callable[[Any], bool]) -> Callable[[Callable[..., Any]], Any]:
    """A method that an object only has when `check(object)` holds, as `hasattr` sees it."""

    class Available:
        def __init__(self, method: Callable[..., Any]) -> None:
            self.method = method
            functools.update_wrapper(self, method)  # type: ignore[arg-type]

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self.method
            if not check(instance):
                raise AttributeError(f"This {type(instance).__name__!r} has no attribute {self.method.__name__!r}")
            return self.method.__get__(instance, owner)

    return Available


def _made() -> dict[str, Any]:
    """Who makes a file and when; the time of reproducible builds where that is set."""
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    return {
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)),
        "corten": _core.__version__,
        "python": sys.version.partition(" ")[0],
        "numpy": np.__version__,
    }


class Savable(Exports):
    """Saving and pickling of anything that has a fitted `_model`."""

    _model: Any

    def __sklearn_is_fitted__(self) -> bool:
        return getattr(self, "_model", None) is not None

    def _fitted_model(self) -> Any:
        if not self.__sklearn_is_fitted__():
            raise not_fitted(self)
        return self._model

    def save(self, path: str | os.PathLike[str], *, metadata: dict[str, Any] | None = None) -> None:
        """Saves what was fitted as one model file.

        Parameters
        ----------
        path : path-like
            The file, usually `*.corten`. It is written beside and then put in place at once.
        metadata : dict, optional
            Facts to keep in the file, such as metrics; values as in JSON.

        Notes
        -----
        The file also holds when and with which versions it was made, the report of the fit, a sketch of the training data
        (bins of each column and of the score, by which a server tells drift), and answers to rows made of its quantiles,
        by which a server checks what it loads. No row of the training data is in it. With the environment
        variable `SOURCE_DATE_EPOCH` set, that is the time it holds, and the same fit gives the same bytes.

        Raises
        ------
        NotFittedError
            Before `fit`.
        OSError
            When the file can't be written; nothing half-written is left.
        """
        model = self._fitted_model()
        model.describe()
        facts = {**_made(), "estimator": repr(self), **(metadata or {})}
        if report := getattr(self, "report_", None):
            # A reproducible file can't tell how long its fit took.
            left_out = {"seconds"} if os.environ.get("SOURCE_DATE_EPOCH") else set()
            facts.setdefault("report", {k: v for k, v in report.items() if k not in left_out})
        model.set_metadata({**model.metadata(), **facts})
        model.save(os.fspath(path))

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        handle = state.pop("_handle", None)
        if handle is not None and self._pickles_state() and (kept := handle.state()) is not None:
            state["_state"] = kept
        if state.get("_model") is not None:
            # The rows that it keeps of its fit don't travel; what they tell does.
            state["_model"].describe()
            state["_model"] = state["_model"].to_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(state.get("_model"), bytes):
            self._model = _core.from_bytes(state["_model"])
        if (kept := self.__dict__.pop("_state", None)) is not None:
            self.__dict__["_handle"] = _core.restore(self._core_name, *kept)  # type: ignore[attr-defined]

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        other = type(self).__new__(type(self))
        state = self.__getstate__()
        state.pop("_state", None)
        other.__setstate__(copy.deepcopy(state, memo))
        if "_handle" in self.__dict__:
            # Never changed, so it can be shared.
            other.__dict__["_handle"] = self.__dict__["_handle"]
        return other

    def _pickles_state(self) -> bool:
        """Whether pickles hold what a later fit goes on from, beside the model."""
        return False

    def _repr_html_(self) -> str:
        from ._html import diagram

        return diagram(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


class Estimator(Savable, Parameters, Routing):
    """An estimator whose fit and model live in Rust under `_core_name`."""

    _core_name: str
    _estimator_type: str | None = None
    _multi_output = False
    _allow_nan = False
    _takes_text = False
    _categorical = False
    #: Whether the state of the fit is kept beside the model.
    _keeps_handle = False
    #: Whether a fit that Ctrl-C stops keeps the rounds that are done.
    _keeps_rounds = False
    n_features_in_: int
    feature_names_in_: np.ndarray
    report_: dict[str, Any]

    def _takes_sparse(self) -> bool:
        return False

    def __sklearn_tags__(self) -> Any:
        return tags(self)

    def _read(self, X: Any, *, reset: bool) -> Input:
        X = X if reset else _inputs.only(X, getattr(self, "feature_names_in_", None))
        inputs = _inputs.read(X, type(self).__name__, sparse=self._takes_sparse(), text=self._takes_text)
        if not reset:
            return _inputs.check_names(inputs, self)
        return inputs

    def _remember(self, inputs: Input) -> None:
        self.n_features_in_ = inputs.width
        if inputs.names is not None:
            self.feature_names_in_ = np.array(inputs.names, dtype=object)
        else:
            self.__dict__.pop("feature_names_in_", None)

    def _core_params(self, inputs: Input) -> dict[str, Any]:
        """The parameters that the Rust side knows."""
        known = core_defaults(self._core_name)
        out = {k: plain(getattr(self, k)) for k in signature(type(self)) if k in known}
        if "random_state" in out:
            out["random_state"] = seed(self.random_state)  # type: ignore[attr-defined]
        if out.get("class_weight") != "balanced_subsample":
            # Multiplied into the sample weights already.
            out.pop("class_weight", None)
        return out

    def _threads(self) -> int | None:
        jobs = getattr(self, "n_jobs", None)
        if jobs is None:
            return None
        return max(1, jobs if jobs > 0 else (os.cpu_count() or 1) + 1 + jobs)

    def _fit_core(
        self,
        inputs: Input,
        target: _targets.Target | None = None,
        sample_weight: np.ndarray | None = None,
        *,
        partial: bool = False,
        previous: Any = None,
        callbacks: Sequence[Callable[[Round], Any]] = (),
        **extras: Any,
    ) -> Self:
        """Fits through the extension's door and takes over attributes and model."""
        if previous is None and (partial or getattr(self, "warm_start", False)):
            previous = getattr(self, "_handle", None)
        line = Line(type(self).__name__) if getattr(self, "verbose", 0) else None
        try:
            handle = _core.fit(
                self._core_name,
                self._core_params(inputs),
                inputs.data,
                None if target is None else target.values,
                classes=None if target is None else target.labels,
                sample_weight=sample_weight,
                previous=previous,
                partial=partial,
                threads=self._threads(),
                progress=Rounds(line, callbacks) if callbacks else line,
                keep=self._keeps_rounds,
                **extras,
            )
        finally:
            if line is not None:
                line.close()
        if target is not None and target.classes is not None:
            self.classes_ = target.classes
        return self._keep(inputs, handle, kept=partial)

    def _keep(self, inputs: Input, handle: Any, *, kept: bool = False) -> Self:
        """Takes over all that a fit gave."""
        self._remember(inputs)
        self._take(handle)
        kept = kept or self._keeps_handle or hasattr(self, "partial_fit") or getattr(self, "warm_start", False)
        self._handle = handle if kept else None
        if handle.signal is not None:
            raise handle.signal
        return self

    def _take(self, handle: Any) -> None:
        """Takes over what was fitted."""
        for name, value in handle.attributes().items():
            self._set_attribute(name, value)
        self.report_ = dict(handle.report())
        self._model = handle.model()

    def _set_attribute(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def _run(self, method: str, X: Any) -> Any:
        model = self._fitted_model()
        if "feature_names_in_" not in self.__dict__:
            few = model.few(method, X)
            if few is not None:
                return few
        inputs = self._read(X, reset=False)
        return model.run(method, inputs.data, threads=self._threads())


class ClassifierMixin(ScoreRouting):
    """`predict`, `predict_proba` and `score` of a classifier."""

    _estimator_type: str | None = "classifier"
    _routed = {"fit": ("sample_weight",), "score": ("sample_weight",)}
    classes_: np.ndarray

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the classifier.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            The class of each row: numbers, booleans or text.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row; 1 each if not given.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For parameters out of range, unusable values, or a target of one class.
        """
        inputs = self._read(X, reset=True)  # type: ignore[attr-defined]
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        target = _targets.classes(y, inputs.rows, type(self).__name__, weights)
        weights = _targets.class_weights(self._class_weight(), target, weights)
        return self._fit_core(inputs, target, weights)  # type: ignore[attr-defined, no-any-return]

    def _class_weight(self) -> Any:
        """The weights of classes that become weights of rows before the fit."""
        given = getattr(self, "class_weight", None)
        if isinstance(given, str) and given == "balanced_subsample" and hasattr(self, "bootstrap"):
            # Each tree weighs the rows drawn for it; without draws all rows are every tree's.
            return None if self.bootstrap else "balanced"
        return given

    def predict(self, X: Any) -> np.ndarray:
        """Predicts the class of each row.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
            Elements of `classes_`.
        """
        index = self._run("predict", X)  # type: ignore[attr-defined]
        return self.classes_[index.ravel().astype(np.intp)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predicts the probability of each class.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        return self._run("predict_proba", X)  # type: ignore[attr-defined, no-any-return]

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Predicts the logarithm of the probability of each class.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose class is predicted.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their classes.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        float
            Accuracy between 0 and 1.
        """
        right = self.predict(X) == _targets.array_of(y).ravel()
        return float(np.average(right, weights=None if sample_weight is None else np.asarray(sample_weight)))


class DecisionMixin:
    """`decision_function` of a classifier."""

    def decision_function(self, X: Any) -> np.ndarray:
        """The score of each class before it becomes a probability.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            With two classes, the score of the second.
        """
        out = self._run("decision_function", X)  # type: ignore[attr-defined]
        return out.ravel() if out.shape[1] == 1 else out


class RegressorMixin(ScoreRouting):
    """`predict` and `score` of a regressor."""

    _estimator_type: str | None = "regressor"
    _routed = {"fit": ("sample_weight",), "score": ("sample_weight",)}

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the regressor.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            The target; also (n_samples, n_targets) where several are taken.
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
        inputs = self._read(X, reset=True)  # type: ignore[attr-defined]
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        multi = self._multi_output  # type: ignore[attr-defined]
        target = _targets.numbers(y, inputs.rows, multi_output=multi)
        self._flat = target.values.ndim == 1
        return self._fit_core(inputs, target, weights)  # type: ignore[attr-defined, no-any-return]

    def predict(self, X: Any) -> np.ndarray:
        """Predicts the target of each row.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        out = self._run("predict", X)  # type: ignore[attr-defined]
        return out.ravel() if self._flat else out

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The coefficient of determination.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            The true values.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        float
            1 at best; 0 for a model that always predicts the mean.
        """
        return r2_score(_targets.array_of(y), self.predict(X), sample_weight)


def r2_score(y: np.ndarray, predicted: np.ndarray, sample_weight: Any = None) -> float:
    """R squared, averaged over the targets."""
    y = y.astype(np.float64)
    if y.ndim != predicted.ndim:
        y, predicted = y.reshape(len(y), -1), predicted.reshape(len(predicted), -1)
    weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if y.ndim == 2:
        weights = weights[:, None]
    left = (weights * (y - predicted) ** 2).sum(axis=0)
    total = (weights * (y - (weights * y).sum(axis=0) / weights.sum()) ** 2).sum(axis=0)
    score = np.where(total != 0, 1 - left / np.where(total != 0, total, 1), np.where(left == 0, 1.0, 0.0))
    return float(np.mean(score))


class TransformerMixin(_output.SetOutput):
    """`transform`, `fit_transform` and the names of what comes out."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fits the transformer.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : None
            Ignored.

        Returns
        -------
        self
        """
        return self._fit_core(self._read(X, reset=True))  # type: ignore[attr-defined, no-any-return]

    def transform(self, X: Any) -> Any:
        """Transforms rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray, frame or sparse matrix of shape (n_samples, n_features_out)
            As chosen with `set_output`.
        """
        self._fitted_model()  # type: ignore[attr-defined]
        inputs = self._read(X, reset=False)  # type: ignore[attr-defined]
        return self._hand_out(inputs, X)

    def _hand_out(self, inputs: Input, original: Any) -> Any:
        return _output.wrap(self._raw(inputs), self._container(), self.get_feature_names_out(), original)

    def _raw(self, inputs: Input) -> Any:
        return self._model.run("transform", inputs.data, threads=self._threads())  # type: ignore[attr-defined]

    def _transform_inner(self, inputs: Input) -> Input:
        """Transforms what went through the door already, for the next step of a pipeline."""
        return as_input(self._raw(inputs), inputs.rows)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fits and transforms the same rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like, optional
            Passed on to `fit`.
        **fit_params : dict
            Passed on to `fit`.

        Returns
        -------
        ndarray, frame or sparse matrix of shape (n_samples, n_features_out)
        """
        inputs = self._read(X, reset=True)  # type: ignore[attr-defined]
        self.fit(inputs, y, **fit_params)
        return self._hand_out(inputs, X)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that come out.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns that go in; those of the fit if not given, else `x0`, `x1`, ...

        Returns
        -------
        ndarray of str objects

        Raises
        ------
        ValueError
            When the names are not those of the fit, or too few or many.
        """
        names = list(self._fitted_model().output("transform")["names"])  # type: ignore[attr-defined]
        if input_features is not None:
            names = rename(self, names, input_features)
        return np.array(names, dtype=object)


def rename(estimator: Any, names: list[str], input_features: Any) -> list[str]:
    """Output names for other names of the inputs."""
    given = [str(n) for n in input_features]
    fitted = getattr(estimator, "feature_names_in_", None)
    if fitted is not None:
        if given != fitted.tolist():
            raise ValueError("input_features is not equal to feature_names_in_")
        return names
    if len(given) != estimator.n_features_in_:
        raise ValueError(
            f"input_features should have length equal to number of features ({estimator.n_features_in_}), got {len(given)}"
        )

    def one(name: str) -> str:
        found = re.match(r"(missingindicator_)?x(\d+)(.*)", name, re.DOTALL)
        return f"{found[1] or ''}{given[int(found[2])]}{found[3]}" if found else name

    return [one(n) for n in names]
