"""Models and rows on which exported C is held against the executor."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import corten

GOLDEN = sorted((Path(__file__).parents[2] / "fixtures" / "models").glob("*/*.corten"))
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O2", "-ffp-contract=off"]


def driver(texts: int, outputs: int, out_texts: int, inputs: int) -> str:
    """C that runs an exported function over many rows: `many(n, rows, texts, out, out_texts, codes)`."""
    arguments = ["rows + (unsigned long)r * INPUTS", *(["texts + (unsigned long)r * TEXTS"] if texts else [])]
    arguments += [
        "out + (unsigned long)r * OUTPUTS",
        *(["out_texts + (unsigned long)r * OUT_TEXTS"] if out_texts else []),
    ]
    source = """
void many(int n, const double *rows, const char *const *texts, double *out, const char **out_texts, int *codes);
void many(int n, const double *rows, const char *const *texts, double *out, const char **out_texts, int *codes) {
    int r;
    (void)texts, (void)out_texts;
    for (r = 0; r < n; r++) codes[r] = model_predict(ARGUMENTS);
}
"""
    source = source.replace("ARGUMENTS", ", ".join(arguments))
    for name, value in (("INPUTS", inputs), ("OUT_TEXTS", out_texts), ("TEXTS", texts), ("OUTPUTS", outputs)):
        source = source.replace(name, str(value))
    return source


def split(model: Any, frame: pl.DataFrame) -> tuple[np.ndarray, list[list[bytes | None]]]:
    """The numbers and the texts of a frame in the order of the model's inputs."""
    numbers = [i["name"] for i in model.schema["inputs"] if i["kind"] == "number"]
    texts = [i["name"] for i in model.schema["inputs"] if i["kind"] == "text"]
    columns = [frame[n].cast(pl.Float64).fill_null(float("nan")).to_numpy() for n in numbers]
    rows = np.ascontiguousarray(np.column_stack(columns)) if numbers else np.zeros((frame.height, 0))
    words = [[None if t is None else t.encode() for t in row] for row in frame.select(texts).rows()]
    return rows, words


class Compiled:
    """An exported function, compiled for this machine."""

    def __init__(self, folder: Path, report: dict[str, Any], compiler: str = "gcc", name: str = "m") -> None:
        self.report = report
        (self.inputs, self.texts), (self.outputs, self.out_texts) = report["inputs"], report["outputs"]
        source = folder / "m.c"
        with (folder / "all.c").open("w") as file:
            file.write(f'#include "{source}"\n{driver(self.texts, self.outputs, self.out_texts, self.inputs)}')
        # As a file of its own: compilers don't look for unused tables in what is included.
        alone = subprocess.run([compiler, *STRICT, "-c", str(source), "-o", os.devnull], capture_output=True, text=True)
        assert alone.returncode == 0, alone.stderr[:2000]
        library = folder / f"{name}.so"
        command = [compiler, *STRICT, "-shared", "-fPIC", str(folder / "all.c"), "-o", str(library)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:2000]
        self.many = ctypes.CDLL(str(library)).many

    def run(
        self, rows: np.ndarray, texts: list[list[bytes | None]]
    ) -> tuple[np.ndarray, list[list[str | None]], np.ndarray]:
        """Numbers, texts and codes of all rows."""
        n = len(rows)
        out, codes = np.zeros((n, self.outputs)), np.zeros(n, np.int32)
        flat = [t for row in texts for t in row]
        words = (ctypes.c_char_p * max(len(flat), 1))(*flat)
        made = (ctypes.c_char_p * max(n * self.out_texts, 1))()
        self.many(
            n,
            rows.ctypes.data_as(ctypes.c_void_p),
            words,
            out.ctypes.data_as(ctypes.c_void_p),
            made,
            codes.ctypes.data_as(ctypes.c_void_p),
        )
        width = self.out_texts
        answers = [[None if t is None else t.decode() for t in made[r * width : (r + 1) * width]] for r in range(n)]
        return out, answers, codes


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal to the last bit, signs of zeros included; which NaN it is does not count."""
    a, b = (np.ascontiguousarray(x, dtype=np.float64).reshape(len(x), -1) for x in (a, b))
    return a.shape == b.shape and bool(((a.view(np.int64) == b.view(np.int64)) | (np.isnan(a) & np.isnan(b))).all())


def golden_frame(path: Path) -> pl.DataFrame:
    """The rows of a golden file."""
    inputs = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["inputs"]
    return pl.DataFrame(
        {
            name: pl.Series([float(v) for v in c["values"]], dtype=pl.Float64)
            if c["kind"] == "number"
            else pl.Series(c["values"], dtype=pl.String)
            for name, c in inputs.items()
        }
    )


def executor(model: Any, method: str, frame: Any) -> tuple[np.ndarray, list[list[str | None]]]:
    """What the executor answers: numbers, and texts."""
    answered = model._core.run(method, corten._inputs.read(frame, "Model", sparse=True, text=True).data)
    if isinstance(answered, np.ndarray):
        return answered, [[] for _ in range(len(answered))]
    columns = [np.asarray(c) if isinstance(c, np.ndarray) else list(c) for c in answered[1]]
    numbers = [c for c in columns if isinstance(c, np.ndarray) and c.dtype.kind == "f"]
    words = [list(c) for c in columns if not (isinstance(c, np.ndarray) and c.dtype.kind == "f")]
    rows = len(columns[0])
    return (np.column_stack(numbers) if numbers else np.zeros((rows, 0))), [list(w) for w in zip(*words, strict=True)]
