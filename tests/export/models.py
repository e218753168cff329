"""Models that are exported, and run on devices: fitted here, and converted from other libraries."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import corten
from corten.compose import ColumnTransformer
from corten.conformal import ConformalizedQuantileRegressor, SplitConformalClassifier
from corten.ensemble import (
    AdaBoostRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from corten.impute import SimpleImputer
from corten.linear_model import LinearRegression, LogisticRegression
from corten.pipeline import make_pipeline
from corten.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler
from corten.tree import DecisionTreeClassifier

ROWS = 10_000
#: Models of other libraries: sums in single precision, leaves that are linear models, averages, votes.
FOREIGN = sorted(p for p in (Path(__file__).parents[2] / "fixtures" / "foreign").iterdir() if p.name != "answers.json")


def numbers(rows: int, seed: int, gaps: bool) -> np.ndarray:
    """Rows of six columns of different scales, the fifth of categories."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 6)) * [1, 10, 1e-3, 1e5, 1, 1]
    x[:, 4] = rng.integers(0, 5, rows)
    x[rng.random(rows) < 0.02, 5] = -0.0
    if gaps:
        x[rng.random(x.shape) < 0.08] = np.nan
    return x


def _pipeline(classes: int) -> Any:
    columns = ColumnTransformer(
        [
            ("scaled", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), [0, 1, 2]),
            ("bounded", make_pipeline(SimpleImputer(strategy="median"), MinMaxScaler(clip=True)), [3, 5]),
            (
                "kinds",
                make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                [4],
            ),
        ]
    )
    return make_pipeline(columns, LogisticRegression() if classes else LinearRegression())


def fitted() -> dict[str, Any]:
    """Models fitted here, by what is in them."""
    x = numbers(3000, 0, gaps=True)
    score = np.nan_to_num(x) @ [1, 0.1, 100, 1e-5, 0.3, -1]
    three = np.digitize(score, [-1.0, 1.0])
    plain = np.nan_to_num(x)
    forest = RandomForestClassifier(n_estimators=3, max_depth=3, random_state=0).fit(plain, three)
    return {
        "pipeline of three classes": _pipeline(3).fit(x, three),
        "pipeline of two classes": _pipeline(2).fit(x, three > 0),
        "boosting with gaps": HistGradientBoostingClassifier(max_iter=20).fit(x, three > 0),
        "boosting with categories": HistGradientBoostingRegressor(max_iter=20, categorical_features=[4]).fit(x, score),
        "boosting of counts": HistGradientBoostingRegressor(max_iter=15, loss="poisson").fit(x, np.abs(score)),
        "forest": RandomForestClassifier(n_estimators=6, max_depth=7, random_state=0).fit(plain, three),
        # Probabilities of few trees are often equal, and the order of equal ones is part of a set.
        "sets by sums": SplitConformalClassifier(forest, conformity_score="aps").conformalize(plain, three),
        "sets by probabilities": SplitConformalClassifier(forest).conformalize(plain, three),
        "intervals": ConformalizedQuantileRegressor(HistGradientBoostingRegressor(max_iter=5, loss="quantile"))
        .fit(x, score)
        .conformalize(x, score),
        "boosting from a line": GradientBoostingClassifier(
            n_estimators=5, init=make_pipeline(StandardScaler(), LogisticRegression(C=0.001))
        ).fit(plain, three > 0),
        "boosting from a tree": GradientBoostingClassifier(
            n_estimators=5, init=DecisionTreeClassifier(max_depth=4)
        ).fit(plain, three),
        "median of trees": AdaBoostRegressor(n_estimators=9, random_state=0).fit(plain, score),
    }


def read_back(folder: Path) -> dict[str, Any]:
    """The fitted models, saved to a folder and loaded."""
    loaded = {}
    for name, model in fitted().items():
        model.save(folder / "m.corten")
        loaded[name] = corten.load(folder / "m.corten")
    return loaded


NAMES = (
    "pipeline of three classes",
    "pipeline of two classes",
    "boosting with gaps",
    "boosting with categories",
    "boosting of counts",
    "forest",
    "sets by sums",
    "sets by probabilities",
    "intervals",
    "boosting from a line",
    "boosting from a tree",
    "median of trees",
)
#: Those that refuse missing values.
WHOLE = (
    "forest",
    "sets by sums",
    "sets by probabilities",
    "boosting from a line",
    "boosting from a tree",
    "median of trees",
)


#: Recorded trees under objectives that turn their scores into answers in other ways.
OBJECTIVES = {
    "sqrt": ("lightgbm_linear.txt", "objective=regression", "objective=regression sqrt"),
    "lambda": ("lightgbm_linear.txt", "objective=regression", "objective=cross_entropy_lambda"),
    "one against all": ("lightgbm_multiclass.txt", "objective=multiclass ", "objective=multiclassova sigmoid:1.5 "),
    "one against all of CatBoost": ("catboost_classes.json", "MultiClass", "MultiClassOneVsAll"),
}


#: What the categories of a recorded model are multiplied by: more than the trees operator has codes for.
FAR = 30_011


def far(folder: Path) -> Path:
    """A recorded model whose categories lie far apart, in a file."""
    text = next(p for p in FOREIGN if p.name == "lightgbm_binary.txt").read_text()

    def spread(found: re.Match[str]) -> str:
        (word,) = found[2].split()
        codes = [FAR * c for c in range(32) if int(word) >> c & 1]
        words = [sum(1 << c % 32 for c in codes if c // 32 == at) for at in range(max(codes) // 32 + 1)]
        return f"cat_boundaries=0 {len(words)}\ncat_threshold={' '.join(map(str, words))}\n"

    text = re.sub(r"cat_boundaries=(.*)\ncat_threshold=(.*)\n", spread, text)
    text = re.sub(r"tree_sizes=.*\n", "", text)
    path = folder / "far.txt"
    path.write_text(text)
    return path


def under(name: str, folder: Path) -> Path:
    """A recorded model with another objective, or with categories far apart, in a file."""
    if name == "far":
        return far(folder)
    file, theirs, objective = OBJECTIVES[name]
    text = next(p for p in FOREIGN if p.name == file).read_text()
    assert theirs in text
    path = folder / file
    path.write_text(text.replace(theirs, objective))
    return path


def converted(path: Path) -> Any:
    """A recorded model of another library, and rows of as many columns as it reads."""
    model = corten.convert(path)
    rng = np.random.default_rng(5)
    x = rng.normal(size=(ROWS, model.n_features_in_)) * rng.choice([0.1, 1.0, 10.0], ROWS)[:, None]
    whole = rng.random(x.shape) < 0.5
    x[whole] = rng.integers(-2, 8, int(whole.sum()))
    x[rng.random(x.shape) < 0.05] = np.nan
    x[rng.random(x.shape) < 0.05] = 0.0
    if path.name == "far.txt":
        # Fractions are cut off: a code of 30011.7 is 30011.
        x[:, 3] = x[:, 3] * FAR + rng.choice([0.0, 0.7, -0.3], ROWS)
        x[:6, 3] = [2.0**52, -(2.0**53) - 2, 1e300, np.inf, -np.inf, -0.5]
    return model, x


def operators(saved: bytes) -> Iterator[str]:
    """The operators of a model file; links with their kind."""
    (length,) = struct.unpack("<Q", saved[:8])
    header = json.loads(json.loads(saved[8 : 8 + length])["__metadata__"]["corten"])
    for node in header["nodes"]:
        yield node["op"]
        if node["op"] == "link":
            yield f"link {node['with']['kind']}"
