"""Shows what is in a model file: columns, methods, classes and the facts that were saved with it."""

from __future__ import annotations

import argparse
import json
import os
from typing import Any

from .. import load

HELP = "show what is in a model file"
EXAMPLES = """examples:
  corten inspect m.corten
  corten inspect m.corten --json | python -m json.tool"""


#: Facts that a server reads, too long for a person.
_LONG = ("sketch", "sample")


def _rows(fact: Any) -> int:
    rows = fact.get("rows", 0) if isinstance(fact, dict) else 0
    return rows if isinstance(rows, int) else len(rows)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("model", help="the model file")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(options: argparse.Namespace) -> int:
    """Inspects."""
    model = load(options.model)
    facts: dict[str, Any] = {
        "file": options.model,
        "bytes": os.path.getsize(options.model),
        "methods": model.methods,
        "schema": model.schema,
        "classes": model.classes_.tolist() if hasattr(model, "classes_") else None,
        "metadata": model.metadata,
    }
    if options.json:
        print(json.dumps(facts, default=str))
        return 0
    print(f"{options.model}: {facts['bytes']:,} bytes")
    print(f"methods    {', '.join(model.methods)}")
    if facts["classes"] is not None:
        print(f"classes    {', '.join(map(str, facts['classes'][:20]))}{' ...' if len(facts['classes']) > 20 else ''}")
    inputs = model.schema["inputs"]
    print(f"columns    {len(inputs)}, {'by name' if model.schema['named'] else 'by position'}")
    for column in inputs[:50]:
        print(f"  {column['name']:<30} {column['dtype']}")
    if len(inputs) > 50:
        print(f"  ... and {len(inputs) - 50} more")
    for name, value in model.metadata.items():
        if name in _LONG:
            print(f"{name:<10} {_rows(value):,} rows (in full with --json)")
            continue
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        print(f"{name:<10} {text if len(text) <= 300 else text[:297] + '...'}")
    return 0
