"""The Python of the README and of the guides runs, in its order, and its JSON row is a row of the model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.slow
def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    body = re.search(r"curl .*? --json '(.*?)'", README, re.DOTALL)
    assert body is not None
    (row,) = json.loads(body.group(1))["rows"]
    assert names["late"].predict_one(row) in (False, True)
    assert (tmp_path / "flights.corten").exists()


def test_the_guide_to_explanations_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "explaining.md").read_text(), re.DOTALL):
        exec(compile(block, "explaining.md", "exec"), names)
    assert names["pairs"].values.shape == (100, 4, 4) and (tmp_path / "intervals.corten").exists()
