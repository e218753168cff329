"""Files of every format version give the answers that they gave when they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corten

pl = pytest.importorskip("polars")
FOLDER = Path(__file__).parent.parent / "fixtures" / "models"
FILES = sorted(FOLDER.glob("*/*.corten"))


def _frame(inputs: dict[str, dict[str, list[str | None]]]) -> pl.DataFrame:
    columns = {}
    for name, column in inputs.items():
        if column["kind"] == "number":
            columns[name] = pl.Series([float(v) for v in column["values"]], dtype=pl.Float64)
        else:
            columns[name] = pl.Series(column["values"], dtype=pl.String)
    return pl.DataFrame(columns)


def test_there_are_golden_files() -> None:
    assert len(FILES) >= 20


def _same(answered: Any, expected: list[list[str | None]]) -> bool:
    """Whether labels are the same, and numbers have the same bits."""
    values = np.asarray(answered).reshape(len(expected), -1)
    if values.dtype.kind != "f":
        return [[None if v is None else str(v) for v in row] for row in values.tolist()] == expected
    wanted = np.array([[float(str(v)) for v in row] for row in expected]).reshape(values.shape)
    same = (wanted.view(np.int64) == values.astype(float).view(np.int64)) | (np.isnan(wanted) & np.isnan(values))
    return bool(same.all())


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_golden_files_give_their_answers(path: Path) -> None:
    case = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    model, frame = corten.load(path), _frame(case["inputs"])
    for method, expected in case["outputs"].items():
        assert _same(getattr(model, method)(frame), expected), method
        for row, wanted in zip(frame.to_dicts(), expected, strict=True):
            one = getattr(model, f"{method}_one")(row)
            assert _same([list(one.values()) if isinstance(one, dict) else one], [wanted]), (method, row)
    if "updates" in case:
        assert _same(model.update(frame), case["updates"])
        assert not _same(model.transform(frame), case["outputs"]["transform"])
