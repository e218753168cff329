"""Serves a model over HTTP with corten-serve, a binary without Python in it.

POST /predict takes {"rows": [{column: value, ...}, ...]}; /v2/... is the Open Inference Protocol; /openapi.json,
/metrics and /healthz say the rest.
"""

from __future__ import annotations

import argparse
import os
import sys

from .._serve import binary

HELP = "serve a model over HTTP"
EXAMPLES = """examples:
  corten serve m.corten --port 8000
  curl localhost:8000/predict -d '{"rows": [{"x0": 1.5}]}' -H 'Content-Type: application/json'

Further arguments (more models, --host, --workers, limits) go to corten-serve: see corten-serve --help."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", help="the model file, NAME=FILE, or a folder of models")
    parser.add_argument(
        "arguments", nargs=argparse.REMAINDER, metavar="...", help="arguments of corten-serve, such as --port N"
    )


def run(options: argparse.Namespace) -> int:
    """Becomes the server."""
    path = binary("corten-serve")
    file = options.model if os.path.exists(options.model) else options.model.partition("=")[2] or options.model
    if not os.path.exists(file):
        raise FileNotFoundError(2, "No such file or directory", file)
    sys.stdout.flush()
    os.execv(path, [path, options.model, *options.arguments])
    return 0
