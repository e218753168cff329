"""Parameters of estimators: read, set, shown and cloned by the rules of scikit-learn, without it."""

from __future__ import annotations

import copy
import inspect
from typing import Any, Self

import numpy as np

from .exceptions import ParameterError

_signatures: dict[Any, dict[str, Any]] = {}


def signature(cls: Any) -> dict[str, Any]:
    """The constructor's parameters with their defaults, in the order of the constructor."""
    if cls not in _signatures:
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        _signatures[cls] = {p.name: p.default for p in parameters if p.kind not in kinds}
    return _signatures[cls]


def clone(estimator: Any) -> Any:
    """An unfitted copy: of one of ours, of anything that scikit-learn can clone, or of a container of those."""
    if isinstance(estimator, (list, tuple, set, frozenset)):
        return type(estimator)([clone(e) for e in estimator])
    if hasattr(estimator, "__sklearn_clone__") and not isinstance(estimator, type):
        return estimator.__sklearn_clone__()
    if hasattr(estimator, "get_params") and not isinstance(estimator, type):
        from sklearn.base import clone as theirs

        return theirs(estimator)
    return copy.deepcopy(estimator)


def same(a: Any, b: Any) -> bool:
    """Whether a parameter has its default value."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and a != a:
        return bool(b != b)
    return repr(a) == repr(b)


class Parameters:
    """`get_params`, `set_params`, `repr` and cloning."""

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return sorted(signature(cls))

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of this estimator.

        Parameters
        ----------
        deep : bool, default=True
            Whether to list the parameters of estimators inside this one too, as `name__parameter`.

        Returns
        -------
        dict
            Parameter names with their values.
        """
        out: dict[str, Any] = {}
        for name in self._get_param_names():
            value = getattr(self, name)
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                out.update((f"{name}__{k}", v) for k, v in value.get_params().items())
            out[name] = value
        return out

    def set_params(self, **params: Any) -> Self:
        """Sets parameters of this estimator, or of those inside it as `name__parameter`.

        Parameters
        ----------
        **params : dict
            Parameter names with their new values.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a name that is no parameter.
        """
        if not params:
            return self
        valid = self.get_params(deep=True)
        nested: dict[str, dict[str, Any]] = {}
        for key, value in params.items():
            name, delimiter, rest = key.partition("__")
            if name not in valid:
                local = self._get_param_names()
                raise ParameterError(
                    f"Invalid parameter {name!r} for estimator {self}. Valid parameters are: {local!r}."
                )
            if delimiter:
                nested.setdefault(name, {})[rest] = value
            else:
                setattr(self, name, value)
                valid[name] = value
        for name, inner in nested.items():
            valid[name].set_params(**inner)
        return self

    def __sklearn_clone__(self) -> Self:
        other = type(self)(**{k: clone(v) for k, v in self.get_params(deep=False).items()})
        for name in ("_routing", "_sklearn_output_config"):
            if name in self.__dict__:
                setattr(other, name, copy.deepcopy(getattr(self, name)))
        return other

    def _changed(self) -> dict[str, Any]:
        """The parameters that differ from their defaults."""
        return {k: getattr(self, k) for k, d in signature(type(self)).items() if not same(getattr(self, k), d)}

    def __repr__(self) -> str:
        inner = ", ".join(f"{k}={_short(v)}" for k, v in self._changed().items())
        return f"{type(self).__name__}({inner})"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 400 or hasattr(value, "get_params") else text[:397] + "..."


def plain(value: Any) -> Any:
    """A parameter as the extension takes it: plain Python values, "NaN" for NaN, None for types and callables."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else {np.inf: "inf", -np.inf: "-inf"}.get(value, "NaN")
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, np.ndarray):
        return [plain(v) for v in value.tolist()]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if type(value).__name__ in ("NAType", "NaTType"):
        return "NaN"
    if isinstance(value, type) or callable(value) or isinstance(value, np.dtype):
        return None
    return str(value)


def seed(random_state: Any) -> int:
    """A seed of 63 bits from None, an int or a NumPy generator.

    Raises
    ------
    ValueError
        For anything else.
    """
    if random_state is None:
        return int(np.random.mtrand._rand.randint(0, 2**63 - 1, dtype=np.int64))  # type: ignore[attr-defined]
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        if 0 <= random_state < 2**63:
            return int(random_state)
    elif isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, 2**63 - 1, dtype=np.int64))
    elif isinstance(random_state, np.random.Generator):
        return int(random_state.integers(0, 2**63 - 1))
    raise ParameterError(
        "The 'random_state' parameter must be an int in the range [0, 2**63), an instance of "
        f"'numpy.random.RandomState' or None. Got {random_state!r} instead."
    )
