"""Trees as LightGBM's text model."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from . import _core


def write(model: Any, path: str | os.PathLike[str] | None) -> str:
    """The text of a model in Rust; written to a file too where one is named, which is put in place at once."""
    text = _core.to_lightgbm(model)
    if path is not None:
        target = Path(path)
        handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            # A file made here is private; others get what the process gives new files.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(beside, 0o666 & ~mask)
            os.replace(beside, target)
        except BaseException:
            os.unlink(beside)
            raise
    return text
