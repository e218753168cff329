"""`libcorten` from C: the examples compile with every warning an error, and answer with Python's bits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import corten
from corten.compose import ColumnTransformer
from corten.ensemble import HistGradientBoostingRegressor
from corten.linear_model import LogisticRegression
from corten.pipeline import make_pipeline
from corten.preprocessing import OneHotEncoder, StandardScaler

EXAMPLES = Path(__file__).parents[2] / "examples" / "c"
HEADERS = Path(__file__).parents[2] / "crates" / "corten-run" / "include"
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-O2"]


def _library() -> Path:
    given = os.environ.get("CORTEN_LIB")
    path = Path(given) if given else Path(sysconfig.get_path("data")) / "lib" / "libcorten.so"
    if not path.is_file():
        line = f"libcorten is not installed: {path}"
        print(line)
        pytest.skip(line)
    return path


def _compile(source: str, to: Path, *options: str, standard: str = "c99", compiler: str = "gcc") -> Path:
    if shutil.which(compiler) is None:
        print(f"not installed: {compiler}")
        pytest.skip(f"not installed: {compiler}")
    command = [
        compiler,
        f"-std={standard}",
        *STRICT,
        str(EXAMPLES / source),
        "-I",
        str(HEADERS),
        *options,
        "-o",
        str(to),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return to


def _frame(rows: int) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    size = rng.normal(size=rows)
    size[rng.random(rows) < 0.1] = np.nan
    colour = rng.choice(["red", "grün", "blue"], rows)
    return pl.DataFrame({"colour": colour, "weight": rng.normal(size=rows), "size": size})


def _run(command: list[Any], given: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([str(c) for c in command], input=given, capture_output=True, timeout=60)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("kind", ["trees", "linear"])
def test_a_program_that_links_the_library_answers_with_the_bits_of_python(
    kind: str, compiler: str, tmp_path: Path
) -> None:
    library = _library()
    frame = _frame(2000)
    late = (frame["size"].fill_nan(0.0) + (frame["colour"] == "red").cast(pl.Float64) > 0.3).to_numpy()
    encoded = OneHotEncoder(handle_unknown="ignore")
    if kind == "linear":
        columns = ColumnTransformer([("kind", encoded, ["colour"]), ("scale", StandardScaler(), ["weight"])])
        model: Any = make_pipeline(columns, LogisticRegression())
    else:
        columns = ColumnTransformer([("kind", encoded, ["colour"]), ("rest", "passthrough", ["weight", "size"])])
        model = make_pipeline(columns, corten.ensemble.HistGradientBoostingClassifier(max_iter=20))
    model.fit(frame, late).save(tmp_path / "m.corten")
    link = ["-L", str(library.parent), "-lcorten", f"-Wl,-rpath,{library.parent}"]
    program = _compile("score.c", tmp_path / "score", *link, compiler=compiler)
    rows = frame.with_columns(pl.col("size").fill_nan(None))
    done = _run([program, tmp_path / "m.corten"], rows.select("weight", "size", "colour").write_csv().encode())
    assert done.returncode == 0, done.stderr
    header, *lines = done.stdout.decode().splitlines()
    assert header == "false,true"
    got = np.array([[float(x) for x in line.split(",")] for line in lines])
    assert np.array_equal(got.view(np.int64), corten.load(tmp_path / "m.corten").predict_proba(frame).view(np.int64))


def test_the_example_reads_booleans_as_data_frames_write_them(tmp_path: Path) -> None:
    library = _library()
    frame = pl.DataFrame({"wet": [True, False, None, True] * 20, "size": [0.5, 1.5, 2.5, 3.5] * 20})
    model = corten.ensemble.HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=1)
    model.fit(frame, frame["size"] > 1).save(tmp_path / "m.corten")
    link = ["-L", str(library.parent), "-lcorten", f"-Wl,-rpath,{library.parent}"]
    program = _compile("score.c", tmp_path / "score", *link)
    wanted = model.predict_proba(frame).tolist()
    text = frame.write_csv()
    for written in (text, text.replace("true", "True").replace("false", "FALSE")):
        done = _run([program, tmp_path / "m.corten"], written.encode())
        assert done.returncode == 0, done.stderr
        assert [[float(x) for x in line.split(b",")] for line in done.stdout.splitlines()[1:]] == wanted
    done = _run([program, tmp_path / "m.corten"], b"wet,size\ntrue-ish,1\n")
    assert done.returncode == 1 and b"column 'wet': 'true-ish' is no number" in done.stderr


def test_a_program_that_loads_the_library_shares_a_model_among_threads(tmp_path: Path) -> None:
    library = _library()
    rng = np.random.default_rng(4)
    x = rng.normal(size=(10_000, 5))
    x[rng.random(x.shape) < 0.05] = np.nan
    model = HistGradientBoostingRegressor(max_iter=30).fit(x, np.nan_to_num(x) @ [1.0, 2.0, 3.0, 4.0, 5.0])
    model.save(tmp_path / "m.corten")
    program = _compile("loaded.c", tmp_path / "loaded", "-ldl", "-lpthread")
    done = _run([program, library, tmp_path / "m.corten"], x.tobytes())
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.frombuffer(done.stdout).view(np.int64), model.predict(x).view(np.int64))


def test_failures_reach_the_user_as_a_sentence(tmp_path: Path) -> None:
    library = _library()
    program = _compile("loaded.c", tmp_path / "loaded", "-ldl", "-lpthread")
    done = _run([program, library, tmp_path / "none.corten"], b"")
    assert done.returncode == 1 and f"{tmp_path}/none.corten: can't be read" in done.stderr.decode()
    (tmp_path / "no.corten").write_bytes(b"no model")
    done = _run([program, library, tmp_path / "no.corten"], b"")
    assert done.returncode == 1 and done.stderr.startswith(b"Not a valid Corten model")


def test_the_library_needs_the_c_library_only_and_shows_its_own_names_only() -> None:
    library = _library()
    if shutil.which("nm") is None or shutil.which("readelf") is None:
        print("not installed: binutils")
        pytest.skip("not installed: binutils")
    needed = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True).stdout
    found = {line.split("[")[1].rstrip("]") for line in needed.splitlines() if "(NEEDED)" in line}
    assert found <= {"libc.so.6", "libgcc_s.so.1", "libm.so.6", "ld-linux-x86-64.so.2", "libpthread.so.0"}, found
    listed = subprocess.run(["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in listed.splitlines()}
    declared = (HEADERS / "corten.h").read_text()
    assert names and all(name.startswith("corten_") and f"{name}(" in declared for name in names)
