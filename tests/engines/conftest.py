"""Engines that may not be installed: their tests skip and name what is missing, but not where all must be there."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


@pytest.fixture(scope="session")
def engine() -> Any:
    """Gives a module of an engine, by its name and that of the package to install."""

    def load(module: str, package: str) -> Any:
        try:
            return importlib.import_module(module)
        except ImportError as error:
            text = f"{package} isn't installed ({error})"
            if os.environ.get("CORTEN_ENGINES") == "required":
                pytest.fail(text)
            pytest.skip(text)

    return load
