"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], permissions: int = 0o666) -> Iterator[BinaryIO]:
    """A file to write that takes its place when the block ends well; what is no file, as a pipe, is written as it is.

    Parameters
    ----------
    path : path-like
        The file. What a link leads to is replaced, not the link.
    permissions : int
        As new files get them: less what the process keeps back.

    Raises
    ------
    OSError
        When the file can't be written; nothing is left then.
    """
    target = Path(path).resolve()
    if target.exists() and not target.is_file():
        with target.open("wb") as device:
            yield device
        return
    try:
        # File systems take names of 255 bytes, this one's included.
        head = target.name.encode()[:200].decode(errors="ignore")
        handle, beside = tempfile.mkstemp(prefix=f".{head}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            kept_back = os.umask(0)
            os.umask(kept_back)
            os.chmod(beside, permissions & ~kept_back)
            os.replace(beside, target)
        except BaseException:
            Path(beside).unlink(missing_ok=True)
            raise
    except OSError as error:
        if error.errno is None:
            raise
        # Writing fails without a name, making and renaming with that of the temporary file.
        raise OSError(error.errno, os.strerror(error.errno), str(path)) from error
