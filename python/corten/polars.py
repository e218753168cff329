"""Models as Polars expressions, in eager, lazy and streaming queries.

Each function gives an expression whose values are the model's answers. Columns are found by the names that the model
knows, so `predict("m.corten")` is enough for a frame with the columns of the fit; the frame may have others.

Examples
--------
>>> import polars as pl
>>> import corten.polars
>>> from corten.linear_model import LogisticRegression
>>> rows = pl.DataFrame({"age": [20.0, 30.0, 60.0, 70.0], "id": [1, 2, 3, 4]})
>>> model = LogisticRegression().fit(rows.select("age"), ["no", "no", "yes", "yes"])
>>> scored = rows.lazy().with_columns(corten.polars.predict(model).alias("buys"))
>>> scored.collect(engine="streaming")["buys"].to_list()
['no', 'no', 'yes', 'yes']
>>> rows.select(corten.polars.predict_proba(model).struct.field("probability_yes") > 0.5).to_series().to_list()
[False, False, True, True]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._scoring import Scorer
from .exceptions import ParameterError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["decision_function", "predict", "predict_interval", "predict_proba", "predict_set", "transform"]


def predict(model: Any, *columns: Any) -> pl.Expr:
    """The prediction for each row.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        The model; a path is read now.
    *columns : str or polars.Expr
        What the model reads, in the order of its fit. By default the columns of the frame with the model's names.

    Returns
    -------
    polars.Expr
        Elementwise, called `prediction`, of the type of the classes or Float64; a struct `prediction_0` ... for several
        targets.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    UnsupportedError
        When the model has no such method.
    ParameterError
        When the model knows no names and no columns are given, or too few or too many.

    Examples
    --------
    >>> import polars as pl
    >>> import corten.polars
    >>> from corten.linear_model import Ridge
    >>> model = Ridge(alpha=1e-9).fit([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0])
    >>> pl.DataFrame({"x": [3.0]}).select(corten.polars.predict(model, pl.col("x") + 1).round(6)).item()
    9.0
    """
    return _expression(model, "predict", columns)


def predict_proba(model: Any, *columns: Any) -> pl.Expr:
    """The probability of each class for each row: a struct `probability_<class>` ... of Float64.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        The model.
    *columns : str or polars.Expr
        As for `predict`.

    Returns
    -------
    polars.Expr
        Elementwise, called `predict_proba`.
    """
    return _expression(model, "predict_proba", columns)


def decision_function(model: Any, *columns: Any) -> pl.Expr:
    """The score of each row before it becomes a probability: Float64, or a struct with one for each class.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        The model.
    *columns : str or polars.Expr
        As for `predict`.

    Returns
    -------
    polars.Expr
        Elementwise, called `decision_function`.
    """
    return _expression(model, "decision_function", columns)


def transform(model: Any, *columns: Any) -> pl.Expr:
    """What a transformer makes of each row: a value, or a struct with the names of `get_feature_names_out`.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        The model.
    *columns : str or polars.Expr
        As for `predict`.

    Returns
    -------
    polars.Expr
        Elementwise, called `transform`.
    """
    return _expression(model, "transform", columns)


def predict_interval(model: Any, *columns: Any) -> pl.Expr:
    """The interval of each row by a conformal regressor: a struct `lower`, `upper` of Float64.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        The model.
    *columns : str or polars.Expr
        As for `predict`.

    Returns
    -------
    polars.Expr
        Elementwise, called `predict_interval`.
    """
    return _expression(model, "predict_interval", columns)


def predict_set(model: Any, *columns: Any) -> pl.Expr:
    """The set of classes of each row by a conformal classifier: a struct `in_set_<class>` ... of 0.0 and 1.0.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        The model.
    *columns : str or polars.Expr
        As for `predict`.

    Returns
    -------
    polars.Expr
        Elementwise, called `predict_set`.
    """
    return _expression(model, "predict_set", columns)


def _expression(model: Any, method: str, columns: tuple[Any, ...]) -> pl.Expr:
    import polars as pl

    scorer = Scorer(model, method)
    width = len(scorer.names)
    given = [pl.col(c) if isinstance(c, str) else c for c in columns or scorer.columns or ()]
    several = any(e.meta.has_multiple_outputs() for e in given)
    if not several:
        if len(given) != width:
            raise ParameterError(
                f"The model reads {width} columns ({', '.join(scorer.names[:20])}); {len(given)} were given."
            )
        given = [e.alias(name) for e, name in zip(given, scorer.names, strict=True)]
    types = {"float": pl.Float64, "int": pl.Int64, "bool": pl.Boolean, "text": pl.String}
    fields = [pl.Field(name, types[kind]) for name, kind in scorer.answers]
    name = "prediction" if method == "predict" else method

    def answer(block: pl.Series) -> pl.Series:
        frame = block.struct.unnest()
        if frame.width != width:
            raise ParameterError(f"The model reads {width} columns; the expressions give {frame.width}.")
        frame.columns = scorer.names
        out = pl.DataFrame(scorer(frame))
        return out.to_series().alias(name) if len(fields) == 1 else out.to_struct(name)

    dtype = fields[0].dtype if len(fields) == 1 else pl.Struct(fields)
    return pl.struct(given).map_batches(answer, return_dtype=dtype, is_elementwise=True).alias(name)
