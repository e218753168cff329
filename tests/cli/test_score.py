"""`corten score`: every row once, whatever stops it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import corten
from corten._cli import main
from corten.linear_model import LinearRegression

FILES, ROWS = 12, 20_000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("score")
    rng = np.random.default_rng(0)
    (folder / "in").mkdir()
    for i in range(FILES):
        frame = pl.DataFrame({"a": rng.normal(size=ROWS), "b": rng.normal(size=ROWS)})
        frame.write_parquet(folder / "in" / f"{i:02}.parquet")
    LinearRegression().fit(frame, frame["a"] * 3 + frame["b"]).save(folder / "m.corten")
    return folder


def _right(place: Path, out: Path) -> None:
    model = corten.load(place / "m.corten")
    assert sorted(p.name for p in out.iterdir() if not p.name.startswith(".")) == [
        f"{i:02}.parquet" for i in range(FILES)
    ]
    for source in sorted((place / "in").iterdir()):
        wanted = model.predict(pl.read_parquet(source))
        assert np.array_equal(pl.read_parquet(out / source.name)["prediction"].to_numpy(), wanted)


def test_killed_fifty_times_no_row_is_lost_or_doubled(place: Path, tmp_path: Path) -> None:
    out, moments = tmp_path / "out", random.Random(7)
    command = [
        sys.executable,
        "-m",
        "corten",
        "score",
        str(place / "m.corten"),
        str(place / "in" / "*.parquet"),
        str(out),
    ]
    start = time.monotonic()
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
    whole = time.monotonic() - start
    hit = cut = 0
    for _ in range(500):
        # Most are taken away again, so that there is work.
        there = sorted(out.glob("[0-9]*.parquet"))
        for done in moments.sample(there, k=len(there) * 3 // 4):
            done.unlink()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.0, whole))
        hit += process.poll() is None
        process.kill()
        process.wait()
        cut += bool(list(out.glob(".*part*")))
        for done in out.glob("[0-9]*.parquet"):
            assert pl.scan_parquet(done).select(pl.len()).collect().item() == ROWS
        if hit == 50:
            break
    # A run that had ended before the kill doesn't count; some kills must have met a file half written.
    assert hit == 50 and cut > 0
    assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
    _right(place, out)
    assert not list(out.glob(".*part*"))


def test_what_is_there_is_left_alone_and_another_model_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["score", str(place / "m.corten"), str(place / "in" / "*.parquet"), str(tmp_path / "out")]
    assert main(arguments) == 0
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*.parquet")}
    assert main(arguments) == 0 and before == {p: p.stat().st_mtime_ns for p in before}
    assert "12 files were there" in capsys.readouterr().err
    assert main([*arguments, "--format", "csv"]) == 1
    assert "begun with another --format;" in capsys.readouterr().err
    assert main([*arguments[:2], "nothing*.csv", arguments[3]]) == 1
    assert "no such file" in capsys.readouterr().err
    assert main([*arguments[:3], str(place / "in")]) == 1
    assert "take its place" in capsys.readouterr().err


def test_results_of_other_inputs_are_refused(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = next((place / "in").glob("*.parquet"))
    (tmp_path / "in").mkdir()
    mine, out = tmp_path / "in" / "mine.parquet", tmp_path / "out"
    mine.write_bytes(source.read_bytes())
    arguments = ["score", str(place / "m.corten"), str(mine), str(out)]
    # A file that isn't from here.
    out.mkdir()
    (out / "mine.parquet").write_bytes(source.read_bytes())
    assert main(arguments) == 1
    assert "mine.parquet: is there, but not made from" in capsys.readouterr().err
    assert (out / "mine.parquet").read_bytes() == source.read_bytes()
    (out / "mine.parquet").unlink()
    assert main(arguments) == 0
    made = (out / "mine.parquet").read_bytes()
    # An input that has changed since.
    pl.read_parquet(mine).head(10).write_parquet(mine)
    assert main(arguments) == 1
    assert "as it is now; remove it, or choose an empty folder" in capsys.readouterr().err
    assert (out / "mine.parquet").read_bytes() == made
    (out / "mine.parquet").unlink()
    assert main(arguments) == 0 and pl.read_parquet(out / "mine.parquet").height == 10
    # More files than before are scored.
    other = tmp_path / "in" / "other.parquet"
    other.write_bytes(source.read_bytes())
    assert main([*arguments[:2], str(tmp_path / "in" / "*.parquet"), str(out)]) == 0
    assert "1 files were there" in capsys.readouterr().err
    for broken in ("[]", "garbage", '{"inputs": []}'):
        (out / ".corten-score.json").write_text(broken)
        assert main(arguments) == 1
        assert "is no note of corten score" in capsys.readouterr().err


def test_what_stops_it_names_the_file(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = pl.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    frame.write_parquet(tmp_path / "good.parquet")
    frame.drop("b").write_parquet(tmp_path / "lacks.parquet")
    frame.with_columns(b=pl.lit("x")).write_csv(tmp_path / "text.csv")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "good.parquet").read_bytes()[:-20])
    out, model = tmp_path / "out", str(place / "m.corten")
    for name, said in (("lacks.parquet", "'b' is missing"), ("text.csv", "'b'"), ("cut.parquet", "no Parquet file")):
        assert main(["score", model, str(tmp_path / "good.parquet"), str(tmp_path / name), str(out)]) == 1
        error = capsys.readouterr().err
        assert said in error and error.count(name) == 1
        assert [p.name for p in out.iterdir() if not p.name.startswith(".")] == ["good.parquet"]
    assert main(["score", model, str(tmp_path), str(out)]) == 1
    assert "is a folder" in capsys.readouterr().err


def test_columns_that_the_model_does_not_read_may_be_anything(place: Path, tmp_path: Path) -> None:
    frame = pl.read_parquet(place / "in" / "00.parquet")
    extra = frame.with_columns(when=pl.date_range(pl.date(2000, 1, 1), pl.date(2000, 1, 1)).first(), l=pl.lit([1, 2]))
    extra.select("when", "b", "l", "a").write_parquet(tmp_path / "more.parquet")
    assert main(["score", str(place / "m.corten"), str(tmp_path / "more.parquet"), str(tmp_path / "out")]) == 0
    wanted = corten.load(place / "m.corten").predict(frame)
    assert np.array_equal(pl.read_parquet(tmp_path / "out" / "more.parquet")["prediction"].to_numpy(), wanted)


@pytest.mark.parametrize("format", ["csv", "jsonl", "arrow"])
def test_other_formats_hold_the_same_numbers(place: Path, tmp_path: Path, format: str) -> None:
    source = str(place / "in" / "00.parquet")
    assert main(["score", str(place / "m.corten"), source, str(tmp_path), "--format", format]) == 0
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "arrow": pl.read_ipc_stream}[format]
    wanted = corten.load(place / "m.corten").predict(pl.read_parquet(source))
    assert np.array_equal(read(tmp_path / f"00.{format}")["prediction"].to_numpy(), wanted)
