"""What importing and using the package costs."""

from __future__ import annotations

import subprocess
import sys

_HEAVY = ("sklearn", "scipy", "pandas", "polars", "pyarrow", "matplotlib")


def _run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_loads_numpy_and_nothing_else() -> None:
    out = _run(
        "import sys, corten, corten.ensemble, corten.pipeline, corten.compose, corten.streaming\n"
        f"print([m for m in {_HEAVY!r} if m in sys.modules])"
    )
    assert out.strip() == "[]"


def test_fit_and_predict_load_nothing_heavy() -> None:
    out = _run(
        "import sys\n"
        "from corten.linear_model import LogisticRegression\n"
        "from corten.pipeline import make_pipeline\n"
        "from corten.preprocessing import StandardScaler\n"
        "m = make_pipeline(StandardScaler(), LogisticRegression()).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])\n"
        "m.predict_proba([[1.0]]); m.score([[0.0]], [0]); repr(m); m._repr_html_()\n"
        f"print([m for m in {_HEAVY!r} if m in sys.modules])"
    )
    assert out.strip() == "[]"


def test_import_is_cheap() -> None:
    code = (
        "import time; a = time.process_time(); import corten; b = time.process_time()\n"
        "import corten.ensemble, corten.pipeline\n"
        "print(b - a)\n"
        "print([int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('VmRSS')][0] / 1024)"
    )
    runs = [[float(v) for v in _run(code).split()] for _ in range(5)]
    assert min(r[0] for r in runs) <= 0.15
    assert min(r[1] for r in runs) <= 45


def test_every_public_name_exists() -> None:
    import corten

    for name in corten.__all__:
        assert getattr(corten, name) is not None
    assert corten.__version__
