"""Every example in a docstring runs."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import corten


def _modules() -> list[str]:
    found = pkgutil.walk_packages(corten.__path__, "corten.")
    return ["corten", *(m.name for m in found if m.name not in ("corten.__main__", "corten._core"))]


#: What the examples of a module need beside requirements/dev.txt.
_NEEDS = {"corten.distributed": "dask.dataframe", "corten.mlflow": "mlflow"}


@pytest.mark.parametrize("name", _modules())
def test_examples_of_docstrings_run(name: str) -> None:
    if name in _NEEDS:
        pytest.importorskip(_NEEDS[name])
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0
