"""Writes expected.json: what scikit-learn fits on small data, for tests/it.

Run with scikit-learn 1.9: ``python make_expected.py``. The data are rounded to three digits, so that the file holds
them exactly.
"""

import json
import math
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)

warnings.filterwarnings("ignore")
rng = np.random.default_rng(3)


def plain(value):
    """Arrays as nested lists; JSON has no NaN, so it becomes a text."""
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def dense(result):
    return result.toarray() if sparse.issparse(result) else result


cases = []


def case(
    entry, params, data, estimator, attributes, y=None, weight=None, methods=(), classes=None, later=None, tol=1e-10
):
    """Fits and records attributes and predictions."""
    x = datasets[data]
    fit = {} if weight is None else {"sample_weight": np.array(weights[weight])}
    target = None if y is None else np.array(targets[y])
    if later is None:
        estimator.fit(x, target, **fit) if target is not None else estimator.fit(x, **fit)
    else:
        estimator.partial_fit(x, **fit)
        estimator.partial_fit(datasets[later], **fit)
    cases.append(
        {
            "entry": entry,
            "params": params,
            "data": data,
            "later": later,
            "y": y,
            "weight": weight,
            "tol": tol,
            "attributes": {name: plain(getattr(estimator, name)) for name in attributes},
            "results": {m: plain(dense(getattr(estimator, m)(x))) for m in methods},
        }
    )


n = 60
numbers = np.round(rng.normal(size=(n, 4)) * [1, 10, 0.5, 3] + [0, 5, -2, 100], 3)
gaps = numbers.copy()
gaps[rng.random(gaps.shape) < 0.15] = np.nan
gaps[:, 2] = 7.25
more = np.round(rng.normal(size=(n, 4)) * 2, 3)
counts = sparse.random(n, 5, density=0.3, random_state=1, format="csr")
counts.data = np.round(counts.data * 10 - 4, 2)
wide = np.round(rng.normal(size=(8, 12)), 3)
twins = np.column_stack([numbers[:, 0], numbers[:, 1], numbers[:, 0]])
integers = rng.integers(0, 4, size=(n, 2)).astype(float)
integers[3, 1] = np.nan
colours = np.array(
    [["red", "green", "blue", "pink", "grey"][i] for i in rng.choice(5, n, p=[0.4, 0.3, 0.2, 0.06, 0.04])], dtype=object
)
sizes = np.array([["s", "m"][i] for i in rng.choice(2, n)], dtype=object)
sizes[5] = np.nan
texts = np.column_stack([colours, sizes])
full_texts = np.column_stack([colours, np.where(np.arange(n) % 3 == 0, "s", "m").astype(object)])

datasets = {
    "numbers": numbers,
    "gaps": gaps,
    "more": more,
    "sparse": counts,
    "wide": wide,
    "twins": twins,
    "integers": integers,
    "texts": texts,
    "full_texts": full_texts,
}
score = numbers @ [1.0, -0.2, 2.0, 0.3] - 30
targets = {
    "line": np.round(score + rng.normal(size=n), 3).tolist(),
    "lines": np.round(np.column_stack([score, -2 * score]) + rng.normal(size=(n, 2)), 3).tolist(),
    "wide": np.round(rng.normal(size=8), 3).tolist(),
    "two": (score + 4 * rng.normal(size=n) > np.median(score)).astype(int).tolist(),
    "three": np.digitize(score + 2 * rng.normal(size=n), np.quantile(score, [0.3, 0.6])).tolist(),
}
weights = {"w": np.round(rng.random(n) * 3, 3).tolist()}
weights["w"][4] = 0.0

scaler = ["mean_", "var_", "scale_", "n_samples_seen_"]
for params in ({}, {"with_mean": False}, {"with_std": False}):
    case("preprocessing.StandardScaler", params, "gaps", StandardScaler(**params), scaler, methods=["transform"])
case("preprocessing.StandardScaler", {}, "gaps", StandardScaler(), scaler, weight="w", methods=["transform"])
case("preprocessing.StandardScaler", {}, "gaps", StandardScaler(), scaler, later="more", methods=["transform"])
case("preprocessing.StandardScaler", {}, "gaps", StandardScaler(), scaler, weight="w", later="more")
for weight in (None, "w"):
    p = {"with_mean": False}
    case("preprocessing.StandardScaler", p, "sparse", StandardScaler(**p), scaler, weight=weight, methods=["transform"])
