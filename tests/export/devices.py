"""Exported C on other machines: a Cortex-M4 under QEMU, and WebAssembly in node. Each answers a digest of all bits."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

DIGEST = """
static uint64_t digest(const double *out, uint32_t n) {
    uint64_t h = 14695981039346656037u;
    uint32_t i;
    for (i = 0; i < n; i++) {
        union { double value; uint64_t bits; } u;
        u.value = out[i];
        if (u.value != u.value) u.bits = 0x7ff8000000000000u;
        h = (h ^ u.bits) * 1099511628211u;
        h ^= h >> 29;
    }
    return h;
}
static uint64_t chain(uint64_t h, uint64_t d) { return (h ^ d) * 1099511628211u; }
"""

_LINKER = """
MEMORY { FLASH (rx) : ORIGIN = 0x00000000, LENGTH = 4M  RAM (rwx) : ORIGIN = 0x20000000, LENGTH = 4M }
ENTRY(reset)
SECTIONS {
  .text : { KEEP(*(.vectors)) *(.text*) *(.rodata*) . = ALIGN(8); } > FLASH
  .ARM.exidx : { *(.ARM.exidx*) } > FLASH
  .data : ALIGN(8) { data_start = .; *(.data*) . = ALIGN(8); data_end = .; } > RAM AT > FLASH
  data_load = LOADADDR(.data);
  .bss : ALIGN(8) { bss_start = .; *(.bss*) *(COMMON) . = ALIGN(8); bss_end = .; } > RAM
  end = .;
}
"""

_START = """
#include <stdint.h>
#include <stdlib.h>
extern uint32_t data_start, data_end, data_load, bss_start, bss_end;
void initialise_monitor_handles(void);
int main(void);
void reset(void);
void _init(void);
void _fini(void);
void _init(void) {}
void _fini(void) {}
void reset(void) {
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* the floating-point unit, where there is one */
    __asm__ volatile("dsb\\nisb");
    uint32_t *from = &data_load, *to = &data_start;
    while (to < &data_end) *to++ = *from++;
    for (to = &bss_start; to < &bss_end; to++) *to = 0;
    initialise_monitor_handles();
    exit(main());
}
__attribute__((section(".vectors"), used)) static void *const vectors[16] = {(void *)0x20400000, (void *)reset};
"""

_MAIN = """
#include <stdio.h>
__asm__(".section .rodata\\n.balign 8\\n.global rows\\nrows: .incbin \\"ROWS\\"\\n.text\\n");
extern const double rows[];
int main(void) {
    uint64_t h = 0;
    uint32_t r;
    double out[OUTPUTS];
    for (r = 0; r < COUNT; r++) {
        if (model_predict(rows + r * INPUTS, out) != 0) return 3;
        h = chain(h, digest(out, OUTPUTS));
    }
    printf("%08lx%08lx\\n", (unsigned long)(h >> 32), (unsigned long)(h & 0xffffffffu));
    return 0;
}
"""


def digest(answers: np.ndarray) -> str:
    """The same digest of the executor's answers."""
    mask, prime = (1 << 64) - 1, 1099511628211
    answers = np.where(np.isnan(answers), np.nan, answers)
    total = 0
    for row in np.ascontiguousarray(answers, np.float64).view(np.uint64).tolist():
        h = 14695981039346656037
        for bits in row:
            h = (h ^ (0x7FF8000000000000 if bits & 0x7FFFFFFFFFFFFFFF > 0x7FF0000000000000 else bits)) * prime & mask
            h ^= h >> 29
        total = (total ^ h) * prime & mask
    return f"{total:016x}"


def need(*tools: str) -> None:
    """Skips, saying which tool is missing."""
    missing = [t for t in tools if shutil.which(t) is None]
    if missing:
        line = f"not installed: {', '.join(missing)}"
        print(line)
        pytest.skip(line)


def check(command: list[str], folder: Path) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.stderr + done.stdout)[-2000:]
    return done.stdout


