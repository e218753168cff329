"""`libcorten` without the standard library: the same model file on a Cortex-M4 and as WebAssembly, with Python's bits.

`tools/device_libraries.sh` builds the libraries, where Rust has the targets.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export import devices
from export.harness import executor, same_bits
from export.models import NAMES, ROWS, WHOLE, numbers, read_back

ROOT = Path(__file__).parents[2]

_FIRMWARE = """
#define CORTEN_NO_FILES
#include <stdint.h>
#include <stdio.h>
#include "corten.h"
DIGEST
__asm__(".section .rodata\\n.balign 8\\n.global rows\\nrows: .incbin \\"rows.bin\\"\\n"
        ".balign 8\\n.global file\\nfile: .incbin \\"m.corten\\"\\n.global file_end\\nfile_end:\\n.text\\n");
extern const double rows[];
extern const char file[], file_end[];
int main(void) {
    static double out[COUNT * OUTPUTS];
    corten_model *model = NULL;
    corten_session *session = NULL;
    uint64_t h = 0;
    uint32_t r;
    if (corten_open_bytes(file, (size_t)(file_end - file), &model) || corten_session_new(model, BLOCK, &session) ||
        corten_predict(model, session, METHOD, rows, NULL, COUNT, out, NULL)) {
        printf("%s\\n", corten_message());
        return 1;
    }
    for (r = 0; r < COUNT; r++) h = chain(h, digest(out + r * OUTPUTS, OUTPUTS));
    corten_session_free(session);
    corten_close(model);
    printf("%08lx%08lx\\n", (unsigned long)(h >> 32), (unsigned long)(h & 0xffffffffu));
    return 0;
}
"""

_NODE = """
const fs = require("fs");
const wasm = new WebAssembly.Instance(new WebAssembly.Module(fs.readFileSync(process.argv[2])), {}).exports;
const [method, inputs, outputs] = process.argv.slice(3).map(Number);
const put = (bytes) => {
  const at = wasm.corten_alloc(bytes.length);
  new Uint8Array(wasm.memory.buffer).set(bytes, at);
  return at;
};
const must = (status) => {
  if (status === 0) return;
  const bytes = new Uint8Array(wasm.memory.buffer), from = wasm.corten_message();
  throw new Error(Buffer.from(bytes.subarray(from, bytes.indexOf(0, from))).toString());
};
const word = (at) => new DataView(wasm.memory.buffer).getUint32(at, true);
const place = wasm.corten_alloc(8);
const file = fs.readFileSync("m.corten"), given = fs.readFileSync("rows.bin");
must(wasm.corten_open_bytes(put(file), file.length, place));
must(wasm.corten_session_new(word(place), 0, place + 4));
const [model, session] = [word(place), word(place + 4)];
const rows = given.length / 8 / inputs, size = rows * outputs * 8;
const out = wasm.corten_alloc(size);
must(wasm.corten_predict(model, session, method, put(given), 0, rows, out, 0));
fs.writeFileSync("out.bin", new Uint8Array(wasm.memory.buffer).slice(out, out + size));
wasm.corten_session_free(session);
wasm.corten_close(model);
"""

METHODS = ("predict", "predict_proba", "decision_function", "transform")


def _library(target: str, name: str) -> Path:
    folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = folder / target / "tiny" / name
    if not path.is_file():
        line = f"not built (tools/device_libraries.sh): {path}"
        print(line)
        pytest.skip(line)
    return path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return read_back(tmp_path_factory.mktemp("models"))


def _case(models: dict[str, Any], name: str, folder: Path, rows: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Writes the model and its rows into a folder; gives the method, the rows and the executor's answers."""
    model = models[name]
    method = "predict_proba" if "predict_proba" in model.methods else "predict"
    x = numbers(rows, 7, gaps=name not in WHOLE)
    model.save(folder / "m.corten")
    (folder / "rows.bin").write_bytes(x.tobytes())
    return METHODS.index(method), x, executor(model, method, x)[0]


@pytest.mark.parametrize("name", NAMES)
def test_a_cortex_m4_runs_the_model_file(models: dict[str, Any], name: str, tmp_path: Path) -> None:
    devices.need("arm-none-eabi-gcc", "qemu-system-arm")
    library = _library("thumbv7em-none-eabihf", "libcorten.a")
    method, x, wanted = _case(models, name, tmp_path, ROWS // 5)
    source = _FIRMWARE.replace("DIGEST", devices.DIGEST)
    values = {"COUNT": len(x), "OUTPUTS": wanted.shape[1], "METHOD": method, "BLOCK": 16}
    for word, value in values.items():
        source = source.replace(word, str(value))
    (tmp_path / "firmware.c").write_text(source)
    headers = ["-I", str(ROOT / "crates" / "corten-run" / "include")]
    floats = ["-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]
    printed = devices.run_on_cortex_m4(tmp_path, "-O2", *floats, *headers, "firmware.c", str(library), "-lm")
    assert printed == devices.digest(wanted)


@pytest.mark.parametrize("name", NAMES)
def test_webassembly_runs_the_model_file(models: dict[str, Any], name: str, tmp_path: Path) -> None:
    devices.need("node")
    library = _library("wasm32-unknown-unknown", "corten.wasm")
    method, x, wanted = _case(models, name, tmp_path, ROWS)
    (tmp_path / "run.cjs").write_text(_NODE)
    sizes = [str(n) for n in (method, x.shape[1], wanted.shape[1])]
    devices.check(["node", "run.cjs", str(library), *sizes], tmp_path)
    got = np.fromfile(tmp_path / "out.bin").reshape(wanted.shape)
    assert same_bits(got, wanted)


def test_a_damaged_model_is_a_sentence_on_webassembly(models: dict[str, Any], tmp_path: Path) -> None:
    devices.need("node")
    library = _library("wasm32-unknown-unknown", "corten.wasm")
    method, x, wanted = _case(models, NAMES[1], tmp_path, 10)
    saved = bytearray((tmp_path / "m.corten").read_bytes())
    saved[-3] ^= 1
    (tmp_path / "m.corten").write_bytes(bytes(saved))
    (tmp_path / "run.cjs").write_text(_NODE)
    sizes = [str(n) for n in (method, x.shape[1], wanted.shape[1])]
    with pytest.raises(AssertionError, match="the file is damaged"):
        devices.check(["node", "run.cjs", str(library), *sizes], tmp_path)
