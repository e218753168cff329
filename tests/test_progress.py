"""Progress is shown on stderr when it is asked for, on one line."""

from __future__ import annotations

import numpy as np
import pytest

from corten.linear_model import LogisticRegression

X = np.random.default_rng(0).normal(size=(60, 2))


def test_verbose_shows_steps_and_loss(capsys: pytest.CaptureFixture[str]) -> None:
    LogisticRegression(verbose=1).fit(X, X[:, 0] > 0)
    shown = capsys.readouterr()
    assert "LogisticRegression: 1/100, loss " in shown.err
    assert shown.err.endswith("\n") and shown.err.count("\n") == 1 and shown.out == ""


def test_quiet_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    LogisticRegression().fit(X, X[:, 0] > 0)
    shown = capsys.readouterr()
    assert shown.err == "" and shown.out == ""
