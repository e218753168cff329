"""The page at `/` in a real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from corten.compose import make_column_transformer
from corten.linear_model import LogisticRegression
from corten.pipeline import make_pipeline
from corten.preprocessing import OneHotEncoder

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
expect = sync_api.expect
pl = pytest.importorskip("polars")
CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.binaries,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)"),
]
Serving = Callable[..., AbstractContextManager[int]]
NAME = 'a "name" <b>&'


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random = np.random.default_rng(0)
    table = pl.DataFrame({"width": random.normal(size=500), "city": random.choice(["Oslo", "<i>Rome</i>"], 500)})
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression()).fit(table, (table["width"] > 0).to_numpy())
    path = tmp_path_factory.mktemp("page") / "flights.corten"
    model.save(path, metadata={"note": "for tests", "report": {"accuracy": 0.875, "loss": {"last": 0.25}}})
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    """A tab in which nothing may go wrong unseen, and which may ask only the server that it came from."""
    tab = browser.new_page()
    tab.set_default_timeout(20_000)
    faults: list[str] = []
    tab.on("pageerror", lambda error: faults.append(str(error)))
    tab.on("request", lambda r: None if r.url.startswith(("http://127.0.0.1:", "data:")) else faults.append(r.url))
    yield tab
    tab.close()
    assert not faults


def _post(port: int, body: Any) -> Any:
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/predict", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read())


def test_a_prediction_is_tried_and_the_charts_follow(serving: Serving, path: Path, tab: Any) -> None:
    with serving(path) as port:
        tab.goto(f"http://127.0.0.1:{port}/")
        tab.wait_for_selector("#main:not([hidden])")
        assert tab.locator("#models button").all_text_contents() == ["flights"]
        assert tab.locator("#schema th").all_text_contents() == ["width", "city"]
        facts, report = tab.inner_text("#facts"), tab.inner_text("#report")
        assert "for tests" in facts and "Pipeline" in facts and "predict_proba" in facts
        assert "accuracy" in report and "0.875" in report and "loss.last" in report
        # The form has the columns of the schema, an example in it, and the categories of the training data.
        assert tab.locator("#form label").all_text_contents() == ["width", "city"]
        assert tab.input_value("#in0") and tab.input_value("#in1") in ("Oslo", "<i>Rome</i>")
        options = tab.eval_on_selector_all("#list1 option", "all => all.map(o => o.value)")
        assert sorted(options) == ["<i>Rome</i>", "Oslo"]
        tab.fill("#in0", "1.5")
        tab.fill("#in1", "<i>Rome</i>")
        tab.click("#predict")
        expect(tab.locator("#answer")).to_contain_text("prediction", timeout=20_000)
        wanted = _post(port, {"rows": [{"width": 1.5, "city": "<i>Rome</i>"}]})["predictions"][0]
        assert json.loads(tab.inner_text("#answer")) == wanted
        tab.fill("#in0", "wide")
        tab.click("#predict")
        tab.wait_for_selector("#answer.error")
        assert "width" in tab.inner_text("#answer")
        for _ in range(200):
            _post(port, {"rows": [{"width": 3.0, "city": "Bonn"}]})
        expect(tab.locator("#rate")).to_contain_text("requests/s", timeout=20_000)
        expect(tab.locator("#legend")).to_contain_text("median", timeout=20_000)
        assert "M" in (tab.get_attribute("#latency path >> nth=0", "d") or "")
        # The 200, the one from the form and the one beside it.
        expect(tab.locator("#drifted")).to_have_text("202 rows", timeout=20_000)
        assert tab.locator("#drift .bar.act").count() >= 2
        assert tab.locator("#drift th").count() == 3
        assert not tab.inner_text("#problem")


def test_names_are_text_and_a_key_is_asked_for(serving: Serving, path: Path, tab: Any, tmp_path: Path) -> None:
    import subprocess

    from corten._serve import binary

    key = subprocess.run([binary("corten-serve"), "--hash-key"], input="secret", capture_output=True, text=True)
    keys = tmp_path / "keys"
    keys.write_text(f"{key.stdout.strip()} infer\n")
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("plain", NAME):
        (folder / f"{name}.corten").write_bytes(path.read_bytes())
    with serving(folder, "--keys", str(keys)) as port:
        tab.goto(f"http://127.0.0.1:{port}/")
        tab.wait_for_selector("#key:visible")
        assert "key is needed" in tab.inner_text("#problem")
        tab.fill("#key", "secret")
        tab.press("#key", "Enter")
        tab.wait_for_selector("#main:not([hidden])")
        assert sorted(tab.locator("#models button").all_text_contents()) == sorted([NAME, "plain"])
        tab.locator("#models button", has_text=NAME).click()
        expect(tab.locator("#facts td >> nth=0")).to_have_text(NAME, timeout=20_000)
        tab.click("#example")
        tab.click("#predict")
        expect(tab.locator("#answer")).to_contain_text("prediction", timeout=20_000)
        assert tab.locator("b, i").count() == 0 and not tab.inner_text("#problem")


def test_a_model_of_an_older_file_has_a_form_too(serving: Serving, tab: Any) -> None:
    golden = Path(__file__).parents[2] / "fixtures" / "models" / "1" / "ridge.corten"
    with serving(golden) as port:
        answer = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert b"http://" not in answer.read().replace(b"http://www.w3.org/2000/svg", b"")
        tab.goto(f"http://127.0.0.1:{port}/")
        tab.wait_for_selector("#main:not([hidden])")
        assert tab.is_hidden("#example")
        tab.fill("#in0", "1")
        tab.fill("#in1", "2")
        tab.click("#predict")
        expect(tab.locator("#answer")).to_contain_text("prediction", timeout=20_000)
        assert "no training sketch" in tab.inner_text("#drift")
