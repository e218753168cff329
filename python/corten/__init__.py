"""Train in Python, run in Rust: machine learning whose models outlive the notebook.

Estimators follow scikit-learn's conventions and live in modules of the same names; what they fit becomes one model
file that gives the same numbers in Python, in a server and in a single executable. Importing this package costs NumPy
and nothing else: submodules load when they are first used.

Examples
--------
>>> import corten
>>> from corten.linear_model import Ridge
>>> model = Ridge(alpha=1e-9).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
>>> model.predict([[3.0]]).round(6)
array([7.])
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import (
        compose,
        conformal,
        datasets,
        ensemble,
        exceptions,
        impute,
        inspection,
        linear_model,
        pipeline,
        preprocessing,
        streaming,
        tree,
    )
    from ._convert import convert
    from ._model import Model, load
    from ._serve import serve

__all__ = [
    "Model",
    "compose",
    "conformal",
    "convert",
    "datasets",
    "ensemble",
    "exceptions",
    "impute",
    "inspection",
    "linear_model",
    "load",
    "pipeline",
    "preprocessing",
    "serve",
    "streaming",
    "tree",
]

#: Modules with the names of engines: `from corten import *` would hide the engines behind them.
_ENGINES = frozenset({"datafusion", "distributed", "duckdb", "mlflow", "polars"})
_MODULES = (frozenset(__all__) - {"Model", "convert", "load", "serve"}) | _ENGINES
_NAMES = {"Model": "._model", "convert": "._convert", "load": "._model", "serve": "._serve"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name in _NAMES:
        value = getattr(importlib.import_module(_NAMES[name], __name__), name)
        globals()[name] = value
        return value
    if name == "__version__":
        from ._core import __version__

        return __version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ENGINES, "__version__"})
