"""Scores many files into a folder, in constant memory and on all cores, and goes on where it was stopped.

Each input gives one file of the same name in the folder. It appears there whole or not at all, so what was stopped, even by
a loss of power, is run again with the same command: files that are there are left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import glob
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import _core
from ..exceptions import ParameterError

HELP = "score many files into a folder, and go on after a stop"
EXAMPLES = """examples:
  corten score m.corten 'in/*.parquet' out/
  corten score m.corten 'in/**/*.csv' out/ --format parquet --proba

Formats follow from the suffixes .parquet, .csv, .arrow (.ipc, .feather; .arrows is a stream) and .jsonl (.ndjson)."""

_SUFFIXES = {"parquet": ".parquet", "csv": ".csv", "arrow": ".arrow", "jsonl": ".jsonl"}
_NOTE, _LOCK, _PART = ".corten-score.json", ".corten-score.lock", ".corten-part"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", help="the model file")
    parser.add_argument("input", nargs="+", help="tables to score; patterns with *, ? and ** are looked up")
    parser.add_argument("output", help="the folder to write into; made if it isn't there")
    parser.add_argument("--proba", action="store_true", help="write the probability of each class too")
    parser.add_argument(
        "--format", choices=sorted(_SUFFIXES), help="format of the results (default: that of each input)"
    )


def _inputs(patterns: list[str]) -> list[str]:
    found: list[str] = []
    for pattern in patterns:
        named = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))
        if not named:
            raise FileNotFoundError(f"{pattern or repr(pattern)}: there is no such file")
        for folder in filter(os.path.isdir, named):
            example = os.path.join(folder, "*.parquet")
            raise IsADirectoryError(f"{folder}: is a folder; name the files in it, such as '{example}'")
        found += named
    return list(dict.fromkeys(found))


def _targets(inputs: list[str], folder: Path, format: str | None) -> dict[Path, str]:
    targets: dict[Path, str] = {}
    for source in inputs:
        path = Path(source)
        target = folder / (path.stem + _SUFFIXES[format] if format else path.name)
        if target in targets:
            raise ValueError(f"{targets[target]} and {source} would both be written to {target}")
        if target.resolve() == path.resolve():
            raise ValueError(f"{source}: its result would take its place; choose another folder")
        targets[target] = source
    return targets


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Holds the folder, so that two runs don't write the same files."""
    import fcntl

    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RuntimeError(f"{folder}: another run of corten score writes into this folder") from None
        yield


def _same_run(folder: Path, options: argparse.Namespace, targets: dict[Path, str]) -> None:
    """Notes what the folder's results are made of, and refuses those that are made of anything else."""
    digest = hashlib.blake2b(Path(options.model).read_bytes(), digest_size=16).hexdigest()
    facts: dict[str, Any] = {"model": digest, "proba": options.proba, "format": options.format}
    inputs = {target.name: _identity(source) for target, source in targets.items()}
    note, before = folder / _NOTE, {}
    if note.exists():
        begun = _read_note(note)
        if other := [f"--{k}" if k != "model" else "model" for k in facts if begun.get(k) != facts[k]]:
            raise ValueError(f"{folder}: was begun with another {' and another '.join(other)}; choose an empty folder")
        before = begun.get("inputs", {})
    for target, source in targets.items():
        if target.exists() and before.get(target.name) != inputs[target.name]:
            raise ValueError(
                f"{target}: is there, but not made from {source} as it is now; remove it, or choose an empty folder"
            )
    if note.exists() and {**before, **inputs} == before:
        return
    part = folder / (_NOTE + _PART)
    part.write_text(json.dumps({**facts, "inputs": {**before, **inputs}}), encoding="utf-8")
    _sync(part)
    os.replace(part, note)


def _identity(source: str) -> list[Any]:
    """What tells a file from another, and from what it was before."""
    found = os.stat(source)
    return [os.path.realpath(source), found.st_size, found.st_mtime_ns]


def _read_note(note: Path) -> dict[str, Any]:
    try:
        begun = json.loads(note.read_text(encoding="utf-8"))
    except ValueError:
        begun = None
    if not isinstance(begun, dict) or not isinstance(begun.get("inputs", {}), dict):
        raise ValueError(f"{note}: is no note of corten score; choose an empty folder")
    return begun


def run(options: argparse.Namespace) -> int:
    """Scores all files that have no result yet."""
    model = _core.load(options.model)
    if not options.output:
        raise ParameterError("The 'output' argument must be a folder to write into. Got '' instead.")
    folder = Path(options.output)
    targets = _targets(_inputs(options.input), folder, options.format)
    folder.mkdir(parents=True, exist_ok=True)
    rows = skipped = 0
    with _alone(folder):
        _same_run(folder, options, targets)
        for left in folder.glob(f".*{_PART}"):
            # What a run that was killed had not finished.
            left.unlink(missing_ok=True)
        for target, source in targets.items():
            if target.exists():
                skipped += 1
                continue
            format = options.format or _format(source)
            try:
                rows += _core.score_file(
                    model, source, str(target), target_format=format, proba=options.proba, durable=True
                )
            except Exception as error:
                error.add_note(source)
                raise
    done = f"{rows:,} rows of {len(targets) - skipped:,} files scored"
    print(f"{done}, {skipped:,} files were there: {options.output}", file=sys.stderr)
    return 0


def _format(path: str) -> str:
    """The format of a result whose name is the input's."""
    known = {".pq": "parquet", ".tsv": "csv", ".ipc": "arrow", ".feather": "arrow", ".ndjson": "jsonl"}
    suffix = Path(path).suffix.lower()
    return known.get(suffix, suffix.removeprefix("."))
