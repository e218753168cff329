"""The inference server from Python: `corten.serve(...)` starts the binary that has no Python in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .exceptions import UnsupportedError


def binary(name: str) -> str:
    """The path of one of Corten's binaries: `corten-serve`, `corten-run`, `corten-run-arrow`.

    It is looked for at the environment variable of its name (as in `CORTEN_SERVE`), among the scripts of this
    Python, and on the PATH.

    Raises
    ------
    UnsupportedError
        When it is nowhere.
    """
    variable = name.upper().replace("-", "_")
    given = os.environ.get(variable)
    candidates = [given] if given else [os.path.join(sysconfig.get_path("scripts"), name), shutil.which(name)]
    for candidate in candidates:
        if candidate and os.access(candidate, os.X_OK) and os.path.isfile(candidate):
            return candidate
    raise UnsupportedError(
        f"The binary {name} was not found beside this Python or on the PATH; set {variable} to where it is."
    )


def serve(
    model: Any,
    *,
    port: int | None = None,
    host: str | None = None,
    arguments: Sequence[str] = (),
    **popen: Any,
) -> subprocess.Popen[bytes]:
    """Starts the inference server with a model, in a process of its own.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        What to serve; models that are no file yet are saved beside the server's log in a temporary folder.
    port : int, optional
        Where to listen; the server's own default if not given.
    host : str, optional
        The address to listen on; the server's own default if not given.
    arguments : sequence of str
        Further arguments of `corten-serve`.
    **popen : dict
        Passed on to `subprocess.Popen`.

    Returns
    -------
    subprocess.Popen
        The running server: `.terminate()` shuts it down.
    """
    command = [binary("corten-serve"), str(_file(model))]
    if host is not None:
        command += ["--host", host]
    if port is not None:
        command += ["--port", str(port)]
    return subprocess.Popen([*command, *arguments], **popen)


def _file(model: Any) -> Path:
    if isinstance(model, (str, os.PathLike)):
        return Path(model)
    import tempfile

    path = Path(tempfile.mkdtemp(prefix="corten-")) / "model.corten"
    model.save(path)
    return path
