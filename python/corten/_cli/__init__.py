"""The command line: `corten train`, `predict`, `evaluate`, `inspect`, `convert`, `serve`, `bundle`, `export`, `score`.

Exit codes: 0 where it worked, 2 for a command that can't be read, 1 for everything else, with one sentence on stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

_EPILOG = """examples:
  corten train flights.parquet --target late -o flights.corten     train on a table, raw columns and all
  corten evaluate flights.corten new.parquet --target late         measure it on other rows
  corten predict flights.corten new.csv -o scored.parquet --proba  score a file in constant memory
  corten serve flights.corten --port 8000                          an HTTP server without Python in it
  corten bundle flights.corten -o late                             one executable for a device
  corten export --c flights.corten -o late.c                       one file of C99 for a microcontroller
  corten inspect flights.corten                                    what is in the file
  corten convert booster.txt -o booster.corten                     a model of LightGBM, XGBoost or CatBoost

`corten COMMAND --help` teaches each of them."""


class _Help(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30, width=100)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="corten", description="Train in Python, run in Rust.", epilog=_EPILOG, formatter_class=_Help
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in ("train", "predict", "evaluate", "inspect", "convert", "serve", "bundle", "export", "score"):
        module = import_module(f"._{name}", __name__)
        sub = commands.add_parser(
            name, help=module.HELP, description=module.__doc__, epilog=module.EXAMPLES, formatter_class=_Help
        )
        module.arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the process if not given.

    Returns
    -------
    int
        The exit code.
    """
    try:
        # Commands bring the compiled module in, which may refuse to load.
        parser = _parser()
        options = parser.parse_args(arguments)
        if options.version:
            from .. import __version__

            print(f"corten {__version__}")
            return 0
        if options.command is None:
            parser.print_help()
            return 2
        return int(options.run(options) or 0)
    except BrokenPipeError:
        # The reader has gone; keep the interpreter from complaining again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("corten: stopped", file=sys.stderr)
        return 130
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        print(f"corten: {sentence(error)}", file=sys.stderr)
        return 1


def sentence(error: BaseException) -> str:
    """What an error says, on one line."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    text = str(error.args[0]) if error.args and isinstance(error.args[0], str) else str(error)
    # A note is the file that an error is about, where the error itself doesn't name it.
    notes = [note for note in getattr(error, "__notes__", []) if note not in text]
    return " ".join(": ".join([*notes, text]).split())
