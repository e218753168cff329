"""Pipelines: transformers one after the other, with an estimator at the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from . import _blocks, _core, _inputs, _output, _targets
from ._base import Savable, available_if, r2_score
from ._explain import explain_step
from ._inputs import Input
from ._params import Parameters, signature
from ._parts import as_input
from .exceptions import ParameterError, UnsupportedError, not_fitted

__all__ = ["Pipeline", "make_pipeline"]


def _skips(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def _final_has(method: str) -> Any:
    return available_if(lambda self: hasattr(self._final, method))


def _transforms(self: Any) -> bool:
    return _skips(self._final) or hasattr(self._final, "transform")


class Pipeline(Savable, Parameters, _output.SetOutput):
    """Transformers one after the other, and an estimator at the end.

    Where all steps are Corten's, the fitted pipeline is one model: `save` writes it as one file, and prediction passes
    through all steps in Rust. Steps of scikit-learn work too, but such a pipeline can't be saved as a model file.

    Parameters
    ----------
    steps : list of (str, estimator)
        Names and steps; "passthrough" leaves one out.
    transform_input : list of str, default=None
        Without effect; there for scikit-learn's signature.
    memory : None
        Without effect; there for scikit-learn's signature.
    verbose : bool, default=False
        Say on stderr which step is being fitted.

    Attributes
    ----------
    named_steps : dict
        The steps by name.
    classes_ : ndarray of shape (n_classes,)
        The classes, where the last step is a classifier.
    n_features_in_ : int
        Number of columns that go in.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    Examples
    --------
    >>> from corten.linear_model import LogisticRegression
    >>> from corten.pipeline import Pipeline
    >>> from corten.preprocessing import StandardScaler
    >>> pipeline = Pipeline([("scale", StandardScaler()), ("classify", LogisticRegression())])
    >>> pipeline.fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]).predict([[0.5], [2.5]])
    array([0, 1])
    """

    def __init__(self, steps: Any, *, transform_input: Any = None, memory: Any = None, verbose: bool = False) -> None:
        self.steps = steps
        self.transform_input = transform_input
        self.memory = memory
        self.verbose = verbose

    @property
    def _final(self) -> Any:
        return self.steps[-1][1] if self.steps else None

    @property
    def _estimator_type(self) -> Any:
        return getattr(self._final, "_estimator_type", None)

    @property
    def named_steps(self) -> dict[str, Any]:
        """The steps by name."""
        return dict(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.steps)

    def __getitem__(self, key: int | str | slice) -> Any:
        if isinstance(key, slice):
            out = type(self)(self.steps[key], memory=self.memory, verbose=self.verbose)
            models = out._models()
            if self.__sklearn_is_fitted__() and models:
                out._model = _core.chain(models)
                first = next(s for _, s in out.steps if not _skips(s))
                names = getattr(first, "feature_names_in_", None)
                out._width, out._names = first.n_features_in_, None if names is None else names.tolist()
                out._fitted = True
            return out
        return self.steps[key][1] if isinstance(key, int) else self.named_steps[key]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of the pipeline and of its steps.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list the steps and their parameters too, as `step__parameter`.

        Returns
        -------
        dict
        """
        out = {k: getattr(self, k) for k in signature(type(self))}
        if deep and isinstance(self.steps, list):
            for name, step in self.steps:
                out[name] = step
                if hasattr(step, "get_params"):
                    out.update((f"{name}__{k}", v) for k, v in step.get_params(deep=True).items())
        return out

    def set_params(self, **params: Any) -> Self:
        """Sets parameters, replaces steps by name, or sets parameters of steps as `step__parameter`.

        Parameters
        ----------
        **params : dict
            Names with their new values.

        Returns
        -------
        self
        """
        if "steps" in params:
            self.steps = params.pop("steps")
        names = [n for n, _ in self.steps]
        for key in [k for k in params if k in names]:
            self.steps = [(n, params[key] if n == key else s) for n, s in self.steps]
            params.pop(key)
        return super().set_params(**params)

    def __sklearn_is_fitted__(self) -> bool:
        return getattr(self, "_fitted", False)

    def _check_steps(self) -> None:
        names = [n for n, _ in self.steps]
        if len(set(names)) != len(names):
            raise ParameterError(f"Names provided are not unique: {names!r}")
        if bad := [n for n in names if "__" in n]:
            raise ParameterError(f"Estimator names must not contain __: got {bad!r}")
        for _, step in self.steps[:-1]:
            if not _skips(step) and not (hasattr(step, "fit") and hasattr(step, "transform")):
                raise TypeError(
                    "All intermediate steps should be transformers and implement fit and transform or be the string "
                    f"'passthrough' '{step}' (type {type(step)}) doesn't"
                )
        if not _skips(self._final) and not hasattr(self._final, "fit"):
            raise TypeError(
                f"Last step of Pipeline should implement fit or be the string 'passthrough'. '{self._final}' (type "
                f"{type(self._final)}) doesn't"
            )

    def _step_params(self, params: dict[str, Any]) -> dict[str, dict[str, Any]]:
        out: dict[str, dict[str, Any]] = {name: {} for name, _ in self.steps}
        for key, value in params.items():
            name, delimiter, rest = key.partition("__")
            if delimiter and name in out:
                out[name][rest] = value
            elif delimiter:
                raise ParameterError(f"Pipeline has no step named '{name}'; its steps are: {', '.join(out)}.")
            elif value is not None:
                wanted = [n for n, s in self.steps if getattr(s, "_routing", {}).get("fit", {}).get(key)]
                for target in wanted or [self.steps[-1][0]]:
                    out[target][key] = value
        return out

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Fits the steps one after the other.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like, optional
            The target of the last step.
        **params : dict
            Passed on to the `fit` of steps: `step__parameter`; others go to the last step.

        Returns
        -------
        self
        """
        self._fit_steps(X, y, params)
        return self

    def _fit_steps(self, X: Any, y: Any, params: dict[str, Any]) -> Input:
        """Fits, and returns what goes into the last step."""
        self._check_steps()
        each = self._step_params(params)
        current = _inputs.read(X, type(self).__name__, sparse=True, text=True)
        self._width, self._names = current.width, current.names
        self._fitted = False
        for at, (name, step) in enumerate(self.steps):
            if _skips(step):
                continue
            if self.verbose:
                import sys

                print(f"[Pipeline] step {at + 1} of {len(self.steps)}: {name}", file=sys.stderr)
            ours = hasattr(step, "_transform_inner") or hasattr(step, "_fit_core")
            step.fit(current if ours else _foreign(current), y, **each[name])
            if at < len(self.steps) - 1:
                if _blocks.passes_sparse(step, current, self.steps[at + 1][1]):
                    current = _inputs.read(_blocks.sparse_result(step, current), type(step).__name__, sparse=True)
                else:
                    current = self._through(step, current)
        models = self._models()
        self._model = None
        if models is not None:
            if models:
                self._model = _core.chain(models)
            else:
                self._model = _core.columns(current.schema(), [(None, "passthrough", list(range(current.width)))])
        self._fitted = True
        return current

    def _models(self) -> list[Any] | None:
        """The models of the steps; None where one isn't Corten's."""
        out = []
        for _, step in self.steps:
            if not _skips(step):
                model = getattr(step, "_model", None)
                if model is None:
                    return None
                out.append(model)
        return out

    @staticmethod
    def _through(step: Any, current: Input) -> Input:
        if hasattr(step, "_transform_inner"):
            out: Input = step._transform_inner(current)
            return out
        return _inputs.read(step.transform(_foreign(current)), type(step).__name__, sparse=True, text=True)

    def _fitted_model(self) -> Any:
        if not self.__sklearn_is_fitted__():
            raise not_fitted(self)
        if self._model is None:
            names = [type(s).__name__ for _, s in self.steps if not _skips(s) and getattr(s, "_model", None) is None]
            raise UnsupportedError(
                f"This pipeline can't become a Corten model, because these steps are not Corten's: {', '.join(names)}."
            )
        return self._model

    def _read(self, X: Any, *, reset: bool) -> Input:
        """Data with the columns that the first step was fitted on."""
        X = X if reset else _inputs.only(X, getattr(self, "_names", None))
        inputs = _inputs.read(X, type(self).__name__, sparse=True, text=True)
        if reset:
            return inputs
        for _, step in self.steps:
            if not _skips(step):
                if hasattr(step, "_read"):
                    found: Input = step._read(inputs, reset=False)
                    return found
                break
        return _inputs.check_names(inputs, self)

    def _before_last(self, X: Any) -> Any:
        """What goes into the last step, for pipelines that are no model."""
        current = self._read(X, reset=False)
        for _, step in self.steps[:-1]:
            if not _skips(step):
                current = self._through(step, current)
        return current if hasattr(self._final, "_fit_core") else _foreign(current)

    def _answer(self, method: str, X: Any) -> Any:
        if not self.__sklearn_is_fitted__():
            raise not_fitted(self)
        if self._model is None:
            return getattr(self._final, method)(self._before_last(X))
        inputs = self._read(X, reset=False)
        raw = self._model.run(method, inputs.data)
        if method == "predict":
            if hasattr(self._final, "classes_"):
                return self._final.classes_[raw.ravel().astype(np.intp)]
            return raw.ravel() if getattr(self._final, "_flat", True) and raw.shape[1] == 1 else raw
        return raw.ravel() if method == "decision_function" and raw.shape[1] == 1 else raw

    @_final_has("predict")
    def predict(self, X: Any) -> np.ndarray:
        """Predicts through all steps.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        out: np.ndarray = self._answer("predict", X)
        return out

    @_final_has("predict_proba")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Predicts the probability of each class through all steps.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        out: np.ndarray = self._answer("predict_proba", X)
        return out

    @_final_has("predict_log_proba")
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithm of `predict_proba`.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @_final_has("decision_function")
    def decision_function(self, X: Any) -> np.ndarray:
        """The last step's scores before they become probabilities.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        out: np.ndarray = self._answer("decision_function", X)
        return out

    def _names_before_last(self) -> list[str] | None:
        """Names of the columns that reach the last step, where the steps before it know them."""
        names: Any = self._names if self._names is not None else [f"x{i}" for i in range(self._width)]
        for _, step in self.steps[:-1]:
            if not _skips(step):
                if not hasattr(step, "get_feature_names_out"):
                    return None
                names = step.get_feature_names_out(names)
        return [str(name) for name in names]

    @_final_has("explain")
    def explain(self, X: Any, *, interactions: bool = False) -> Any:
        """Explains each row's score by what every column that reaches the last step adds to it.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows, as they go into the first step.
        interactions : bool, default=False
            Tell pairs of columns apart.

        Returns
        -------
        shap.Explanation or Explanation
            As the last step's `explain` gives it.
        """
        if not self.__sklearn_is_fitted__():
            raise not_fitted(self)
        return explain_step(self._final, self._before_last(X), self._names_before_last(), interactions=interactions)

    @_final_has("score")
    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """The last step's score: accuracy or R squared.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like
            The true target.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row.

        Returns
        -------
        float
        """
        if self.__sklearn_is_fitted__() and self._model is None:
            extra = {} if sample_weight is None else {"sample_weight": sample_weight}
            return float(self._final.score(self._before_last(X), y, **extra))
        truth, predicted = _targets.array_of(y), self.predict(X)
        if self._estimator_type == "classifier":
            return float(np.average(predicted == truth.ravel(), weights=sample_weight))
        return r2_score(truth, predicted, sample_weight)

    @available_if(_transforms)
    def transform(self, X: Any) -> Any:
        """Transforms through all steps.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out)
        """
        if not self.__sklearn_is_fitted__():
            raise not_fitted(self)
        if self._model is None:
            before = self._before_last(X)
            return before if _skips(self._final) else self._final.transform(before)
        return self._hand_out(self._read(X, reset=False), X)

    def _hand_out(self, inputs: Input, original: Any) -> Any:
        container = self._container()
        steps = [s for _, s in self.steps if not _skips(s)]
        if inputs.sparse is None and not any(getattr(s, "sparse_output", False) for s in steps[-1:]):
            raw = self._model.run("transform", inputs.data)
            return _output.wrap(raw, container, self.get_feature_names_out(), original)
        for step in steps[:-1]:
            inputs = self._through(step, inputs)
        return steps[-1]._hand_out(inputs, original)

    def _transform_inner(self, inputs: Input) -> Input:
        if self._model is None or inputs.sparse is not None:
            for _, step in self.steps:
                if not _skips(step):
                    inputs = self._through(step, inputs)
            return inputs
        return as_input(self._model.run("transform", inputs.data), inputs.rows)

    @available_if(_transforms)
    def fit_transform(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fits and transforms the same rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like, optional
            Passed on to the steps.
        **params : dict
            As in `fit`.

        Returns
        -------
        ndarray or frame of shape (n_samples, n_features_out)
        """
        inputs = _inputs.read(X, type(self).__name__, sparse=True, text=True)
        self.fit(inputs, y, **params)
        return self.transform(inputs) if self._model is None else self._hand_out(self._read(inputs, reset=False), X)

    @available_if(_transforms)
    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that come out.

        Parameters
        ----------
        input_features : array-like of str, optional
            Names of the columns that go in.

        Returns
        -------
        ndarray of str objects
        """
        names = input_features
        if names is None and self.__sklearn_is_fitted__():
            names = self._names if self._names is not None else [f"x{i}" for i in range(self._width)]
        for _, step in self.steps:
            if not _skips(step):
                names = step.get_feature_names_out(names)
        return np.array(names, dtype=object)

    @property
    def classes_(self) -> np.ndarray:
        """The classes of the last step."""
        out: np.ndarray = self._final.classes_
        return out

    @property
    def n_features_in_(self) -> int:
        """Number of columns that go in."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError("'Pipeline' object has no attribute 'n_features_in_'")
        return self._width

    @property
    def feature_names_in_(self) -> np.ndarray:
        """Names of the columns that go in."""
        if not self.__sklearn_is_fitted__() or self._names is None:
            raise AttributeError("'Pipeline' object has no attribute 'feature_names_in_'")
        return np.array(self._names, dtype=object)

    @property
    def report_(self) -> dict[str, Any]:
        """How the fit of the last step went."""
        return dict(getattr(self._final, "report_", {}))

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags, get_tags

        inner = None if _skips(self._final) else get_tags(self._final)
        first = next((s for _, s in self.steps if not _skips(s)), None)
        return Tags(
            estimator_type=inner.estimator_type if inner else None,
            target_tags=inner.target_tags if inner else TargetTags(required=False),
            transformer_tags=inner.transformer_tags if inner else None,
            classifier_tags=inner.classifier_tags if inner else None,
            regressor_tags=inner.regressor_tags if inner else None,
            input_tags=get_tags(first).input_tags if first is not None else InputTags(),
        )

    def get_metadata_routing(self) -> Any:
        """The metadata that the steps ask for, as scikit-learn's `MetadataRouter`."""
        from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

        router = MetadataRouter(owner=self)
        for at, (name, step) in enumerate(self.steps):
            if _skips(step):
                continue
            mapping = MethodMapping().add(caller="fit", callee="fit")
            if at == len(self.steps) - 1 and hasattr(step, "score"):
                mapping.add(caller="score", callee="score")
            router.add(method_mapping=mapping, **{name: step})
        return router


