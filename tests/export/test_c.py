"""Exported C answers with the executor's bits: on this machine, on a Cortex-M4 and as WebAssembly."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import corten
from corten.compose import ColumnTransformer
from corten.ensemble import HistGradientBoostingRegressor
from corten.impute import SimpleImputer
from corten.linear_model import LinearRegression, LogisticRegression
from corten.pipeline import make_pipeline
from corten.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from export import devices
from export.harness import GOLDEN, Compiled, executor, golden_frame, same_bits, split
from export.models import (
    FOREIGN,
    NAMES,
    OBJECTIVES,
    ROWS,
    WHOLE,
    converted,
    numbers,
    operators,
    read_back,
    under,
)

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return read_back(tmp_path_factory.mktemp("models"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_golden_models_give_their_bits(path: Path, tmp_path: Path) -> None:
    model, frame = corten.load(path), golden_frame(path)
    if path.stem == "running_moments":
        with pytest.raises(ValueError, match="keeps a state"):
            model.export_c(tmp_path / "m.c")
        return
    for method in model.methods:
        compiled = Compiled(tmp_path, model.export_c(tmp_path / "m.c", method=method), name=method)
        got, texts, codes = compiled.run(*split(model, frame))
        wanted, words = executor(model, method, frame)
        assert not codes.any()
        assert same_bits(got, wanted) and texts == words, method


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_ten_thousand_rows_give_the_executors_bits(
    models: dict[str, Any], name: str, compiler: str, tmp_path: Path
) -> None:
    devices.need(compiler)
    model, x = models[name], numbers(ROWS, 1, gaps=name not in WHOLE)
    for method in model.methods:
        compiled = Compiled(tmp_path, model.export_c(tmp_path / "m.c", method=method), compiler, name=method)
        got, _, codes = compiled.run(x, [[] for _ in x])
        assert not codes.any() and same_bits(got, executor(model, method, x)[0]), method


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("device", [devices.cortex_m4, devices.wasm])
def test_devices_give_the_executors_bits(models: dict[str, Any], name: str, device: Any, tmp_path: Path) -> None:
    model, x = models[name], numbers(ROWS, 2, gaps=name not in WHOLE)
    # What conformal models add comes last.
    for method in {None, *model.methods[-1:]} if model.methods[-1].startswith("predict_") else [None]:
        report = model.export_c(tmp_path / "m.c", method=method)
        wanted = executor(model, report["method"], x)[0]
        assert device(tmp_path, x, report["outputs"][0]) == devices.digest(wanted), report["method"]


@pytest.mark.parametrize("name", NAMES)
def test_the_report_is_what_a_compiler_makes_of_it(models: dict[str, Any], name: str, tmp_path: Path) -> None:
    devices.need("arm-none-eabi-gcc", "arm-none-eabi-size")
    for method in models[name].methods:
        report = models[name].export_c(tmp_path / "m.c", method=method)
        strict = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-std=c99", "-Os", "-ffp-contract=off"]
        devices.check([*strict, "-fstack-usage", "-c", "m.c", "-o", "m.o"], tmp_path)
        sizes = devices.check(["arm-none-eabi-size", "-A", "m.o"], tmp_path)
        section = {line.split()[0]: int(line.split()[1]) for line in sizes.splitlines() if line.startswith(".")}
        assert section[".data"] == section[".bss"] == 0
        constants = sum(n for name, n in section.items() if name.startswith(".rodata"))
        # A compiler puts the entries of small tables into its code, and aligns others.
        assert constants - 64 <= report["table_bytes"] <= constants + 128
        frames = [line.split("\t") for line in (tmp_path / "m.su").read_text().splitlines()]
        stack = {frame[0].rpartition(":")[2]: int(frame[1]) for frame in frames}
        assert report["stack_bytes"] <= stack["model_predict"] <= report["stack_bytes"] + 90


@pytest.mark.parametrize("source", [*FOREIGN, *OBJECTIVES, "far"], ids=lambda s: getattr(s, "stem", s))
@pytest.mark.parametrize("where", ["gcc", "cortex_m4", "wasm"])
def test_models_of_other_libraries_give_the_executors_bits(source: Path | str, where: str, tmp_path: Path) -> None:
    model, x = converted(source if isinstance(source, Path) else under(source, tmp_path))
    report = model.export_c(tmp_path / "m.c")
    wanted = executor(model, report["method"], x)[0]
    if where == "gcc":
        got, _, codes = Compiled(tmp_path, report).run(x, [[] for _ in x])
        assert not codes.any() and same_bits(got, wanted)
    else:
        assert getattr(devices, where)(tmp_path, x, report["outputs"][0]) == devices.digest(wanted)


def test_every_operator_that_exports_is_among_these_models(models: dict[str, Any], tmp_path: Path) -> None:
    ops = Path(__file__).parents[2] / "crates" / "corten-model" / "src" / "export" / "ops"
    snake = lambda name: re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()  # noqa: E731
    emitted = {snake(n) for n in re.findall(r"Op::(\w+)\(op\) => op.emit", (ops / "mod.rs").read_text())}
    emitted |= {f"link {snake(n)}" for n in re.findall(r"LinkKind::(\w+) =>", (ops / "link.rs").read_text())}
    # Nothing is written for it: its columns are those that it reads.
    emitted -= {"link identity"}
    files = [path.read_bytes() for path in GOLDEN]
    files += [m._core.to_bytes() for m in models.values()] + [converted(p)[0]._core.to_bytes() for p in FOREIGN]
    files += [converted(under(name, tmp_path))[0]._core.to_bytes() for name in [*OBJECTIVES, "far"]]
    tested = {op for saved in files for op in operators(saved)}
    assert len(emitted) > 15 and emitted <= tested, sorted(emitted - tested)


@pytest.mark.parametrize("bits", ["int16", "int8"])
@pytest.mark.parametrize("name", NAMES)
def test_quantized_c_has_the_bits_of_the_quantized_model(
    models: dict[str, Any], name: str, bits: str, tmp_path: Path
) -> None:
    model, x = models[name], numbers(ROWS, 3, gaps=name not in WHOLE)
    report = model.export_c(tmp_path / "m.c", quantize=bits, sample=x)
    got, _, _ = Compiled(tmp_path, report, name=bits).run(x, [[] for _ in x])
    quantized = corten._model.Model(corten._core.quantize(model._core, bits))
    assert same_bits(got, executor(quantized, report["method"], x)[0])
    exact = executor(model, report["method"], x)[0]
    assert report["max_error"] == np.abs(got - exact).max() > 0
    whole = model.export_c(tmp_path / "m.c")
    assert report["table_bytes"] < whole["table_bytes"]
    if bits == "int16":
        assert report["max_error"] < 0.005 * max(np.abs(exact).max(), 1.0)


def test_text_missing_and_unknown_categories_follow_the_model(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    words = ["red", "blé", "", "a long one with spaces", "red "]
    frame = pl.DataFrame({"colour": rng.choice(words, 500), "size": rng.normal(size=500)})
    frame = frame.with_columns(colour=pl.when(pl.col("size") > 1.5).then(None).otherwise(pl.col("colour")))
    columns = ColumnTransformer(
        [
            (
                "colour",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                ["colour"],
            ),
            (
                "code",
                OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
                ["colour"],
            ),
            ("size", StandardScaler(), ["size"]),
        ]
    )
    model = make_pipeline(columns, LogisticRegression()).fit(frame, frame["size"] > 0)
    model.save(tmp_path / "m.corten")
    model = corten.load(tmp_path / "m.corten")
    more = frame.head(40).with_columns(colour=pl.Series(["green", None, "red", "blé"] * 10))
    compiled = Compiled(tmp_path, model.export_c(tmp_path / "m.c"))
    for rows in (frame, more):
        got, _, codes = compiled.run(*split(model, rows))
        assert not codes.any() and same_bits(got, model.predict_proba(rows))


@pytest.mark.parametrize("missing", [None, "?"])
def test_an_imputer_of_text_alone_leaves_no_warning(missing: str | None, tmp_path: Path) -> None:
    column = pl.DataFrame({"colour": ["red", missing, "blé", "red", missing]})
    options = (
        {"strategy": "most_frequent"} if missing is None else {"missing_values": missing, "strategy": "most_frequent"}
    )
    imputer = SimpleImputer(**options).fit(column)
    imputer.save(tmp_path / "m.corten")
    model = corten.load(tmp_path / "m.corten")
    _, texts, codes = Compiled(tmp_path, model.export_c(tmp_path / "m.c", method="transform")).run(
        *split(model, column)
    )
    assert not codes.any() and texts == executor(model, "transform", column)[1]


def test_rows_that_the_model_refuses_give_a_code(tmp_path: Path) -> None:
    model = LinearRegression().fit(np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 5.0]]), [0.0, 1.0, 2.0])
    compiled = Compiled(tmp_path, model.export_c(tmp_path / "m.c"))
    rows = np.array([[1.0, 2.0], [np.nan, 0.0], [0.0, -np.inf]])
    assert compiled.run(rows, [[]] * 3)[2].tolist() == [0, 1, 2]
    encoder = OrdinalEncoder().fit(np.array([[1.0], [2.0]]))
    compiled = Compiled(tmp_path, encoder.export_c(tmp_path / "m.c"), name="encoder")
    assert compiled.run(np.array([[1.0], [3.0], [np.nan]]), [[]] * 3)[2].tolist() == [0, 4, 3]


def test_wrong_options_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    for options, said in (
        ({"name": "2nd"}, "name"),
        ({"name": "while"}, "name"),
        ({"name": "a" * 25}, "name"),
        ({"method": "predict_proba"}, "has no 'predict_proba'"),
        ({"quantize": "int4"}, "int16"),
        ({"sample": [[0.0]]}, "quantize"),
    ):
        with pytest.raises(ValueError, match=said):
            model.export_c(tmp_path / "m.c", **options)
    assert list(tmp_path.iterdir()) == []


def test_names_of_columns_do_not_leave_their_comment(tmp_path: Path) -> None:
    frame = pl.DataFrame({"*/ int x; /*": [0.0, 1.0, 2.0], "line\n#error \\": [1.0, 0.0, 3.0], "??/": [1.0, 5.0, 0.0]})
    report = LinearRegression().fit(frame, [0.0, 1.0, 2.0]).export_c(tmp_path / "m.c")
    Compiled(tmp_path, report)
    assert "#error \\" not in (tmp_path / "m.c").read_text()


def test_the_command_prints_what_the_function_needs(tmp_path: Path) -> None:
    from corten._cli import main

    x = numbers(300, 5, gaps=False)
    HistGradientBoostingRegressor(max_iter=5).fit(x, x[:, 0]).save(tmp_path / "m.corten")
    pl.DataFrame(x, schema=[f"x{i}" for i in range(6)]).write_parquet(tmp_path / "rows.parquet")
    arguments = ["export", "--c", str(tmp_path / "m.corten"), "-o", str(tmp_path / "m.c"), "--name", "late"]
    assert main([*arguments, "--quantize", "int16", "--sample", str(tmp_path / "rows.parquet")]) == 0
    assert "int late_predict(const double *row, double *out)" in (tmp_path / "m.c").read_text()
    done = subprocess.run(
        ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-c", "m.c"], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert main([*arguments[:-1], "no name"]) == 1
