"""Members whose answers a model on top learns from."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .. import _core, _inputs, _targets
from .._base import ClassifierMixin, RegressorMixin, available_if
from .._inputs import Input
from .._params import clone
from .._parts import model_of
from ..exceptions import ParameterError
from ..linear_model import LogisticRegression, Ridge
from ._members import Named, fit_member


def folds(cv: Any, y: np.ndarray, stratified: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to fit on and rows held out: `cv` parts in order, of even shares of classes where `stratified`.

    Raises
    ------
    ValueError
        For a number of parts that is no int from 2 to the number of rows.
    """
    if hasattr(cv, "split"):
        return list(cv.split(np.zeros(len(y)), y))
    if cv is not None and not isinstance(cv, (int, np.integer)):
        return [(np.asarray(a), np.asarray(b)) for a, b in cv]
    count = 5 if cv is None else int(cv)
    if count < 2 or (count > len(y) and cv is not None):
        raise ParameterError(f"The 'cv' parameter must be an int in the range [2, {len(y)}]. Got {count} instead.")
    if count > len(y):
        raise ValueError(f"Cross-validation in {count} parts needs as many rows, but there are n_samples={len(y)}.")
    part = np.empty(len(y), np.int64)
    if stratified:
        first = np.sort(np.unique(y, return_index=True)[1])
        codes = np.argmax(y[:, None] == y[first][None, :], axis=1)
        ordered = np.sort(codes)
        shares = np.array([np.bincount(ordered[i::count], minlength=len(first)) for i in range(count)])
        for code in range(len(first)):
            part[codes == code] = np.repeat(np.arange(count), shares[:, code])
    else:
        sizes = np.full(count, len(y) // count)
        sizes[: len(y) % count] += 1
        part = np.repeat(np.arange(count), sizes)
    rows = np.arange(len(y))
    return [(rows[part != i], rows[part == i]) for i in range(count)]


def _on_top(stack: Any) -> Any:
    return LogisticRegression() if stack.final_estimator is None else stack.final_estimator


class _Stacking(Named):
    """What both kinds share."""

    final_estimator: Any
    final_estimator_: Any
    cv: Any
    passthrough: bool
    stack_method = "predict"
    stack_method_: list[str]

    def _method(self, model: Any) -> str:
        """The method whose answers go to the model on top."""
        if self.stack_method != "auto":
            if not hasattr(model, self.stack_method):
                raise ParameterError(
                    f"Underlying estimator {type(model).__name__} does not implement {self.stack_method}."
                )
            return self.stack_method
        return next(m for m in ("predict_proba", "decision_function", "predict") if hasattr(model, m))

    @staticmethod
    def _answers(model: Any, method: str, inputs: Input) -> np.ndarray:
        out = np.asarray(getattr(model, method)(inputs))
        if method == "predict" and hasattr(model, "classes_"):
            # The model hands on the place of a class.
            out = np.searchsorted(model.classes_, out).astype(np.float64)
        out = out[:, None] if out.ndim == 1 else out
        return out[:, 1:] if method == "predict_proba" and out.shape[1] == 2 else out

    def _fit_stack(
        self, inputs: Input, y: np.ndarray, final: Any, weights: np.ndarray | None, stratified: bool
    ) -> None:
        members = self._named()
        if self.passthrough and inputs.texts:
            raise ParameterError("passthrough=True hands on all columns, but some of them hold text.")
        prefit = isinstance(self.cv, str) and self.cv == "prefit"
        if prefit:
            self.estimators_ = [e for _, e in members]
        else:
            self.estimators_ = [fit_member(e, inputs, y, weights) for _, e in members]
        self.stack_method_ = [self._method(e) for e in self.estimators_]
        parts = []
        splits = [] if prefit else folds(self.cv, y, stratified)
        for model, (_, given), method in zip(self.estimators_, members, self.stack_method_, strict=True):
            if prefit:
                parts.append(self._answers(model, method, inputs))
                continue
            answers = None
            for fitted, held_out in splits:
                part_weights = None if weights is None else weights[fitted]
                part = fit_member(given, inputs.take(fitted), y[fitted], part_weights)
                found = self._answers(part, method, inputs.take(held_out))
                if answers is None:
                    answers = np.zeros((inputs.rows, found.shape[1]))
                if found.shape[1] != answers.shape[1]:
                    raise ValueError("A class has too few rows: one of the parts of the cross-validation lacks it.")
                answers[held_out] = found
            assert answers is not None
            parts.append(answers)
        if self.passthrough:
            parts += [np.asarray(inputs.column(i), np.float64)[:, None] for i in range(inputs.width)]
        extra = {} if weights is None else {"sample_weight": weights}
        self.final_estimator_ = clone(final).fit(np.hstack(parts), y, **extra)
        self._remember(inputs)
        binary = stratified and len(np.unique(y)) == 2
        methods = [(m, m == "predict_proba" and binary) for m in self.stack_method_]
        below = self._compose(inputs, "stack", methods=methods, passthrough=self.passthrough)
        self._model = _core.chain([below, model_of(self.final_estimator_, type(self).__name__)])


class StackingClassifier(ClassifierMixin, _Stacking):
    """Classifiers under a classifier that learns from what they answer to rows they didn't see.

    Members and the one on top are Corten estimators or pipelines of them, so that the ensemble is one model.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and members; "drop" leaves one out.
    final_estimator : estimator, default=None
        The one on top; a `LogisticRegression` with None.
    cv : int, "prefit", splitter or iterable of (fit, held out), default=None
        Parts of the cross-validation, 5 with None; members that are fitted already with "prefit".
    stack_method : {"auto", "predict_proba", "decision_function", "predict"}, default="auto"
        What members hand on; the first that they have with "auto".
    n_jobs : int, default=None
        Threads that predict; None and -1 stand for all.
    passthrough : bool, default=False
        Whether the one on top sees the columns too.
    verbose : int, default=0
        Without effect; there for scikit-learn's signature.

    Attributes
    ----------
    estimators_ : list of estimators
        The members, fitted on all rows.
    named_estimators_ : dict
        The same by name.
    final_estimator_ : estimator
        The fitted one on top.
    stack_method_ : list of str
        What each member hands on.
    classes_ : ndarray of shape (n_classes,)
        The classes in ascending order.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    Wolpert, "Stacked generalization", Neural Networks 5 (1992); scikit-learn's `ensemble/_stacking.py`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.ensemble import StackingClassifier
    >>> from corten.linear_model import LogisticRegression
    >>> from corten.tree import DecisionTreeClassifier
    >>> X = np.arange(40.0).reshape(-1, 1)
    >>> members = [("linear", LogisticRegression()), ("tree", DecisionTreeClassifier(random_state=0))]
    >>> StackingClassifier(members).fit(X, X[:, 0] > 19).predict([[1.0], [38.0]]).tolist()
    [False, True]
    """

    def __init__(
        self,
        estimators: Any,
        final_estimator: Any = None,
        *,
        cv: Any = None,
        stack_method: str = "auto",
        n_jobs: int | None = None,
        passthrough: bool = False,
        verbose: int = 0,
    ) -> None:
        self.estimators = estimators
        self.final_estimator = final_estimator
        self.cv = cv
        self.stack_method = stack_method
        self.n_jobs = n_jobs
        self.passthrough = passthrough
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the members, and the one on top on what they answer to rows held out.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            The class of each row.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row, which all members must take.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable members, parameters or values.
        """
        allowed = ("auto", "predict_proba", "decision_function", "predict")
        if self.stack_method not in allowed:
            raise ParameterError(
                f"The 'stack_method' parameter must be one of {allowed}. Got {self.stack_method!r} instead."
            )
        inputs = self._read(X, reset=True)
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        target = _targets.classes(y, inputs.rows, type(self).__name__, weights)
        assert target.classes is not None
        final = _on_top(self)
        if getattr(final, "_estimator_type", None) != "classifier":
            raise ParameterError(f"'final_estimator' parameter should be a classifier. Got {final}")
        self.classes_ = target.classes
        self._fit_stack(inputs, target.classes[target.values], final, weights, True)
        return self

    @available_if(lambda self: hasattr(_on_top(self), "decision_function"))
    def decision_function(self, X: Any) -> np.ndarray:
        """The scores of the one on top; only where it has them.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            With two classes, the score of the second.
        """
        out: np.ndarray = self._run("decision_function", X)
        return out.ravel() if out.shape[1] == 1 else out


class StackingRegressor(RegressorMixin, _Stacking):
    """Regressors under a regressor that learns from what they answer to rows they didn't see.

    Members and the one on top are Corten estimators or pipelines of them, so that the ensemble is one model.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and members; "drop" leaves one out.
    final_estimator : estimator, default=None
        The one on top; a `Ridge` with None.
    cv : int, "prefit", splitter or iterable of (fit, held out), default=None
        Parts of the cross-validation, 5 with None; members that are fitted already with "prefit".
    n_jobs : int, default=None
        Threads that predict; None and -1 stand for all.
    passthrough : bool, default=False
        Whether the one on top sees the columns too.
    verbose : int, default=0
        Without effect; there for scikit-learn's signature.

    Attributes
    ----------
    estimators_ : list of estimators
        The members, fitted on all rows.
    named_estimators_ : dict
        The same by name.
    final_estimator_ : estimator
        The fitted one on top.
    stack_method_ : list of str
        What each member hands on.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    Wolpert, "Stacked generalization", Neural Networks 5 (1992); scikit-learn's `ensemble/_stacking.py`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.ensemble import StackingRegressor
    >>> from corten.linear_model import LinearRegression
    >>> from corten.tree import DecisionTreeRegressor
    >>> X = np.arange(40.0).reshape(-1, 1)
    >>> members = [("linear", LinearRegression()), ("tree", DecisionTreeRegressor(random_state=0))]
    >>> bool(StackingRegressor(members).fit(X, 2 * X[:, 0]).score(X, 2 * X[:, 0]) > 0.99)
    True
    """

    def __init__(
        self,
        estimators: Any,
        final_estimator: Any = None,
        *,
        cv: Any = None,
        n_jobs: int | None = None,
        passthrough: bool = False,
        verbose: int = 0,
    ) -> None:
        self.estimators = estimators
        self.final_estimator = final_estimator
        self.cv = cv
        self.n_jobs = n_jobs
        self.passthrough = passthrough
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the members, and the one on top on what they answer to rows held out.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            The target.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row, which all members must take.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable members, parameters or values.
        """
        inputs = self._read(X, reset=True)
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        target = _targets.numbers(y, inputs.rows)
        self._flat = True
        final = Ridge() if self.final_estimator is None else self.final_estimator
        if getattr(final, "_estimator_type", None) != "regressor":
            raise ParameterError(f"'final_estimator' parameter should be a regressor. Got {final}")
        self._fit_stack(inputs, target.values, final, weights, False)
        return self
