"""Models as source code."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from . import _core


def write_c(
    core: Any, path: str | os.PathLike[str], name: str, method: str | None, quantize: str | None, sample: Any
) -> dict[str, Any]:
    """Writes a model of Rust as C99; see `Model.export_c`."""
    from ._model import Model

    if sample is not None and quantize is None:
        raise ValueError("sample is for measuring the error of a quantized form; quantize must be 'int16' or 'int8'")
    chosen = core if quantize is None else _core.quantize(core, quantize)
    source, report = _core.export_c(chosen, name, method)
    if sample is not None:
        exact, rounded = (Model(c)._run(report["method"], sample) for c in (core, chosen))
        if not isinstance(exact, np.ndarray):
            raise ValueError("the error of a quantized form can be measured on numbers alone; this model answers text")
        error = np.abs(exact - rounded)
        report["max_error"], report["mean_error"] = float(error.max(initial=0.0)), float(error.mean())
    replace_text(Path(os.fspath(path)), source)
    return dict(report)


def replace_text(path: Path, text: str) -> None:
    """Writes a file beside its place, then puts it there at once."""
    target = path.resolve()
    if target.exists() and not target.is_file():
        # A device or a pipe is written to as it is.
        target.write_text(text, encoding="utf-8")
        return
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
