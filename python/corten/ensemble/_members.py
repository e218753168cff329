"""What ensembles of named or repeated members share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from .. import _core
from .._base import Estimator, Savable
from .._inputs import Input
from .._params import clone, signature
from .._parts import model_of
from ..exceptions import ParameterError


def member(
    model: Any,
    inputs: Input,
    what: str,
    *,
    weight: float = 1.0,
    classes: Any = None,
    columns: Sequence[int] | None = None,
) -> tuple[Any, list[int], Any, float]:
    """A fitted member as the extension takes it: its model, and the places of the columns that it reads."""
    core = model_of(model, what)
    given = list(range(inputs.width)) if columns is None else [int(c) for c in columns]
    names = [i["name"] for i in inputs.schema()["inputs"]]
    place = {names[c]: c for c in given}
    read = [i["name"] for i in core.schema()["inputs"]]
    if columns is not None and inputs.names is None:
        # A table without names gives its columns anew those of their places.
        place = {f"x{i}": c for i, c in enumerate(given)}
    return core, [place[name] for name in read], classes, float(weight)


def fit_member(model: Any, inputs: Input, y: np.ndarray, sample_weight: np.ndarray | None) -> Any:
    """A fitted clone of a member."""
    if not isinstance(model, Savable):
        # Says which one it is, before anything is fitted.
        model_of(model, "An ensemble")
    fresh = clone(model)
    extra = {} if sample_weight is None else {"sample_weight": sample_weight}
    return forget(fresh.fit(inputs, y, **extra))


def forget(model: Any) -> Any:
    """A fitted member without the rows that it keeps of its fit: the ensemble keeps its own."""
    if getattr(model, "_model", None) is not None:
        model._model.forget()
    return model


class Named(Estimator):
    """An ensemble whose members have names."""

    _takes_text = True
    estimators: Any
    estimators_: list[Any]

    @property
    def _allow_nan(self) -> bool:  # type: ignore[override]
        return all(getattr(e, "_allow_nan", False) for _, e in self._pairs())

    def _pairs(self) -> list[tuple[str, Any]]:
        """The members as given, as far as they are names and members."""
        given = self.estimators if isinstance(self.estimators, (list, tuple)) else ()
        return [(p[0], p[1]) for p in given if isinstance(p, (list, tuple)) and len(p) == 2]

    def _fit_core(self, *_: Any, **__: Any) -> Self:
        raise NotImplementedError

    def _named(self) -> list[tuple[str, Any]]:
        given = self.estimators
        if not isinstance(given, (list, tuple)) or not given or len(self._pairs()) != len(given):
            raise ParameterError(
                "Invalid 'estimators' attribute, 'estimators' should be a non-empty list of (string, estimator) tuples."
            )
        names = [n for n, _ in given]
        if len(set(names)) != len(names):
            raise ParameterError(f"Names provided are not unique: {names!r}")
        if bad := [n for n in names if "__" in n]:
            raise ParameterError(f"Estimator names must not contain __: got {bad!r}")
        if bad := sorted(set(names) & set(signature(type(self)))):
            raise ParameterError(f"Estimator names conflict with constructor arguments: {bad!r}")
        kept = [(n, e) for n, e in given if not (isinstance(e, str) and e == "drop")]
        if not kept:
            raise ParameterError("All estimators are dropped. At least one is required to be an estimator.")
        wanted = self._estimator_type
        for name, model in kept:
            found = getattr(model, "_estimator_type", wanted)
            if wanted == "regressor" and found != wanted:
                raise ParameterError(f"The estimator {type(model).__name__} ('{name}') should be a {wanted}.")
        return kept

    @property
    def named_estimators_(self) -> dict[str, Any]:
        """The fitted members by name."""
        return dict(zip([n for n, _ in self._named()], self.estimators_, strict=True))

    @property
    def named_estimators(self) -> dict[str, Any]:
        """The members by name, as given."""
        return dict(self.estimators)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of the ensemble and of its members.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list the members and their parameters too, as `member__parameter`.

        Returns
        -------
        dict
        """
        out = {k: getattr(self, k) for k in sorted(signature(type(self)))}
        if deep:
            final = out.get("final_estimator")
            if final is not None and hasattr(final, "get_params"):
                out.update((f"final_estimator__{k}", v) for k, v in final.get_params(deep=True).items())
            for name, part in self._pairs():
                out[name] = part
                if hasattr(part, "get_params"):
                    out.update((f"{name}__{k}", v) for k, v in part.get_params(deep=True).items())
        return out

    def set_params(self, **params: Any) -> Self:
        """Sets parameters, replaces members by name, or sets parameters of members as `member__parameter`.

        Parameters
        ----------
        **params : dict
            Names with their new values.

        Returns
        -------
        self
        """
        if "estimators" in params:
            self.estimators = params.pop("estimators")
        names = [n for n, _ in self._pairs()]
        for key in [k for k in params if k in names]:
            self.estimators = [(n, params[key] if n == key else e) for n, e in self.estimators]
            params.pop(key)
        return super().set_params(**params)

    def _compose(self, inputs: Input, rule: str, *, weights: Any = None, **kwargs: Any) -> Any:
        """The members' models and a rule as one model."""
        what = type(self).__name__
        shares = [1.0] * len(self.estimators_) if weights is None else weights
        members = [member(e, inputs, what, weight=w) for e, w in zip(self.estimators_, shares, strict=True)]
        model = _core.ensemble(inputs.schema(), members, rule, **kwargs)
        model.see(inputs.data)
        return model

    def _shares(self, weights: Any) -> Any:
        """The weights of the members that aren't dropped."""
        if weights is None:
            return None
        if len(weights) != len(self.estimators):
            raise ParameterError(
                "Number of `estimators` and weights must be equal; got "
                f"{len(weights)} weights, {len(self.estimators)} estimators"
            )
        pairs = zip(self.estimators, weights, strict=True)
        return [float(w) for (_, e), w in pairs if not (isinstance(e, str) and e == "drop")]
