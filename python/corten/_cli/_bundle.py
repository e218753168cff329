"""Makes one executable from a model: it answers rows from stdin or from a Unix socket (docs/bundle.md).

No compiler is needed; the executable needs neither Python nor any library. There are two runners: a small one, and one
that also reads and writes Arrow IPC.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path

from .. import _core
from .._atomic import replacing
from .._serve import binary

HELP = "make one executable from a model"
EXAMPLES = """examples:
  corten bundle m.corten -o late
  echo '{"origin": "JFK", "distance": 1400}' | ./late
  ./late --socket /run/late.sock
  corten bundle m.corten -o late --arrow && ./late --arrow < rows.arrows > answers.arrows"""

#: Where the model begins is a multiple of this, so that its numbers lie aligned.
_ALIGN = 4096
_MAGIC = b"CORTENB1"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", help="the model file")
    parser.add_argument("-o", "--output", required=True, help="the executable to write")
    parser.add_argument("--arrow", action="store_true", help="it also takes and answers Arrow IPC streams; about 8 MB")


def bundle(model: Path, runner: Path, output: Path) -> int:
    """Writes the runner, the model behind it, and where the model lies; returns the size.

    Raises
    ------
    OSError
        When the file can't be written; nothing half-written is left.
    """
    head, body = runner.read_bytes(), model.read_bytes()
    offset = -(-len(head) // _ALIGN) * _ALIGN
    trailer = struct.pack("<QQ", offset, len(body)) + _MAGIC
    with replacing(output, 0o755) as file:
        file.write(head)
        file.write(bytes(offset - len(head)))
        file.write(body)
        file.write(trailer)
    return offset + len(body) + len(trailer)


def run(options: argparse.Namespace) -> int:
    """Bundles."""
    # Refuses what is no model before anything is written.
    _core.load(options.model)
    # What a link leads to is replaced, not the link; what is no file (a device, a folder) never is.
    output = Path(options.output).resolve()
    if output.exists() and not output.is_file():
        raise OSError(f"{options.output}: is no regular file; an executable can't take its place")
    size = bundle(Path(options.model), Path(binary("corten-run-arrow" if options.arrow else "corten-run")), output)
    print(f"{options.output}: {size:,} bytes", file=sys.stderr)
    return 0
