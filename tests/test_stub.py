"""The stub of the extension says what the extension has."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import corten
from corten import _core


def _stub() -> ast.Module:
    return ast.parse((Path(corten.__file__).parent / "_core.pyi").read_text())


def test_stub_lists_exactly_the_public_names() -> None:
    stub = {n.name for n in _stub().body if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    module = {n for n in dir(_core) if not n.startswith("_")}
    assert stub == module


def test_stub_lists_exactly_the_methods() -> None:
    for node in _stub().body:
        if isinstance(node, ast.ClassDef) and node.name in ("Frame", "Fitted", "Model", "Quick"):
            stub = {n.name for n in node.body if isinstance(n, ast.FunctionDef) and not n.name.startswith("__")}
            cls = {n for n in vars(getattr(_core, node.name)) if not n.startswith("__")}
            assert stub == cls, node.name


def test_stub_names_the_parameters_of_functions() -> None:
    for node in _stub().body:
        if isinstance(node, ast.FunctionDef):
            real = inspect.signature(getattr(_core, node.name)).parameters
            assert [a.arg for a in (*node.args.args, *node.args.kwonlyargs)] == list(real), node.name


def test_stub_names_the_bases_of_errors() -> None:
    for node in _stub().body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
            bases = [b.id for b in node.bases if isinstance(b, ast.Name)]
            assert [b.__name__ for b in getattr(_core, node.name).__bases__] == bases