minmax = ["min_", "scale_", "data_min_", "data_max_", "data_range_", "n_samples_seen_"]
for params in ({}, {"feature_range": [-1, 3], "clip": True}):
    made = MinMaxScaler(**{k: tuple(v) if isinstance(v, list) else v for k, v in params.items()})
    case("preprocessing.MinMaxScaler", params, "gaps", made, minmax, methods=["transform"])
case("preprocessing.MinMaxScaler", {}, "gaps", MinMaxScaler(), minmax, later="more", methods=["transform"])
for data in ("gaps", "sparse"):
    case(
        "preprocessing.MaxAbsScaler",
        {},
        data,
        MaxAbsScaler(),
        ["max_abs_", "scale_", "n_samples_seen_"],
        methods=["transform"],
    )
for params in ({}, {"quantile_range": [10.0, 80.0], "unit_variance": True}, {"with_centering": False}):
    made = RobustScaler(**{k: tuple(v) if isinstance(v, list) else v for k, v in params.items()})
    case("preprocessing.RobustScaler", params, "gaps", made, ["center_", "scale_"], methods=["transform"])
case("preprocessing.RobustScaler", {"with_centering": False}, "sparse", RobustScaler(with_centering=False), ["scale_"])

for data in ("texts", "integers", "full_texts"):
    for params in (
        {},
        {"drop": "first"},
        {"drop": "if_binary"},
        {"min_frequency": 10, "handle_unknown": "infrequent_if_exist"},
        {"max_categories": 3, "drop": "first"},
        {"min_frequency": 0.25},
    ):
        attributes = ["drop_idx_"] + (["infrequent_categories_"] if "min_frequency" in params else [])
        made = OneHotEncoder(sparse_output=False, **params)
        case("preprocessing.OneHotEncoder", params, data, made, attributes, methods=["transform"])
        if data != "texts":
            cases[-1]["names"] = made.get_feature_names_out().tolist()
    for params in ({}, {"encoded_missing_value": -1}, {"max_categories": 2}, {"min_frequency": 10}):
        case("preprocessing.OrdinalEncoder", params, data, OrdinalEncoder(**params), [], methods=["transform"])
given = {"categories": [["pink", "red", "blue", "green", "grey"], ["m", "s"]], "drop": ["red", "s"]}
case(
    "preprocessing.OneHotEncoder",
    given,
    "full_texts",
    OneHotEncoder(sparse_output=False, **given),
    ["drop_idx_"],
    methods=["transform"],
)

for strategy in ("mean", "median", "most_frequent", "constant"):
    for data in ("gaps", "sparse"):
        params = {"strategy": strategy, "add_indicator": True}
        case("impute.SimpleImputer", params, data, SimpleImputer(**params), ["statistics_"], methods=["transform"])
case("impute.SimpleImputer", {"missing_values": 0}, "more", SimpleImputer(missing_values=0), ["statistics_"])
params = {"strategy": "most_frequent"}
case("impute.SimpleImputer", params, "texts", SimpleImputer(**params), ["statistics_"], methods=["transform"])

linear = ["coef_", "intercept_"]
for params in ({}, {"fit_intercept": False}, {"positive": True}):
    attributes = linear + ([] if "positive" in params else ["rank_", "singular_"])
    for y in ("line", "lines"):
        for weight in (None, "w"):
            case(
                "linear_model.LinearRegression",
                params,
                "numbers",
                LinearRegression(**params),
                attributes,
                y,
                weight,
                ["predict"],
            )
case("linear_model.LinearRegression", {}, "twins", LinearRegression(), [*linear, "rank_"], "line", methods=["predict"])
case("linear_model.LinearRegression", {}, "wide", LinearRegression(), linear, "wide", methods=["predict"])
for weight in (None, "w"):
    case(
        "linear_model.LinearRegression",
        {},
        "sparse",
        LinearRegression(tol=1e-14),
        linear,
        "line",
        weight,
        ["predict"],
        tol=1e-8,
    )
