"""What ensembles of one estimator, fitted again and again, share."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .._base import Estimator, Savable
from .._params import clone
from .._parts import model_of
from ..exceptions import ParameterError


def generator(random_state: Any) -> np.random.RandomState:
    """Draws as scikit-learn makes them, so that a seed gives the samples that it gives there."""
    if isinstance(random_state, np.random.RandomState):
        return random_state
    return np.random.RandomState(random_state)


class Repeated(Estimator):
    """An ensemble of one estimator on other rows, columns or weights each time."""

    _takes_text = True
    estimator: Any
    n_estimators: int
    random_state: Any
    estimators_: list[Any]

    @property
    def _allow_nan(self) -> bool:  # type: ignore[override]
        return bool(getattr(self._base(), "_allow_nan", False))

    def _default(self) -> Any:
        raise NotImplementedError

    def _base(self) -> Any:
        return self._default() if self.estimator is None else self.estimator

    def _fit_core(self, *_: Any, **__: Any) -> Self:
        raise NotImplementedError

    def _checked(self) -> Any:
        """The estimator, once it is known that it can be one of these."""
        count = self.n_estimators
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 1:
            raise ParameterError(
                f"The 'n_estimators' parameter must be an int in the range [1, inf). Got {count!r} instead."
            )
        base = self._base()
        if not isinstance(base, Savable):
            model_of(base, f"The estimator of {type(self).__name__}")
        found = getattr(base, "_estimator_type", self._estimator_type)
        if found != self._estimator_type:
            raise ParameterError(f"The estimator {type(base).__name__} should be a {self._estimator_type}.")
        self.estimator_ = base
        return base

    def _fresh(self, base: Any, random: Any) -> Any:
        """A clone with a seed of its own, where it takes one."""
        out = clone(base)
        draws = {k: int(random.randint(np.iinfo(np.int32).max)) for k in sorted(out.get_params()) if _is_seed(k)}
        return out.set_params(**draws) if draws else out


def _is_seed(name: str) -> bool:
    return name == "random_state" or name.endswith("__random_state")
