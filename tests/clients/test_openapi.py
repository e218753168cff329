"""The HTTP interface asked whatever its own description allows, and what it doesn't: nothing but what the description says
comes back, and no server error but 503 and a deadline that the request itself set."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from golden import server_binary, serving

schemathesis: Any = pytest.importorskip("schemathesis", reason="needs schemathesis: requirements/clients.txt")
if server_binary() is None:
    pytest.skip("corten-serve is not built", allow_module_level=True)

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis.errors import Unsatisfiable  # noqa: E402
from schemathesis import GenerationMode, checks  # noqa: E402

EXAMPLES = int(os.environ.get("CORTEN_EXAMPLES", "8"))
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]


@pytest.fixture
def operations() -> Iterator[list[Any]]:
    """What a server says that it answers; it loads and unloads too."""
    with serving("--admin") as reached:
        schema = schemathesis.openapi.from_url(f"http://{reached.http}/openapi.json")
        # A model that was unloaded answers nothing more.
        yield sorted((found.ok() for found in schema.get_all_operations()), key=lambda o: o.path.endswith("unload"))


@pytest.mark.binaries
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fits", "does_not_fit"])
def test_answers_are_as_described(operations: list[Any], mode: Any) -> None:
    assert len(operations) > 40
    counts: dict[int, int] = {}
    for operation in operations:

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            response = case.call()
            counts[response.status_code] = counts.get(response.status_code, 0) + 1
            late = any(name.lower() == "timeout" for name in case.headers or {}) or "timeout" in str(case.body)
            allowed = {503, 504} if late else {503}
            assert response.status_code < 500 or response.status_code in allowed, response.text
            case.validate_response(response, checks=CHECKS)

        try:
            ask()
        except Unsatisfiable:
            # Nothing of an operation without parameters doesn't fit.
            if mode is GenerationMode.POSITIVE:
                raise
    usual = 200 if mode is GenerationMode.POSITIVE else 400
    assert counts.get(usual, 0) > 20, counts