for params in ({}, {"alpha": 30.0, "fit_intercept": False}, {"solver": "svd"}, {"solver": "lsqr", "tol": 1e-12}):
    for y in ("line", "lines"):
        case(
            "linear_model.Ridge",
            params,
            "numbers",
            Ridge(**params),
            linear,
            y,
            "w",
            ["predict"],
            tol=1e-7 if "tol" in params else 1e-10,
        )
case(
    "linear_model.Ridge",
    {"alpha": [1.0, 50.0]},
    "numbers",
    Ridge(alpha=[1.0, 50.0]),
    [*linear, "solver_"],
    "lines",
    methods=["predict"],
)
case("linear_model.Ridge", {"alpha": 0.5}, "wide", Ridge(alpha=0.5), linear, "wide", methods=["predict"])
# Without a penalty a singular problem has the answer of least squares.
case("linear_model.Ridge", {"alpha": 0.0}, "twins", LinearRegression(), linear, "line", methods=["predict"])
case(
    "linear_model.Ridge",
    {"positive": True},
    "numbers",
    Ridge(positive=True, tol=1e-12),
    linear,
    "line",
    methods=["predict"],
    tol=1e-5,
)
for weight in (None, "w"):
    case(
        "linear_model.Ridge",
        {},
        "sparse",
        Ridge(tol=1e-14),
        [*linear, "solver_"],
        "line",
        weight,
        ["predict"],
        tol=1e-8,
    )

logistic = [*linear, "n_iter_"]
methods = ["decision_function", "predict_proba", "predict"]
for y in ("two", "three"):
    for weight in (None, "w"):
        for data in ("more", "sparse"):
            case(
                "linear_model.LogisticRegression",
                {},
                data,
                LogisticRegression(),
                logistic,
                y,
                weight,
                methods,
                tol=1e-6,
            )
        params = {"C": 0.3, "tol": 1e-8, "max_iter": 1000}
        case(
            "linear_model.LogisticRegression",
            params,
            "more",
            LogisticRegression(**params),
            linear,
            y,
            weight,
            methods,
            tol=1e-6,
        )
        for solver in ("newton-cg", "newton-cholesky"):
            params = {"solver": solver, "tol": 1e-10}
            case(
                "linear_model.LogisticRegression",
                params,
                "more",
                LogisticRegression(**params),
                linear,
                y,
                weight,
                methods,
                tol=1e-7,
            )
    for params in (
        {"solver": "sag"},
        {"solver": "saga"},
        {"solver": "saga", "l1_ratio": 0.5, "C": 0.4},
        {"solver": "saga", "l1_ratio": 1.0, "C": 0.4},
    ):
        made = LogisticRegression(**params, tol=1e-12, max_iter=100_000, random_state=0)
        case("linear_model.LogisticRegression", params, "more", made, linear, y, None, methods, tol=1e-5)
    case(
        "linear_model.LogisticRegression",
        {"C": "inf"},
        "more",
        LogisticRegression(C=np.inf),
        logistic,
        y,
        None,
        methods,
        tol=1e-6,
    )
    case(
        "linear_model.LogisticRegression",
        {"fit_intercept": False},
        "more",
        LogisticRegression(fit_intercept=False),
        logistic,
        y,
        None,
        methods,
        tol=1e-6,
    )
for params in ({}, {"l1_ratio": 1.0, "C": 0.4}, {"intercept_scaling": 5.0}):
    params = {"solver": "liblinear", **params}
    made = LogisticRegression(**params, tol=1e-12, max_iter=100_000)
    case("linear_model.LogisticRegression", params, "more", made, linear, "two", "w", methods, tol=1e-6)

stored = {}
for name, x in datasets.items():
    if sparse.issparse(x):
        stored[name] = {"csr": plain([x.shape, x.indptr, x.indices, x.data])}
    else:
        stored[name] = plain(x)
target = Path(__file__).with_name("expected.json")
target.write_text(
    json.dumps({"data": stored, "targets": targets, "weights": weights, "cases": cases}, separators=(",", ":"))
)
print(len(cases), "cases,", target.stat().st_size, "bytes")
