"""Pipelines and column transformers: equal to their steps, to scikit-learn's, and inside scikit-learn's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from corten.compose import ColumnTransformer, make_column_selector, make_column_transformer
from corten.impute import SimpleImputer
from corten.linear_model import LogisticRegression, Ridge
from corten.pipeline import Pipeline, make_pipeline
from corten.preprocessing import MinMaxScaler, OneHotEncoder, StandardScaler

X = np.random.default_rng(0).normal(size=(80, 3))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def test_pipeline_equals_its_steps() -> None:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, Y)
    scaled = StandardScaler().fit_transform(X)
    alone = LogisticRegression().fit(scaled, Y)
    assert np.array_equal(pipeline.predict_proba(X), alone.predict_proba(scaled))
    assert np.array_equal(pipeline.predict(X), alone.predict(scaled))
    assert pipeline.score(X, Y) == alone.score(scaled, Y)


def test_pipeline_equals_scikit_learns(raw: Any, flat: Any) -> None:
    from sklearn.base import clone
    from sklearn.compose import make_column_transformer as their_columns
    from sklearn.impute import SimpleImputer as TheirImputer
    from sklearn.linear_model import LogisticRegression as Theirs
    from sklearn.pipeline import make_pipeline as their_pipeline
    from sklearn.preprocessing import OneHotEncoder as TheirEncoder
    from sklearn.preprocessing import StandardScaler as TheirScaler

    rows, y = raw
    numbers = their_pipeline(TheirImputer(strategy="median"), TheirScaler())
    parts = [(numbers, ["distance", "hour"]), (TheirEncoder(handle_unknown="ignore"), ["city"])]
    theirs = their_pipeline(their_columns(*parts), Theirs()).fit(rows.to_pandas(), y)
    ours = clone(flat).fit(rows, y)
    np.testing.assert_allclose(ours.predict_proba(rows), theirs.predict_proba(rows.to_pandas()), atol=1e-4)


def test_inside_scikit_learns_meta_estimators() -> None:
    from sklearn.model_selection import GridSearchCV, cross_validate
    from sklearn.pipeline import make_pipeline as theirs

    scores = cross_validate(theirs(StandardScaler(), LogisticRegression()), X, Y, cv=3)["test_score"]
    assert scores.mean() > 0.9
    search = GridSearchCV(
        make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [0.1, 1.0]}, cv=3
    )
    assert search.fit(X, Y).best_score_ > 0.9


def test_inside_scikit_learns_column_transformer_with_frames() -> None:
    pd = pytest.importorskip("pandas")
    from sklearn.compose import make_column_transformer as theirs

    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "x"]}, index=[5, 6, 7])
    both = theirs((StandardScaler(), ["a"]), (OneHotEncoder(sparse_output=False), ["b"])).set_output(transform="pandas")
    out = both.fit_transform(frame)
    assert list(out.columns) == ["standardscaler__a", "onehotencoder__b_x", "onehotencoder__b_y"]
    assert list(out.index) == [5, 6, 7]


def test_metadata_routing() -> None:
    import sklearn
    from sklearn.model_selection import GridSearchCV

    weights = np.ones(80)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator = LogisticRegression().set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
        GridSearchCV(estimator, {"C": [1.0]}, cv=2).fit(X, Y, sample_weight=weights)
        GridSearchCV(make_pipeline(StandardScaler().set_fit_request(sample_weight=False), estimator), {}, cv=2).fit(
            X, Y, sample_weight=weights
        )


def test_steps_of_scikit_learn_work_but_cannot_be_saved(tmp_path: Any) -> None:
    from sklearn.decomposition import PCA

    pipeline = make_pipeline(StandardScaler(), PCA(2), LogisticRegression()).fit(X, Y)
    assert pipeline.predict(X).shape == (80,) and pipeline.score(X, Y) > 0.5
    with pytest.raises(ValueError, match="PCA"):
        pipeline.save(tmp_path / "m.corten")


def test_weights_reach_the_last_step() -> None:
    weights = np.linspace(0.1, 2, 80)
    by_name = make_pipeline(StandardScaler(), Ridge()).fit(X, X[:, 2], ridge__sample_weight=weights)
    alone = Ridge().fit(StandardScaler().fit_transform(X), X[:, 2], sample_weight=weights)
    assert np.array_equal(by_name.predict(X), alone.predict(StandardScaler().fit_transform(X)))


def test_nested_parameters_and_steps() -> None:
    pipeline = make_pipeline(make_column_transformer((MinMaxScaler(), [0])), Ridge())
    pipeline.set_params(ridge__alpha=5.0, columntransformer__minmaxscaler__clip=True)
    assert pipeline.get_params()["ridge__alpha"] == 5.0
    assert pipeline["columntransformer"].transformers[0][1].clip is True
    pipeline.set_params(ridge="passthrough")
    assert pipeline.fit(X).transform(X).shape == (80, 1)


def test_slices_and_names() -> None:
    pipeline = make_pipeline(StandardScaler(), MinMaxScaler(), Ridge()).fit(X, Y)
    assert len(pipeline) == 3 and isinstance(pipeline[-1], Ridge)
    assert np.array_equal(pipeline[:2].transform(X), MinMaxScaler().fit_transform(StandardScaler().fit_transform(X)))
    assert pipeline[:2].get_feature_names_out().tolist() == ["x0", "x1", "x2"]


def test_methods_are_those_of_the_last_step() -> None:
    assert not hasattr(make_pipeline(StandardScaler()), "predict")
    assert not hasattr(make_pipeline(Ridge()), "predict_proba")
    assert not hasattr(make_pipeline(Ridge()), "transform")
    assert hasattr(make_pipeline(LogisticRegression()), "decision_function")


def test_before_fit_is_not_fitted() -> None:
    with pytest.raises(ValueError, match="not fitted yet"):
        make_pipeline(StandardScaler(), Ridge()).predict(X)


@pytest.mark.parametrize(
    "columns",
    [
        ["distance", "hour"],
        [0, 1],
        slice(0, 2),
        [True, True, False],
        slice("distance", "hour"),
        make_column_selector(dtype_include=np.number),
        make_column_selector("^(dist|hour)"),
        lambda f: ["distance", "hour"],
    ],
)
def test_columns_by_name_position_mask_slice_and_selector(raw: Any, columns: Any) -> None:
    rows, _ = raw
    out = ColumnTransformer([("s", SimpleImputer(), columns)]).fit_transform(rows)
    assert np.array_equal(out, SimpleImputer().fit_transform(rows.select("distance", "hour")))


def test_remainder_and_passthrough() -> None:
    kept = ColumnTransformer([("a", MinMaxScaler(), [2])], remainder="passthrough").fit(X)
    assert np.array_equal(kept.transform(X)[:, 1:], X[:, :2])
    assert kept.get_feature_names_out().tolist() == ["a__x2", "remainder__x0", "remainder__x1"]
    part = ColumnTransformer([("a", "passthrough", [0]), ("b", "drop", [1])], remainder=StandardScaler()).fit(X)
    assert part.transform(X).shape == (80, 2)
    assert part.output_indices_ == {"a": slice(0, 1), "b": slice(1, 1), "remainder": slice(1, 2)}


def test_only_used_columns_are_needed(raw: Any) -> None:
    rows, _ = raw
    model = ColumnTransformer([("s", SimpleImputer(), ["distance"])]).fit(rows)
    assert np.array_equal(model.transform(rows.select("distance")), model.transform(rows))
    assert [c["name"] for c in model._model.schema()["inputs"]] == ["distance"]


def test_names_without_prefix_must_be_unique() -> None:
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({"a": [0.0, 1.0], "b": [1.0, 2.0]})
    short = ColumnTransformer(
        [("p", MinMaxScaler(), ["a"]), ("q", "passthrough", ["b"])], verbose_feature_names_out=False
    )
    assert short.fit(frame).get_feature_names_out().tolist() == ["a", "b"]
    twice = ColumnTransformer(
        [("p", MinMaxScaler(), ["a"]), ("q", "passthrough", ["a"])], verbose_feature_names_out=False
    )
    with pytest.raises(ValueError, match="not unique"):
        twice.fit(frame)


def test_unknown_columns_and_parts_are_named(raw: Any) -> None:
    rows, _ = raw
    with pytest.raises(ValueError, match="Column 'speed' is missing"):
        ColumnTransformer([("a", StandardScaler(), ["speed"])]).fit(rows)
    with pytest.raises(ValueError, match="must be a transformer, 'drop' or 'passthrough'"):
        ColumnTransformer([("a", "keep", [0])]).fit(X)
    with pytest.raises(ValueError, match="not unique"):
        Pipeline([("a", StandardScaler()), ("a", Ridge())]).fit(X, Y)


def test_sparse_results_of_the_column_transformer_are_scikit_learns() -> None:
    from scipy import sparse
    from sklearn.compose import make_column_transformer as theirs
    from sklearn.preprocessing import OneHotEncoder as TheirEncoder

    words = np.array([[f"w{i % 9}"] for i in range(40)], dtype=object)
    out = make_column_transformer((OneHotEncoder(), [0])).fit_transform(words)
    want = theirs((TheirEncoder(), [0])).fit_transform(words)
    assert sparse.issparse(out) and sparse.issparse(want)
    assert np.array_equal(out.toarray(), want.toarray())


def test_large_sparse_results_pass_between_steps_as_sparse_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    from corten import _blocks

    words = np.array([[f"w{i % 7}", f"v{i % 3}"] for i in range(200)], dtype=object)
    y = (np.arange(200) % 7 > 3).astype(int)
    dense = make_pipeline(make_column_transformer((OneHotEncoder(), [0, 1])), LogisticRegression()).fit(words, y)
    monkeypatch.setattr(_blocks, "LARGE", 0)
    monkeypatch.setattr(_blocks, "BLOCK", 300)
    thin = make_pipeline(make_column_transformer((OneHotEncoder(), [0, 1])), LogisticRegression()).fit(words, y)
    np.testing.assert_allclose(thin.predict_proba(words), dense.predict_proba(words), rtol=1e-6)