def cortex_m4(folder: Path, rows: np.ndarray, outputs: int) -> str:
    """The digest that a Cortex-M4 gives."""
    need("arm-none-eabi-gcc", "qemu-system-arm")
    (folder / "rows.bin").write_bytes(rows.tobytes())
    main = _MAIN.replace("ROWS", str(folder / "rows.bin"))
    for name, value in (("OUTPUTS", outputs), ("COUNT", len(rows)), ("INPUTS", rows.shape[1])):
        main = main.replace(name, str(value))
    (folder / "device.c").write_text(f'#include "m.c"\n{DIGEST}{main}')
    strict = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-std=c99", "-Wall", "-Wextra", "-Werror", "-Os", "-c"]
    check([*strict, "m.c", "-o", "m.o"], folder)
    return run_on_cortex_m4(folder, "device.c", "-Os", "-ffp-contract=off")


def run_on_cortex_m4(folder: Path, *arguments: str) -> str:
    """What a program of C prints on a Cortex-M4 under QEMU; `arguments` are its sources and compiler options."""
    need("arm-none-eabi-gcc", "qemu-system-arm")
    (folder / "start.c").write_text(_START)
    (folder / "m4.ld").write_text(_LINKER)
    flags = ["-mcpu=cortex-m4", "-mthumb", "-ffunction-sections", "-Wl,--gc-sections"]
    link = ["--specs=rdimon.specs", "-nostartfiles", "-T", "m4.ld", "start.c"]
    check(["arm-none-eabi-gcc", "-std=gnu99", *flags, *link, *arguments, "-o", "m4.elf"], folder)
    semihosting = ["-nographic", "-semihosting-config", "enable=on,target=native"]
    return check(["qemu-system-arm", "-M", "mps2-an386", *semihosting, "-kernel", "m4.elf"], folder).strip()


_WASM = """
unsigned char memory_of_rows[BYTES];
double *rows_at(void);
double *rows_at(void) { return (double *)(void *)memory_of_rows; }
uint64_t score(uint32_t count);
uint64_t score(uint32_t count) {
    uint64_t h = 0;
    uint32_t r;
    double out[OUTPUTS];
    for (r = 0; r < count; r++) {
        if (model_predict(rows_at() + r * INPUTS, out) != 0) return 0;
        h = chain(h, digest(out, OUTPUTS));
    }
    return h;
}
"""

_NODE = """
const fs = require("fs");
const wasm = new WebAssembly.Instance(new WebAssembly.Module(fs.readFileSync("m.wasm")), {}).exports;
const rows = fs.readFileSync("rows.bin");
new Uint8Array(wasm.memory.buffer).set(rows, wasm.rows_at());
console.log(BigInt.asUintN(64, wasm.score(Number(process.argv[2]))).toString(16).padStart(16, "0"));
"""


def wasm(folder: Path, rows: np.ndarray, outputs: int) -> str:
    """The digest that WebAssembly gives in node."""
    need("clang", "wasm-ld", "node")
    (folder / "rows.bin").write_bytes(rows.tobytes())
    source = _WASM
    for name, value in (("OUTPUTS", outputs), ("BYTES", rows.nbytes), ("INPUTS", rows.shape[1])):
        source = source.replace(name, str(value))
    source = source.replace("unsigned char memory", "__attribute__((aligned(8))) unsigned char memory")
    (folder / "page.c").write_text(f'#include "m.c"\n{DIGEST}{source}')
    (folder / "run.cjs").write_text(_NODE)
    exports = ["-Wl,--no-entry", "-Wl,--export=rows_at", "-Wl,--export=score", "-nostdlib"]
    strict = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-ffp-contract=off", "-fno-builtin"]
    check(["clang", "--target=wasm32", *strict, *exports, "page.c", "-o", "m.wasm"], folder)
    return check(["node", "run.cjs", str(len(rows))], folder).strip()