def _foreign(inputs: Input) -> Any:
    """Data for a step that isn't Corten's: what the user gave where nothing happened to it, else an array."""
    if inputs.original is not None:
        return inputs.original
    if inputs.sparse is not None:
        return inputs.sparse
    if isinstance(inputs.data, np.ndarray):
        return inputs.data
    columns = [inputs.column(i) for i in range(inputs.width)]
    return _output.as_array((None, columns)) if inputs.texts else np.column_stack(columns)


def make_pipeline(*steps: Any, memory: Any = None, verbose: bool = False) -> Pipeline:
    """A pipeline whose steps are named after their classes.

    Parameters
    ----------
    *steps : estimators
        The steps.
    memory : None
        Without effect; there for scikit-learn's signature.
    verbose : bool, default=False
        Say on stderr which step is being fitted.

    Returns
    -------
    Pipeline

    Examples
    --------
    >>> from corten.linear_model import Ridge
    >>> from corten.pipeline import make_pipeline
    >>> from corten.preprocessing import StandardScaler
    >>> make_pipeline(StandardScaler(), Ridge(alpha=2.0))
    Pipeline(steps=[('standardscaler', StandardScaler()), ('ridge', Ridge(alpha=2.0))])
    """
    return Pipeline(named(steps), memory=memory, verbose=verbose)


def named(steps: Any) -> list[tuple[str, Any]]:
    """Steps with the lower-case names of their classes, numbered where they repeat."""
    names = [s if isinstance(s, str) else type(s).__name__.lower() for s in steps]
    count: dict[str, int] = {}
    out = []
    for name, step in zip(names, steps, strict=True):
        if names.count(name) > 1:
            count[name] = count.get(name, 0) + 1
            name = f"{name}-{count[name]}"
        out.append((name, step))
    return out
