"""Fits on files and streams: what may be given, and how it is read more than once."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import tempfile
from collections.abc import Iterator
from typing import Any

from .. import _core
from .._inputs import listed
from ..exceptions import MissingColumnError, ParameterError

#: Where nothing else is said: the share of the free memory that binned rows may take, and the share of them that stays in
#: memory. The system keeps the file of the others in its cache as far as it has room.
FREE, KEPT = 0.25, 0.5

_UNITS = {"": 1, "b": 1, "kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40}


def is_files(X: Any) -> bool:
    """Whether rows are given as paths, or as a stream that can be read once."""
    if isinstance(X, (str, os.PathLike)):
        return True
    if isinstance(X, (list, tuple)):
        return bool(X) and all(isinstance(x, (str, os.PathLike)) for x in X)
    return hasattr(X, "__arrow_c_stream__") and not (hasattr(X, "shape") or hasattr(X, "num_rows"))


def paths(X: Any) -> list[str]:
    """The files of a path, a pattern, a folder, or a list of those, in the order of their names.

    Raises
    ------
    FileNotFoundError
        Where there are none.
    """
    if isinstance(X, (list, tuple)):
        return [path for one in X for path in paths(one)]
    name = os.fspath(X)
    if os.path.isdir(name):
        name = os.path.join(glob.escape(name), "*.parquet")
    if os.path.exists(name):
        return [name]
    found = sorted(glob.glob(name, recursive=True))
    if not found:
        raise FileNotFoundError(f"{os.fspath(X)!r} names no file that is there")
    return found


@contextlib.contextmanager
def opened(X: Any) -> Iterator[Any]:
    """Files that can be read as often as needed; a stream is written to one, which is gone afterwards.

    Raises
    ------
    OSError
        Where a file can't be read, or written.
    ValueError
        Where a file is damaged, or of an unknown format.
    """
    if not hasattr(X, "__arrow_c_stream__"):
        yield _core.Files(paths(X))
        return
    with tempfile.TemporaryDirectory(prefix="corten-") as folder:
        path = os.path.join(folder, "rows.arrow")
        _core.spool(X, path)
        yield _core.Files([path])


def columns(files: Any, what: str, given: Any) -> list[str]:
    """Columns of a parameter that is named by one column or several.

    Raises
    ------
    ParameterError
        Where it isn't.
    MissingColumnError
        Where one isn't there.
    """
    if given is None:
        return []
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, (list, tuple)) else [given]
    for name in names:
        if not isinstance(name, str):
            raise ParameterError(
                f"The {what!r} parameter must be the name of a column of the files. Got {type(name).__name__} instead."
            )
        if name not in files.names:
            raise MissingColumnError(f"Column '{name}' is missing from the files; they have: {listed(files.names)}.")
    return names


def features(files: Any, target: Any, weight: Any, *others: str) -> list[str]:
    """The columns beside those of targets, weights and others.

    Raises
    ------
    ParameterError
        Where those aren't named.
    MissingColumnError
        Where one isn't there.
    """
    columns(files, "y", [target])
    columns(files, "sample_weight", weight if weight is None else [weight])
    return [name for name in files.names if name not in (target, weight, *others)]


def memory(given: Any) -> tuple[int, float]:
    """Most bytes of binned rows to keep in memory, and most of their share, from bytes or text such as "4GB".

    Raises
    ------
    ParameterError
        For anything else.
    """
    if given is None:
        return int(FREE * _free()), KEPT
    if isinstance(given, (int, float)) and not isinstance(given, bool) and 0 <= given < float("inf"):
        return int(given), 1.0
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?b?)\s*", str(given).lower())
    if found is None or isinstance(given, bool):
        raise ParameterError(
            f"The 'memory' parameter must be None, a number of bytes or a str such as '4GB'. Got {given!r} instead."
        )
    unit = found[2] if found[2] in _UNITS else found[2] + "b"
    return int(float(found[1]) * _UNITS[unit]), 1.0


def _free() -> int:
    """Bytes of memory that this process may still take."""
    free = 1 << 30
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/meminfo") as info:
        free = next(int(line.split()[1]) << 10 for line in info if line.startswith("MemAvailable:"))
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError), open(f"/sys/fs/cgroup/{name}") as limit:
            free = min(free, int(limit.read()))
    return free
