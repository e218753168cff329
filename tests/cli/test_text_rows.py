"""CSV and JSON lines are read by one set of rules: by `corten predict` and `corten score`, and by the executable."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import corten
from corten._cli import main
from corten._serve import binary
from corten.compose import make_column_transformer
from corten.ensemble import HistGradientBoostingRegressor
from corten.exceptions import UnsupportedError
from corten.linear_model import LinearRegression

MARK = "\ufeff"
Rows = list[tuple[float | None, str | None]]
#: What a file of CSV holds, or what the error says.
CSV: dict[str, tuple[str | bytes, Rows | str]] = {
    "plain": ("a,city\n1,x\n2.5,y\n", [(1.0, "x"), (2.5, "y")]),
    "no line's end at the end": ("a,city\n1,x", [(1.0, "x")]),
    "other columns, another order": ("z,city,a\n[1],x,1\n", [(1.0, "x")]),
    "CR LF": ("a,city\r\n1,x\r\n2,y\r\n", [(1.0, "x"), (2.0, "y")]),
    "CR": ("a,city\r1,x\r2,y\r", [(1.0, "x"), (2.0, "y")]),
    "byte order mark": (MARK + "a,city\n1,x\n", [(1.0, "x")]),
    "blank lines": ("\na,city\n\n1,x\n\r\n\n2,y\n\n", [(1.0, "x"), (2.0, "y")]),
    "quotes": ('a,city\n"1","x, ""y"""\n2,"two\nlines"\n3,"""\n', "line 5 | the CSV input ends within quotes"),
    "quotes that close": ('a,city\n"1","x, ""y"""\n2,"two\nlines"\n3,""""\n', [(1.0, 'x, "y"'), (2.0, "two\nlines"), (3.0, '"')]),
    "quotes within a field": ('a,city\n1,5" pipe\n2,a"b"c\n', [(1.0, '5" pipe'), (2.0, 'a"b"c')]),
    "text behind quotes": ('a,city\n1,"x"y\n2,z\n', "line 2 | a field goes on behind its closing quote"),
    "cut within quotes": ('a,city\n1,x\n2,"y', "line 3 | the CSV input ends within quotes"),
    "cut within quotes behind a line": ('a,city\n1,"x\n2,y\n', "line 2 | the CSV input ends within quotes"),
    "cut within a row": ("a,city\n1,x\n2", "line 3 | the record has 1 fields where the header has 2"),
    "too many fields": ("a,city\n1,x,3\n", "line 2 | the record has 3 fields where the header has 2"),
    "missing values": ("a,city\n,\nNaN,\" \"\nNA,NA\n  ,x\n", [(None, None), (None, " "), (None, "NA"), (None, "x")]),
    "words of numbers": ("a,city\ntrue,x\n False ,x\n+.5,x\n 2\t,x\n1.,x\n01,x\n", [(float(v), "x") for v in (1, 0, 0.5, 2, 1, 1)]),
    "text for a number": ("a,city\n1,x\n0x1,y\n", "line 3 | 'a' | '0x1' is no number"),
    "no UTF-8": (b"a,city\n1,x\n2,\xff\n", "line 3 | the record is no UTF-8"),
    "a header twice": ("a,city,a\n1,x,2\n", "'a' | stands in the header twice"),
    "another header twice": ("a,city,z,z\n1,x,2,3\n", [(1.0, "x")]),
    "a header alone": ("a,city\n", []),
    "a header that lacks a column": ("city, a\n", "Column 'a' is missing from the input; it has: 'city', ' a'."),
    "nothing": ("", "is empty; its first line must name the columns"),
    "blank lines alone": ("\n\r\n", "is empty; its first line must name the columns"),
}  # fmt: skip
#: The same for lines of JSON.
JSON: dict[str, tuple[str | bytes, Rows | str]] = {
    "plain": ('{"a": 1, "city": "x"}\n{"city": "y", "a": -2.5e0}', [(1.0, "x"), (-2.5, "y")]),
    "nothing": ("", []),
    "blank lines": ('\n{"a": 1, "city": "x"}\n \r\n\n{"a": 2, "city": "y"}\r\n', [(1.0, "x"), (2.0, "y")]),
    "byte order mark": (MARK + '{"a": 1, "city": "x"}\n', [(1.0, "x")]),
    "lists": ('[1, "x"]\n[null, null]\n', [(1.0, "x"), (None, None)]),
    "a list that is too short": ("[1]\n", "line 1"),
    "missing values": ('{"a": null, "city": null}\n{"a": NaN, "city": NaN}\n', [(None, None), (None, None)]),
    "booleans": ('{"a": true, "city": "x"}\n{"a": false, "city": "x"}\n', [(1.0, "x"), (0.0, "x")]),
    "a key twice": ('{"a": 1, "city": "x", "a": 2}\n', "line 1 | 'a' | comes twice in a row"),
    "another key twice": ('{"a": 1, "z": 1, "z": 2, "city": "x"}\n', [(1.0, "x")]),
    "no key": ('{"a": 1, "city": "x"}\n{"city": "x", "b": 1}\n', "line 2 | 'a' | is missing | has: 'city', 'b'"),
    "no keys": ("{}\n", "line 1 | 'a' | is missing"),
    "a key that comes late": ('{"city": "x"}\n' * 1500 + '{"a": 1, "city": "x"}\n', "line 1 | 'a' | is missing"),
    "a key that goes": ('{"a": 1, "city": "x"}\n' * 1500 + '{"city": "x"}\n', "line 1501 | 'a' | is missing | has: 'city'"),
    "a number of text": ('{"a": "1", "city": "x"}\n', "line 1 | 'a' | holds text where the model reads numbers"),
    "text of a number": ('{"a": 1, "city": 2}\n', "line 1 | 'city' | holds a number where the model reads text"),
    "a list in a column": ('{"a": [1], "city": "x"}\n', "line 1 | 'a' | holds a list or an object"),
    "a list elsewhere": ('{"z": [1, {"a": 2}], "a": 1, "city": "x"}\n', [(1.0, "x")]),
    "escapes": ('{"\\u0061": 1, "city": "\\u00e9\\ud83d\\ude00\\n"}\n', [(1.0, "é😀\n")]),
    "beyond all numbers": ('{"a": 1, "city": "x"}\n{"a": 1e999, "city": "x"}\n', "line 2 | 'a' | infinite"),
    "what JSON doesn't have": ('{"a": 01, "city": "x"}\n', "line 1 | 'a' | a value is expected"),
    "more behind a row": ('{"a": 1, "city": "x"} {}\n', "line 1 | nothing may follow"),
    "cut": ('{"a": 1, "city": "x"}\n{"a": 2, "ci', "line 2 | no end"),
    "no row": ("7\n", "line 1 | is expected"),
    "no UTF-8": (b'{"a": 1, "city": "\xff"}\n', "line 1 | no UTF-8"),
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers a row with what it reads."""
    path = tmp_path_factory.mktemp("text") / "m.corten"
    frame = pl.DataFrame({"a": [1.0, 2.0], "city": ["x", "y"]})
    make_column_transformer(("passthrough", ["a", "city"]), verbose_feature_names_out=False).fit(frame).save(path)
    return path


