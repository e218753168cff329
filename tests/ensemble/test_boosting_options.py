"""What boosting takes beyond scikit-learn's parameters, against LightGBM and formulas."""

from __future__ import annotations

import _thread
import functools
import pickle
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

from corten.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRanker,
    HistGradientBoostingRegressor,
)

lightgbm = pytest.importorskip("lightgbm")


def _data(n: int = 2000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    return X, X[:, 0] + X[:, 1] * X[:, 2] + np.sin(2 * X[:, 3]) + rng.normal(scale=0.3, size=n)


def _queries(n: int = 120, size: int = 25, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    X, y = _data(n * size, seed)
    return X, np.clip(np.digitize(y, [-1.0, 0.5, 1.5]), 0, 3), np.full(n, size)


def _ndcg(y: np.ndarray, scores: np.ndarray, sizes: np.ndarray) -> float:
    from sklearn.metrics import ndcg_score

    ends = np.cumsum(sizes)
    parts = [(2.0 ** y[e - s : e] - 1, scores[e - s : e]) for s, e in zip(sizes, ends, strict=True)]
    return float(np.mean([ndcg_score([a], [b], k=30) for a, b in parts]))


PLAIN: dict[str, Any] = {"verbose": -1, "min_child_samples": 20, "num_leaves": 31, "learning_rate": 0.1}


def test_scores_to_start_from_are_those_of_lightgbm() -> None:
    X, y = _data()
    init = X[:, 0] * 0.7
    ours = HistGradientBoostingRegressor(max_iter=20)
    ours.fit(X, y, init_score=init)
    theirs = lightgbm.LGBMRegressor(n_estimators=20, **PLAIN).fit(X, y, init_score=init)
    assert np.corrcoef(ours.predict(X), theirs.predict(X))[0, 1] > 0.98
    rest = HistGradientBoostingRegressor(max_iter=20).fit(X, y - init, init_score=np.zeros(len(y)))
    assert np.allclose(ours.predict(X), rest.predict(X), atol=1e-9)
    assert np.mean((ours.predict(X) + init - y) ** 2) < 0.5 * np.mean((init - y) ** 2)
    with pytest.raises(ValueError, match="init_score should have 2000 rows"):
        ours.fit(X, y, init_score=init[:5])


def test_scores_of_classes_to_start_from_have_a_column_a_class() -> None:
    X, y = _data()
    target = np.digitize(y, [-1, 1])
    init = np.eye(3)[target] * 2.0
    model = HistGradientBoostingClassifier(max_iter=5).fit(X, target, init_score=init)
    # What the start tells already, trees don't tell again.
    whole = HistGradientBoostingClassifier(max_iter=5).fit(X, target)
    assert np.abs(model.decision_function(X)).mean() < np.abs(whole.decision_function(X)).mean()
    with pytest.raises(ValueError, match=r"init_score should have shape \(2000, 3\)"):
        model.fit(X, target, init_score=init[:, 0])


@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_going_on_from_a_model_adds_its_rounds(loss: str) -> None:
    X, y = _data()
    y = np.exp(y / 3)
    first = HistGradientBoostingRegressor(loss=loss, max_iter=7).fit(X, y)
    then = HistGradientBoostingRegressor(loss=loss, max_iter=8).fit(X, y, init_model=first)
    whole = HistGradientBoostingRegressor(loss=loss, max_iter=15).fit(X, y)
    assert first.n_iter_ == 7 and then.n_iter_ == 15
    assert np.array_equal(then.predict(X), whole.predict(X))
    with pytest.raises(ValueError, match="init_model"):
        HistGradientBoostingClassifier().fit(X, y > 1, init_model=first)


def test_what_was_unpickled_says_that_it_cannot_go_on() -> None:
    X, y = _data(300)
    model = HistGradientBoostingRegressor(max_iter=3).fit(X, y)
    loaded = pickle.loads(pickle.dumps(model))
    assert np.array_equal(loaded.predict(X), model.predict(X))
    with pytest.raises(ValueError, match="was loaded, and holds no bins to go on from"):
        loaded.set_params(warm_start=True).fit(X, y)


def test_several_quantiles_are_those_of_a_model_each() -> None:
    X, y = _data()
    levels = [0.1, 0.5, 0.9]
    model = HistGradientBoostingRegressor(loss="quantile", quantile=levels, max_iter=30).fit(X, y)
    each = [
        HistGradientBoostingRegressor(loss="quantile", quantile=q, max_iter=30).fit(X, y).predict(X) for q in levels
    ]
    assert model.predict(X).shape == (2000, 3)
    assert np.array_equal(model.predict(X), np.column_stack(each))
    assert [abs((y <= p).mean() - q) < 0.05 for p, q in zip(model.predict(X).T, levels, strict=True)] == [True] * 3


def test_a_loss_from_python_is_the_one_built_in() -> None:
    X, y = _data()
    own = HistGradientBoostingRegressor(loss=lambda y, s: (s - y, np.ones(len(y))), max_iter=20).fit(X, y - y.mean())
    built_in = HistGradientBoostingRegressor(max_iter=20).fit(X, y - y.mean())
    assert np.allclose(own.predict(X), built_in.predict(X), atol=1e-9)

    def softmax(y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = np.exp(s - s.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        return p - np.eye(3)[y.astype(int)], p * (1 - p)

    target = np.digitize(y, np.quantile(y, [1 / 3, 2 / 3]))
    ours = HistGradientBoostingClassifier(loss=softmax, max_iter=2).fit(X, target)
    same = HistGradientBoostingClassifier(max_iter=2).fit(X, target)
    # The best constants are those of classes of the same size, up to a row.
    assert np.abs(ours.decision_function(X) - same.decision_function(X)).max() < 2e-3
    with pytest.raises(ZeroDivisionError):
        HistGradientBoostingRegressor(loss=lambda y, s: 1 / 0).fit(X, y)
    with pytest.raises(ValueError, match=r"shape \(2000,\)"):
        HistGradientBoostingRegressor(loss=lambda y, s: (y[:3], s)).fit(X, y)
    with pytest.raises(ValueError, match="scoring"):
        HistGradientBoostingRegressor(loss=lambda y, s: (s - y, s), early_stopping=True).fit(X, y)


def _pulls(sizes: np.ndarray, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """LambdaMART's gradients and hessians of queries of less than 30 rows."""
    g, h = np.zeros(len(y)), np.zeros(len(y))
    for size, to in zip(sizes, np.cumsum(sizes), strict=True):
        rows = slice(to - size, to)
        relevance, s = y[rows], scores[rows]
        gain = 2.0**relevance - 1
        rank = np.argsort(np.argsort(-s, kind="stable"))
        discount = 1 / np.log2(2 + rank)
        best = (np.sort(gain)[::-1] * np.sort(discount)[::-1]).sum()
        if best == 0:
            continue
        apart = s[:, None] - s[None]
        change = (gain[:, None] - gain[None]) * np.abs(discount[:, None] - discount[None]) / best
        if np.ptp(s) > 0:
            change /= 0.01 + np.abs(apart)
        p = np.where(relevance[:, None] > relevance[None], 1 / (1 + np.exp(apart)), 0)
        pull, bend = change * p, change * p * (1 - p)
        total = 2 * pull.sum()
        factor = np.log2(1 + total) / total if total > 0 else 1.0
        g[rows] = factor * (pull.sum(axis=0) - pull.sum(axis=1))
        h[rows] = factor * (bend.sum(axis=0) + bend.sum(axis=1))
    return g, h


def test_queries_have_weights() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    # One half of the queries wants the first column high, the other half low.
    y = np.digitize(np.where(np.arange(400) < 200, X[:, 0], -X[:, 0]), [-0.5, 0.5])
    sizes = [20] * 20
    heavy = np.where(np.arange(20) < 10, 10.0, 1.0)
    for weights, sign in ((heavy, 1), (heavy[::-1], -1)):
        ranker = HistGradientBoostingRanker(max_iter=20).fit(X, y, group=sizes, group_weight=weights)
        assert sign * np.corrcoef(ranker.predict(X), X[:, 0])[0, 1] > 0.5
    even = HistGradientBoostingRanker(max_iter=5).fit(X, y, group=sizes, group_weight=np.ones(20))
    plain = HistGradientBoostingRanker(max_iter=5).fit(X, y, group=sizes)
    np.testing.assert_array_equal(even.predict(X), plain.predict(X))
    with pytest.raises(ValueError, match="group_weight should have 20 weights, one a query"):
        HistGradientBoostingRanker().fit(X, y, group=sizes, group_weight=np.ones(400))
    with pytest.raises(ValueError, match="400"):
        HistGradientBoostingRanker().fit(X, y, group=[20] * 19, group_weight=np.ones(19))


def test_ranking_is_as_good_as_lightgbms() -> None:
    X, y, sizes = _queries()
    test_X, test_y, _ = _queries(seed=9)
    ours = HistGradientBoostingRanker(max_iter=50).fit(X, y, group=sizes)
    theirs = lightgbm.LGBMRanker(n_estimators=50, **PLAIN).fit(X, y, group=sizes)
    a, b = (_ndcg(test_y, m.predict(test_X), sizes) for m in (ours, theirs))
    assert a > b - 0.003
    # Pairs pull as in LightGBM: fed with the formula's pulls, it grows the trees of its own objective, as we do.
    formula = functools.partial(_pulls, sizes)
    own = lightgbm.LGBMRegressor(objective=formula, n_estimators=5, **PLAIN).fit(X, y).predict(X)
    built_in = lightgbm.LGBMRanker(n_estimators=5, **PLAIN).fit(X, y, group=sizes).predict(X)
    assert np.corrcoef(own, built_in)[0, 1] > 0.999999
    own = HistGradientBoostingRegressor(loss=formula, max_iter=5).fit(X, y).predict(X)
    assert np.allclose(own, HistGradientBoostingRanker(max_iter=5).fit(X, y, group=sizes).predict(X), atol=1e-12)
    stopped = HistGradientBoostingRanker(max_iter=50, early_stopping=True).fit(X, y, group=sizes)
    assert stopped.validation_score_[-1] > stopped.validation_score_[0]
    with pytest.raises(ValueError, match="add up to the 3000 rows of X, but adds up to 2975"):
        ours.fit(X, y, group=sizes[1:])
    with pytest.raises(ValueError, match="whole numbers from 0 to 31"):
        ours.fit(X, y + 0.5, group=sizes)


def test_the_hazard_of_cox_orders_rows_by_their_risk() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4))
    risk = X[:, 0] - 0.8 * X[:, 1] ** 2
    event, censored = rng.exponential(np.exp(-risk)), rng.exponential(2.0, 3000)
    y = np.where(event < censored, event, -censored)
    predicted = HistGradientBoostingRegressor(loss="cox", max_iter=60, min_samples_leaf=50).fit(X, y).predict(X)
    assert np.corrcoef(predicted, risk)[0, 1] > 0.9

    def breslow(y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        later = np.abs(y)[None, :] >= np.abs(y)[:, None]
        share = np.exp(s)[None, :] * later[y > 0] / (later[y > 0] @ np.exp(s))[:, None]
        return share.sum(axis=0) - (y > 0), (share * (1 - share)).sum(axis=0)

    X, y = X[:600], y[:600]
    ours = HistGradientBoostingRegressor(loss="cox", max_iter=5).fit(X, y).predict(X)
    reference = HistGradientBoostingRegressor(loss=breslow, max_iter=5).fit(X, y).predict(X)
    assert np.allclose(ours, reference, atol=1e-9)


def test_leaves_hold_planes_as_lightgbms() -> None:
    def target(X: np.ndarray) -> np.ndarray:
        return np.asarray(3 * X[:, 0] + np.where(X[:, 3] > 0, 2, -2) * np.nan_to_num(X[:, 1]) + X[:, 2] ** 2)

    errors = []
    for seed in range(4):
        X, test_X = _data(seed=seed)[0], _data(seed=50 + seed)[0]
        X[::50, 1] = np.nan
        y = target(X)
        params: dict[str, Any] = {"linear_tree": True, "linear_lambda": 0.1}
        ours = HistGradientBoostingRegressor(max_iter=30, max_leaf_nodes=8, **params).fit(X, y)
        theirs = lightgbm.LGBMRegressor(n_estimators=30, **(PLAIN | params | {"num_leaves": 8})).fit(X, y)
        plain = HistGradientBoostingRegressor(max_iter=30, max_leaf_nodes=8).fit(X, y)
        errors.append([np.mean((m.predict(test_X) - target(test_X)) ** 2) for m in (ours, theirs, plain)])
        again = pickle.loads(pickle.dumps(ours))
        assert np.array_equal(again.predict(X), ours.predict(X))
    a, b, c = np.mean(errors, axis=0)
    assert a < 1.05 * b and a < 0.75 * c
    with pytest.raises(ValueError, match="linear_tree"):
        ours.refit(X, y)


@pytest.mark.parametrize("params", [{"boosting": "dart", "drop_rate": 0.3}, {"data_sample_strategy": "goss"}])
def test_dart_and_goss_learn_as_lightgbms(params: dict[str, Any]) -> None:
    X, y = _data()
    test_X, test_y = _data(seed=1)
    for target, test, ours, theirs in (
        (y, test_y, HistGradientBoostingRegressor, lightgbm.LGBMRegressor),
        (y > 0, test_y > 0, HistGradientBoostingClassifier, lightgbm.LGBMClassifier),
        (
            np.digitize(y, [-1, 1]),
            np.digitize(test_y, [-1, 1]),
            HistGradientBoostingClassifier,
            lightgbm.LGBMClassifier,
        ),
    ):
        renamed = {{"boosting": "boosting_type"}.get(k, k): v for k, v in params.items()}
        models = [ours(max_iter=60, random_state=i, **params).fit(X, target) for i in range(4)]
        peers = [
            theirs(n_estimators=60, random_state=i, drop_seed=i, **PLAIN, **renamed).fit(X, target) for i in range(4)
        ]
        a, b = (np.mean([m.score(test_X, test) for m in group]) for group in (models, peers))
        assert a > b - 0.03
        model = models[0]
        again = ours(max_iter=60, random_state=0, **params).fit(X, target)
        assert np.array_equal(model.predict(X), again.predict(X))
    if "boosting" in params:
        # The scores that training keeps are those that the model gives.
        model = HistGradientBoostingRegressor(max_iter=30, early_stopping=True, validation_fraction=None, **params)
        model.fit(X, y)
        assert -model.train_score_[-1] == pytest.approx(np.mean((model.predict(X) - y) ** 2) / 2, rel=1e-9)


def test_leaves_fitted_anew_are_lightgbms() -> None:
    X, y = _data()
    new_X, new_y = _data(seed=3)
    ours = HistGradientBoostingRegressor(max_iter=10).fit(X, y - y.mean())
    other = ours.refit(new_X, new_y * 2, decay_rate=0.3)
    assert np.array_equal(ours.predict(X), HistGradientBoostingRegressor(max_iter=10).fit(X, y - y.mean()).predict(X))
    scores = np.zeros(len(new_X))
    # The rule by hand: tree by tree, from the leaves that rows fall into.
    before = HistGradientBoostingRegressor(max_iter=1).fit(X, y - y.mean())
    leaves = before.predict(new_X)
    start = float((y - y.mean()).mean())
    for value in np.unique(leaves):
        rows = leaves == value
        scores[rows] = start + 0.3 * (value - start) + 0.7 * 0.1 * (new_y[rows] * 2 - start).mean()
    assert np.allclose(before.refit(new_X, new_y * 2, decay_rate=0.3).predict(new_X), scores, atol=1e-9)
    assert np.mean((other.predict(new_X) - 2 * new_y) ** 2) < np.mean((ours.predict(new_X) - 2 * new_y) ** 2)
    same = ours.refit(new_X, new_y, decay_rate=1.0)
    assert np.array_equal(same.predict(X), ours.predict(X))
    classes = HistGradientBoostingClassifier(max_iter=5).fit(X, y > 0)
    assert classes.refit(new_X, new_y > 0).score(new_X, new_y > 0) > 0.7
    with pytest.raises(ValueError, match="decay_rate"):
        ours.refit(X, y, decay_rate=2.0)


def test_callbacks_see_rounds_and_end_the_fit() -> None:
    X, y = _data()
    seen: list[int] = []

    def stop(step: Any) -> bool:
        seen.append(step.iteration)
        assert step.loss > 0 and step.total == 100
        return bool(step.iteration == 4)

    model = HistGradientBoostingRegressor().fit(X, y, callbacks=[stop])
    assert seen == [1, 2, 3, 4] and model.n_iter_ == 4
    assert np.array_equal(model.predict(X), HistGradientBoostingRegressor(max_iter=4).fit(X, y).predict(X))

    def fail(step: Any) -> None:
        raise KeyError("a callback's own error")

    with pytest.raises(KeyError, match="a callback's own error"):
        model.fit(X, y, callbacks=[fail])


def test_ctrl_c_raises_and_keeps_the_rounds_so_far() -> None:
    X, y = _data()
    model = HistGradientBoostingRegressor(max_iter=100_000, early_stopping=False)
    # A shell that runs tests in the background has them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Thread(target=lambda: (time.sleep(0.5), _thread.interrupt_main())).start()
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    finally:
        signal.signal(signal.SIGINT, before)
    assert 0 < model.n_iter_ < 100_000
    assert model.score(X, y) > 0.5


def test_several_scores_are_noted_and_the_first_decides() -> None:
    from sklearn.metrics import get_scorer, log_loss

    X, y = _data()
    params: dict[str, Any] = {"max_iter": 20, "early_stopping": True, "random_state": 0}
    scorer = get_scorer("neg_log_loss")
    model = HistGradientBoostingClassifier(scoring=["roc_auc", "neg_log_loss", scorer], **params).fit(X, y > 0)
    by_name = model.evals_result_["validation"]
    assert list(by_name)[:2] == ["roc_auc", "neg_log_loss"]
    assert np.array_equal(by_name["roc_auc"], model.validation_score_)
    assert np.allclose(list(by_name.values())[2], by_name["neg_log_loss"], rtol=1e-12)

    def own(model: Any, rows: np.ndarray, y: np.ndarray) -> float:
        assert rows.shape == (len(y), 1)
        return -float(log_loss(y, model.predict_proba(rows)))

    alone = HistGradientBoostingClassifier(scoring=own, **params).fit(X, y > 0)
    assert np.allclose(alone.validation_score_, by_name["neg_log_loss"], rtol=1e-12)
