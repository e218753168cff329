"""Servers for the tests, each in a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import corten
from corten._serve import binary
from corten.exceptions import UnsupportedError

Serving = Callable[..., AbstractContextManager[int]]


@contextlib.contextmanager
def _serving(model: Path, *arguments: str) -> Iterator[int]:
    """The port of a server that listens, until the block ends."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = corten.serve(model, port=port, arguments=arguments, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1000):
            assert process.poll() is None, "corten-serve has ended"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.01)
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def serving() -> Serving:
    """Starts `corten-serve` on a free port: `with serving(model, "--option") as port`."""
    try:
        binary("corten-serve")
    except UnsupportedError:
        pytest.skip("corten-serve is not built")
    return _serving