def _run(model: Path, text: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    try:
        runner = binary("corten-run")
    except UnsupportedError as error:
        print(error)
        pytest.skip(str(error))
    return subprocess.run([runner, model, *options], input=text, capture_output=True, timeout=60)


CASES = [("csv", n) for n in CSV] + [("jsonl", n) for n in JSON]


@pytest.mark.parametrize(("format", "name"), CASES, ids=lambda x: x)
def test_files_are_read_by_the_rules(
    model: Path, format: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, wanted = (CSV if format == "csv" else JSON)[name]
    source, out = tmp_path / f"in.{format}", tmp_path / "out"
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    for target, command in (
        (tmp_path / "out.parquet", ["predict", str(model), str(source), "-o", str(tmp_path / "out.parquet")]),
        (out / "in.parquet", ["score", str(model), str(source), str(out), "--format", "parquet"]),
    ):
        done = main(command)
        error = capsys.readouterr().err
        if isinstance(wanted, str):
            assert done == 1 and not target.exists()
            assert len(error.splitlines()) == 1 and error.count("in." + format) <= 1, error
            assert all(part in error for part in wanted.split(" | ")), error
        else:
            assert done == 0, error
            assert [(a if a == a else None, c) for a, c in pl.read_parquet(target).rows()] == wanted


@pytest.mark.binaries
@pytest.mark.parametrize(("format", "name"), CASES, ids=lambda x: x)
def test_the_executable_reads_by_the_same_rules(model: Path, format: str, name: str) -> None:
    text, wanted = (CSV if format == "csv" else JSON)[name]
    given = text.encode() if isinstance(text, str) else text
    done = _run(model, given, *(["--csv"] if format == "csv" else []))
    lines: list[Any] = [json.loads(line) for line in done.stdout.splitlines()]
    if isinstance(wanted, str):
        assert done.returncode == 1
        assert all(part in done.stderr.decode() for part in wanted.split(" | ")), done.stderr
    else:
        assert done.returncode == 0, done.stderr
        assert [(r["transform"]["a"], r["transform"]["city"]) for r in lines] == wanted


@pytest.mark.binaries
def test_infinite_numbers_are_read_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(400, 1))
    a[::5] = np.nan
    y = np.where(np.isnan(a[:, 0]), 5.0, np.sign(a[:, 0]))
    model, path = (
        HistGradientBoostingRegressor(max_iter=30).fit(pl.DataFrame(a, schema=["a"]), y),
        tmp_path / "m.corten",
    )
    model.save(path)
    values = {"1e999": np.inf, "-1e999": -np.inf, "inf": np.inf, "-Infinity": -np.inf, "NaN": np.nan}
    wanted = model.predict(pl.DataFrame({"a": list(values.values())})).tolist()
    assert len(set(wanted)) == 3
    for format, words in {"csv": values, "jsonl": {"Infinity": 0, "-Infinity": 1, "NaN": 2}}.items():
        answers = wanted if format == "csv" else [wanted[0], wanted[1], wanted[4]]
        text = "a\n" + "\n".join(words) if format == "csv" else "\n".join(f'{{"a": {w}}}' for w in words)
        (tmp_path / f"in.{format}").write_text(text)
        assert main(["predict", str(path), str(tmp_path / f"in.{format}"), "-o", str(tmp_path / "out.parquet")]) == 0
        assert pl.read_parquet(tmp_path / "out.parquet")["prediction"].to_list() == answers
        done = _run(path, text.encode(), *(["--csv"] if format == "csv" else []))
        assert [json.loads(line)["prediction"] for line in done.stdout.splitlines()] == answers


def _predicted(model: Path, file: Path, tmp_path: Path) -> list[float]:
    """What `corten predict` and, where it reads the format, the executable say of a file."""
    out = tmp_path / "out.jsonl"
    assert main(["predict", str(model), str(file), "-o", str(out)]) == 0
    said = [json.loads(line)["prediction"] for line in out.read_text().splitlines()]
    if file.suffix in (".csv", ".jsonl"):
        run = _run(model, file.read_bytes(), *(["--csv"] if file.suffix == ".csv" else []))
        assert run.returncode == 0, run.stderr
        assert [json.loads(line)["prediction"] for line in run.stdout.splitlines()] == said
    return said


def _files(frame: pl.DataFrame, folder: Path) -> list[Path]:
    frame.write_csv(folder / "rows.csv")
    frame.write_parquet(folder / "rows.parquet")
    frame.write_ipc(folder / "rows.arrow")
    return [folder / f"rows.{format}" for format in ("csv", "parquet", "arrow")]


@pytest.mark.binaries
def test_columns_without_names_are_read_by_position_in_every_table(tmp_path: Path) -> None:
    model = tmp_path / "m.corten"
    fitted = LinearRegression().fit(np.eye(3), [1.0, 10.0, 100.0])
    fitted.save(model)
    frame = pl.DataFrame({"x2": [1.0], "x1": [2.0], "x0": [3.0]})
    want = fitted.predict(frame.to_numpy()).tolist()
    for file in _files(frame, tmp_path):
        assert _predicted(model, file, tmp_path) == want, file
    # Objects have no order.
    frame.write_ndjson(tmp_path / "rows.jsonl")
    turned = fitted.predict(frame.select("x0", "x1", "x2").to_numpy()).tolist()
    assert _predicted(model, tmp_path / "rows.jsonl", tmp_path) == turned != want


def test_another_number_of_columns_without_names_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "m.corten"
    LinearRegression().fit(np.eye(3), [1.0, 10.0, 100.0]).save(model)
    for file in _files(pl.DataFrame({"id": [7.0], "x0": [1.0], "x1": [2.0], "x2": [3.0]}), tmp_path):
        assert main(["predict", str(model), str(file), "-o", str(tmp_path / "out.csv")]) == 1, file
        assert "X has 4 features" in capsys.readouterr().err


@pytest.mark.binaries
def test_numbers_of_text_are_singles_where_the_model_was_fitted_on_singles(tmp_path: Path) -> None:
    a = np.linspace(0, 1, 11, dtype=np.float32)
    frame = pl.DataFrame({"a": a, "b": a**2})
    fitted = LinearRegression().fit(frame, np.arange(11.0))
    model = tmp_path / "m.corten"
    fitted.save(model)
    want = fitted.predict(frame).tolist()
    # Text has fewer digits than the same number as a double.
    assert "0.1," in frame.write_csv()
    assert fitted.predict(frame.cast(pl.Float64)).tolist() == want
    doubles = pl.read_csv(frame.write_csv().encode())
    assert fitted.predict(doubles).tolist() != want
    frame.write_ndjson(tmp_path / "rows.jsonl")
    for file in [*_files(frame, tmp_path), tmp_path / "rows.jsonl"]:
        assert _predicted(model, file, tmp_path) == want, file
    loaded = corten.load(model)
    assert [loaded.predict_one(row) for row in doubles.to_dicts()] == want


def test_long_files_of_text_have_the_numbers_of_polars(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = 60_000
    frame = pl.DataFrame(
        {
            "a": rng.normal(size=rows) * 10.0 ** rng.integers(-30, 30, rows),
            "city": [f'{"ø" * (i % 7)}"{i}",\n' if i % 3 else None for i in range(rows)],
            "n": rng.integers(-(2**53), 2**53, rows),
        }
    )
    path = tmp_path / "m.corten"
    make_column_transformer(("passthrough", ["n", "city", "a"]), verbose_feature_names_out=False).fit(frame).save(path)
    frame.write_csv(tmp_path / "in.csv")
    frame.write_ndjson(tmp_path / "in.jsonl")
    wanted = frame.select(pl.col("n").cast(pl.Float64), "city", "a")
    for source in ("in.csv", "in.jsonl"):
        for target, read in {"o.csv": pl.read_csv, "o.jsonl": pl.read_ndjson, "o.arrow": pl.read_ipc}.items():
            assert main(["predict", str(path), str(tmp_path / source), "-o", str(tmp_path / target)]) == 0
            assert read(tmp_path / target).cast({"n": pl.Float64}).equals(wanted), (source, target)
