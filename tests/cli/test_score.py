"""`corten score`: every row once, whatever stops it."""

from __future__ import annotations

import io
import random
import resource
import shutil
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


@pytest.mark.parametrize("suffix", ["arrow", "feather", "ipc"])
def test_results_in_arrow_are_files_that_are_read_at_random(place: Path, tmp_path: Path, suffix: str) -> None:
    frame = pl.read_parquet(place / "in" / "00.parquet")
    wanted = corten.load(place / "m.corten").predict(frame)
    (tmp_path / "in").mkdir()
    frame.write_ipc(tmp_path / "in" / f"x.{suffix}")
    out = tmp_path / "out" / f"x.{suffix}"
    assert main(["score", str(place / "m.corten"), str(tmp_path / "in" / f"x.{suffix}"), str(out.parent)]) == 0
    assert np.array_equal(pl.read_ipc(out)["prediction"].to_numpy(), wanted)
    assert np.array_equal(pl.scan_ipc(out).collect()["prediction"].to_numpy(), wanted)
    assert np.array_equal(pytest.importorskip("pandas").read_feather(out)["prediction"].to_numpy(), wanted)
    pa = pytest.importorskip("pyarrow")
    with pa.OSFile(str(out)) as file, pa.ipc.open_file(file) as reader:
        last = reader.get_batch(reader.num_record_batches - 1)["prediction"].to_numpy()
        assert np.array_equal(last, wanted[-len(last) :])
    # Once more through the command line, which reads what it writes.
    again = tmp_path / "again.csv"
    assert main(["predict", str(place / "m.corten"), str(tmp_path / "in" / f"x.{suffix}"), "-o", str(again)]) == 0
    assert np.array_equal(pl.read_csv(again)["prediction"].to_numpy(), wanted)


def test_streams_of_arrow_stay_streams(place: Path, tmp_path: Path) -> None:
    source, model = place / "in" / "00.parquet", str(place / "m.corten")
    wanted = corten.load(model).predict(pl.read_parquet(source))
    pl.read_parquet(source).write_ipc_stream(tmp_path / "x.arrows")
    assert main(["score", model, str(tmp_path / "x.arrows"), str(tmp_path / "out")]) == 0
    command = [sys.executable, "-m", "corten", "predict", model, str(source), "-o", "-", "--format", "arrow"]
    printed = subprocess.run(command, capture_output=True, check=True).stdout
    for given in (tmp_path / "out" / "x.arrows", io.BytesIO(printed)):
        assert np.array_equal(pl.read_ipc_stream(given)["prediction"].to_numpy(), wanted)


def test_tables_without_rows_must_have_the_columns_too(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lacks, has = pl.DataFrame(schema={"a": pl.Float64}), pl.DataFrame(schema={"b": pl.Null, "a": pl.Float64})
    for suffix, write in {
        "parquet": pl.DataFrame.write_parquet,
        "arrow": pl.DataFrame.write_ipc,
        "arrows": pl.DataFrame.write_ipc_stream,
        "csv": pl.DataFrame.write_csv,
    }.items():
        source, out = tmp_path / f"x.{suffix}", tmp_path / f"out-{suffix}"
        write(lacks, source)
        assert main(["score", str(place / "m.corten"), str(source), str(out)]) == 1
        assert f"x.{suffix}: Column 'b' is missing from the input; it has: 'a'." in capsys.readouterr().err
        write(has, source)
        out = tmp_path / f"made-{suffix}"
        assert main(["score", str(place / "m.corten"), str(source), str(out), "--format", "csv"]) == 0
        assert (out / "x.csv").read_text() == "prediction\n"
    pl.DataFrame().write_parquet(tmp_path / "x.parquet")
    assert main(["score", str(place / "m.corten"), str(tmp_path / "x.parquet"), str(tmp_path / "more")]) == 1
    assert "Column 'a' is missing from the input, which has no columns." in capsys.readouterr().err


def test_names_may_be_as_long_as_file_systems_take(place: Path, tmp_path: Path) -> None:
    model, source = corten.load(place / "m.corten"), place / "in" / "00.parquet"
    for name in ("x" * 247 + ".parquet", "ø" * 123 + "x.parquet"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(source.read_bytes())
        assert main(["score", str(place / "m.corten"), str(tmp_path / "in" / name), str(tmp_path / "out")]) == 0
        assert pl.read_parquet(tmp_path / "out" / name).height == ROWS
        target = tmp_path / name
        assert main(["predict", str(place / "m.corten"), str(source), "-o", str(target)]) == 0
        assert pl.read_parquet(target).height == ROWS
        target.unlink()
        model.save(target)
        assert corten.load(target).schema == model.schema
        target.unlink()
        if shutil.which("gcc"):
            model.export_c(target)
            target.unlink()


def test_empty_names_are_refused(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(place / "m.corten")
    for arguments, said in (
        ([model, "", str(tmp_path / "out")], "'': there is no such file"),
        ([model, str(place / "in" / "00.parquet"), ""], "'output' argument must be a folder"),
    ):
        assert main(["score", *arguments]) == 1
        assert said in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["score", model, ""])
    assert not (tmp_path / "out").exists()


def test_a_disk_that_fills_names_the_result_and_not_what_it_is_called_meanwhile(place: Path, tmp_path: Path) -> None:
    for format in ("parquet", "arrow", "csv", "jsonl"):
        command = [sys.executable, "-m", "corten", "score", str(place / "m.corten"), str(place / "in" / "00.parquet")]
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # noqa: E731
        done = subprocess.run(
            [*command, str(tmp_path / "out"), "--format", format], capture_output=True, text=True, preexec_fn=limit
        )
        assert done.returncode == 1
        wanted = f"corten: {place}/in/00.parquet: {tmp_path}/out/00.{format}: can't be written: File too large"
        assert done.stderr.startswith(wanted), done.stderr
        assert not [p for p in (tmp_path / "out").iterdir() if "00." in p.name]
        shutil.rmtree(tmp_path / "out")


@pytest.mark.parametrize("format", ["csv", "jsonl", "arrow"])
def test_other_formats_hold_the_same_numbers(place: Path, tmp_path: Path, format: str) -> None:
    source = str(place / "in" / "00.parquet")
    assert main(["score", str(place / "m.corten"), source, str(tmp_path), "--format", format]) == 0
    read = {"csv": pl.read_csv, "jsonl": pl.read_ndjson, "arrow": pl.read_ipc}[format]
    wanted = corten.load(place / "m.corten").predict(pl.read_parquet(source))
    assert np.array_equal(read(tmp_path / f"00.{format}")["prediction"].to_numpy(), wanted)
