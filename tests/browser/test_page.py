"""Exported C as WebAssembly on a page in Chromium: the executor's bits."""

from __future__ import annotations

import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corten
from export import devices
from export.harness import executor, same_bits
from export.models import FOREIGN, NAMES, ROWS, WHOLE, converted, fitted, numbers

PAGE = Path(__file__).parents[2] / "examples" / "browser" / "score.html"
#: One model for each way that scores become answers.
CONVERTED = [p for p in FOREIGN if p.stem in ("lightgbm_linear", "xgboost_classes", "xgboost_vectors")]


class _Site(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, and what is posted."""

    posted: dict[str, bytes]

    def do_POST(self) -> None:
        self.posted[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    posted: dict[str, bytes] = {}
    handler = type("Site", (_Site,), {"posted": posted})
    serve = lambda *given: handler(*given, directory=str(tmp_path))  # noqa: E731
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", posted
    server.shutdown()
    server.server_close()


def _prepare(model: Any, x: np.ndarray, folder: Path) -> tuple[np.ndarray, int]:
    """Compiles a model for the page and puts its rows beside; the executor's answers and how wide they are."""
    report = model.export_c(folder / "m.c", name="late")
    exports = ["-Wl,--no-entry", "-Wl,--export=late_predict", "-Wl,--export=__heap_base", "-nostdlib"]
    options = ["-O2", "-ffp-contract=off", "-fno-builtin", "-std=c99", "-Wall", "-Wextra", "-Werror"]
    devices.check(["clang", "--target=wasm32", *options, *exports, "m.c", "-o", "m.wasm"], folder)
    (folder / "rows.bin").write_bytes(np.ascontiguousarray(x).tobytes())
    shutil.copy(PAGE, folder)
    return executor(model, report["method"], x)[0], report["outputs"][0]


def _visit(url: str, folder: Path) -> str:
    """The page after its scripts."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000", "--dump-dom"]
    command += [f"--user-data-dir={folder / 'profile'}", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _models() -> Iterator[tuple[Any, np.ndarray]]:
    own = fitted()
    for name in NAMES:
        yield own[name], numbers(ROWS, 11, gaps=name not in WHOLE)
    for path in CONVERTED:
        yield converted(path)


def test_a_page_scores_with_the_executors_bits(site: tuple[str, dict[str, bytes]], tmp_path: Path) -> None:
    devices.need("clang", "wasm-ld", "chromium")
    address, posted = site
    frames, expected = [], {}
    # One start of the browser for all models: a page with a frame each.
    for at, (model, x) in enumerate(_models()):
        folder = tmp_path / str(at)
        folder.mkdir()
        expected[f"/{at}"], width = _prepare(_saved(model, tmp_path), x, folder)
        asked = f"wasm=m.wasm&rows=rows.bin&name=late&inputs={x.shape[1]}&outputs={width}&post=/{at}"
        frames.append(f'<iframe src="{at}/score.html?{asked}"></iframe>')
    (tmp_path / "all.html").write_text(f"<!doctype html>{''.join(frames)}")
    _visit(f"{address}/all.html", tmp_path)
    assert posted.keys() == expected.keys()
    for path, wanted in expected.items():
        got = np.frombuffer(posted[path]).reshape(len(wanted), -1)
        assert len(got) == ROWS and same_bits(got, wanted), path


def _saved(model: Any, folder: Path) -> Any:
    model.save(folder / "m.corten")
    return corten.load(folder / "m.corten")


def test_a_page_shows_answers_and_failures(site: tuple[str, dict[str, bytes]], tmp_path: Path) -> None:
    devices.need("clang", "wasm-ld", "chromium")
    model = corten.linear_model.LinearRegression().fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    _prepare(_saved(model, tmp_path), np.array([[0.5], [2.0]]), tmp_path)
    asked = "score.html?wasm=m.wasm&rows=rows.bin&name=late&inputs=1&outputs=1"
    page = _visit(f"{site[0]}/{asked}", tmp_path)
    assert "2 rows scored" in page and "<td>5</td>" in page
    # A file of another name: one that changes within a second is not modified, as HTTP tells times.
    (tmp_path / "gap.bin").write_bytes(np.array([np.nan]).tobytes())
    asked = asked.replace("rows.bin", "gap.bin")
    assert "row 0 is refused: code 1" in _visit(f"{site[0]}/{asked}", tmp_path)
