"""What is no model, and the command line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn import ensemble

import corten
from convert.cells import table


def test_what_can_not_be_converted_is_told(tmp_path: Any) -> None:
    with pytest.raises(TypeError, match="corten.convert takes fitted models of LightGBM"):
        corten.convert(object())
    with pytest.raises(ValueError, match="not fitted yet"):
        corten.convert(ensemble.RandomForestClassifier())
    with pytest.raises(ValueError, match="no model of LightGBM"):
        corten.convert(b"PK\x03\x04")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(corten.exceptions.FormatError, match=r"bad\.json: this is no model of LightGBM"):
        corten.convert(tmp_path / "bad.json")


def test_the_command_line_converts_both_ways(tmp_path: Any) -> None:
    from corten._cli import main

    lgb = pytest.importorskip("lightgbm")
    x, y = table()
    booster = lgb.train({"objective": "binary", "verbose": -1, "num_threads": 1}, lgb.Dataset(x, y > 0), 5)
    booster.save_model(tmp_path / "m.txt")
    text, out, back = str(tmp_path / "m.txt"), str(tmp_path / "m.corten"), str(tmp_path / "back.txt")
    assert main(["convert", text, "-o", out, "--classes", "no", "yes"]) == 0
    model = corten.load(out)
    np.testing.assert_allclose(model.predict_proba(x)[:, 1], booster.predict(x), rtol=1e-12)
    assert set(model.predict(x)) == {"no", "yes"}
    assert main(["convert", out, "-o", back, "--to", "lightgbm"]) == 0
    np.testing.assert_array_equal(lgb.Booster(model_file=back).predict(x), booster.predict(x))
    (tmp_path / "bad.txt").write_text("tree\nnum_class=1\n")
    assert main(["convert", str(tmp_path / "bad.txt"), "-o", str(tmp_path / "bad.corten")]) == 1
    assert not (tmp_path / "bad.corten").exists()
