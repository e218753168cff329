"""The server spoken to by the clients that its users have: NVIDIA's and KServe's, over HTTP and gRPC.

They have requirements of their own (`requirements/clients.txt`), so `.ci/run` runs this in an environment of its own; what
passed between them and the server is recorded in `fixtures/clients` and replayed by `cargo test` without them.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from golden import Addresses, server_binary, serving
from scenarios import ALL, Scenario

pytestmark = pytest.mark.skipif(server_binary() is None, reason="corten-serve is not built")


def _missing(scenario: Scenario) -> str | None:
    needed = ["tritonclient"] if scenario.name.startswith("triton") else ["kserve"]
    needed += ["grpc"] if scenario.protocol == "grpc" else []
    lacking = [name for name in needed if importlib.util.find_spec(name) is None]
    return f"needs {', '.join(lacking)}: requirements/clients.txt" if lacking else None


@pytest.fixture(scope="module")
def addresses() -> Iterator[Addresses]:
    """A server of golden models."""
    with serving("--admin") as reached:
        yield reached


@pytest.mark.binaries
@pytest.mark.parametrize("scenario", ALL, ids=lambda s: s.name)
def test_the_client_is_answered(scenario: Scenario, addresses: Addresses) -> None:
    if reason := _missing(scenario):
        pytest.skip(reason)
    address = getattr(addresses, scenario.protocol)
    if scenario.name.startswith("triton"):
        scenario.run(address)
        return
    # Both clients bring messages of the same names, which one process can't hold.
    script = Path(__file__).with_name("scenarios.py")
    done = subprocess.run([sys.executable, script, scenario.name, address], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
