"""Writes a model as one file of C99 that answers a row with the same bits, for devices without an operating system.

The file needs no library and allocates nothing. What it needs is printed: bytes of tables, which lie in flash, and bytes of
stack.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .. import _core
from .._model import load

HELP = "write a model as C"
EXAMPLES = """examples:
  corten export --c m.corten -o m.c --name late
  corten export --c m.corten -o m.c --quantize int16 --sample rows.parquet
  arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -std=c99 -Os -ffp-contract=off -c m.c"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", help="the model file")
    parser.add_argument("--c", action="store_true", required=True, help="write C99")
    parser.add_argument("-o", "--output", required=True, help="the file to write")
    parser.add_argument("--name", default="model", help="what the function's name begins with (default: model)")
    parser.add_argument("--method", help="what it answers: predict_proba, predict, predict_set ...")
    parser.add_argument("--quantize", metavar="TYPE", help="keep weights and leaves as int16 or int8")
    parser.add_argument("--sample", metavar="TABLE", help="rows on which the error of --quantize is measured")


def run(options: argparse.Namespace) -> int:
    """Exports."""
    sample: Any = None if options.sample is None else _core.read_table(options.sample)
    report = load(options.model).export_c(
        options.output, name=options.name, method=options.method, quantize=options.quantize, sample=sample
    )
    print(
        f"{options.output}: {options.name}_predict answers {report['method']}; "
        f"{report['table_bytes']:,} bytes of tables (flash), {report['stack_bytes']:,} bytes of variables on the stack "
        "(RAM), beside the registers that a compiler saves",
        file=sys.stderr,
    )
    if sample is not None:
        print(
            f"{options.quantize} on {sample.rows:,} rows: off by at most {report['max_error']:.3g}, "
            f"{report['mean_error']:.3g} on average",
            file=sys.stderr,
        )
    return 0
