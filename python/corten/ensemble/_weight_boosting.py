"""AdaBoost: estimators fitted one after the other to what those before got wrong."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from .. import _core, _inputs, _targets
from .._base import ClassifierMixin, DecisionMixin, RegressorMixin
from .._inputs import Input
from ..exceptions import ParameterError
from ..tree import DecisionTreeClassifier, DecisionTreeRegressor
from ._members import forget, member
from ._repeated import Repeated, generator


class _AdaBoost(Repeated):
    """The loop that both share."""

    learning_rate: float
    estimator_weights_: np.ndarray
    estimator_errors_: np.ndarray

    def _check_rate(self) -> None:
        rate = self.learning_rate
        if isinstance(rate, bool) or not isinstance(rate, (int, float, np.number)) or not 0 < rate < np.inf:
            raise ParameterError(
                f"The 'learning_rate' parameter must be a float in the range (0.0, inf). Got {rate!r} instead."
            )

    def _one(
        self, at: int, base: Any, inputs: Input, y: np.ndarray, weights: np.ndarray, random: Any
    ) -> tuple[np.ndarray, float, float] | None:
        raise NotImplementedError

    def _loop(self, base: Any, inputs: Input, y: np.ndarray, sample_weight: np.ndarray | None) -> None:
        """Fits the estimators; the weights of rows follow the errors."""
        random = generator(self.random_state)
        weights = np.ones(inputs.rows) if sample_weight is None else sample_weight.astype(np.float64)
        weights = weights / weights.sum()
        unused = weights == 0
        self.estimators_ = []
        shares, errors = [], []
        for at in range(self.n_estimators):
            weights = np.maximum(weights, np.finfo(np.float64).eps)
            weights[unused] = 0
            done = self._one(at, base, inputs, y, weights, random)
            if done is None:
                break
            weights, share, error = done
            shares.append(share)
            errors.append(error)
            total = weights.sum()
            if error == 0 or total <= 0:
                break
            if not np.isfinite(total):
                warnings.warn(
                    f"Sample weights have reached infinite values, at iteration {at}, causing overflow. Iterations "
                    "stopped. Try lowering the learning rate.",
                    stacklevel=4,
                )
                break
            weights = weights / total
        self.estimator_weights_, self.estimator_errors_ = np.array(shares), np.array(errors)

    def _join(self, inputs: Input, rule: str, **kwargs: Any) -> None:
        what = type(self).__name__
        pairs = zip(self.estimators_, self.estimator_weights_, strict=True)
        members = [member(e, inputs, what, weight=w, classes=self._places(e)) for e, w in pairs]
        self._remember(inputs)
        self._model = _core.ensemble(inputs.schema(), members, rule, **kwargs)
        self._model.see(inputs.data)

    def _places(self, model: Any) -> list[int] | None:
        return None

    @property
    def feature_importances_(self) -> np.ndarray:
        """The mean of the estimators' importances of columns, weighted as they are.

        Returns
        -------
        ndarray of shape (n_features,)

        Raises
        ------
        AttributeError
            Before `fit`, and where the estimators have none.
        """
        every = [e.feature_importances_ for e in self.estimators_]
        out: np.ndarray = np.average(every, axis=0, weights=self.estimator_weights_)
        return out


class AdaBoostClassifier(DecisionMixin, ClassifierMixin, _AdaBoost):
    """Classifiers that vote, each fitted to rows weighted by the errors of those before (SAMME).

    Parameters
    ----------
    estimator : estimator or None, default=None
        A Corten classifier that takes weights of rows; a tree of one split if None.
    n_estimators : int, default=50
        Most classifiers.
    learning_rate : float, default=1.0
        What the weight of each classifier is multiplied by.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes in ascending order.
    n_classes_ : int
        Their number.
    estimator_ : estimator
        What was fitted again and again.
    estimators_ : list of estimators
        The fitted classifiers.
    estimator_weights_, estimator_errors_ : ndarray of shape (n_fitted,)
        The weight of each, and its share of wrong rows.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    Zhu, Zou, Rosset & Hastie, "Multi-class AdaBoost", Statistics and its interface 2, 2009; scikit-learn's
    `ensemble/_weight_boosting.py`.

    Examples
    --------
    >>> from corten.ensemble import AdaBoostClassifier
    >>> model = AdaBoostClassifier(n_estimators=5, random_state=0).fit([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    >>> model.predict([[0.2], [2.5]])
    array([0, 1])
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_estimators: int = 50,
        learning_rate: float = 1.0,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.random_state = random_state

    def _default(self) -> Any:
        return DecisionTreeClassifier(max_depth=1)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the classifiers, one after the other.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            The class of each row.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row; 1 each if not given.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable parameters or values, and a first classifier that is no better than chance.
        """
        base = self._checked()
        self._check_rate()
        inputs = self._read(X, reset=True)
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        target = _targets.classes(y, inputs.rows, type(self).__name__, weights)
        assert target.classes is not None
        self.classes_, self.n_classes_ = target.classes, len(target.classes)
        self._loop(base, inputs, target.classes[target.values], weights)
        self._join(inputs, "boosted", classes=target.labels)
        return self

    def _one(
        self, at: int, base: Any, inputs: Input, y: np.ndarray, weights: np.ndarray, random: Any
    ) -> tuple[np.ndarray, float, float] | None:
        model = forget(self._fresh(base, random).fit(inputs, y, sample_weight=weights))
        wrong = model.predict(inputs) != y
        error = float(np.average(wrong, weights=weights))
        if error <= 0:
            self.estimators_.append(model)
            return weights, 1.0, 0.0
        classes = self.n_classes_
        if error >= 1 - 1 / classes:
            if not self.estimators_:
                raise ValueError(
                    "BaseClassifier in AdaBoostClassifier ensemble is worse than random, ensemble can not be fit."
                )
            return None
        self.estimators_.append(model)
        share = self.learning_rate * (np.log((1 - error) / error) + np.log(classes - 1))
        if at < self.n_estimators - 1:
            used = weights > 0
            weights = weights.copy()
            weights[used] = np.exp(np.log(weights[used]) + share * wrong[used])
        return weights, float(share), error

    def _places(self, model: Any) -> list[int] | None:
        return [int(i) for i in np.searchsorted(self.classes_, model.classes_)]

    def staged_decision_function(self, X: Any) -> Iterator[np.ndarray]:
        """The scores after each classifier.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Yields
        ------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
        """
        self._fitted_model()
        inputs = self._read(X, reset=False)
        votes, total = np.zeros((inputs.rows, self.n_classes_)), 0.0
        for model, weight in zip(self.estimators_, self.estimator_weights_, strict=True):
            right = model.predict(inputs)[:, None] == self.classes_
            votes += np.where(right, weight, -weight / (self.n_classes_ - 1))
            total += weight
            scores = votes / total
            yield scores[:, 1] - scores[:, 0] if self.n_classes_ == 2 else scores

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """The class of each row after each classifier.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Yields
        ------
        ndarray of shape (n_samples,)
        """
        for scores in self.staged_decision_function(X):
            index = (scores > 0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)
            yield self.classes_[index]

    def staged_predict_proba(self, X: Any) -> Iterator[np.ndarray]:
        """The probability of each class after each classifier.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Yields
        ------
        ndarray of shape (n_samples, n_classes)
        """
        for scores in self.staged_decision_function(X):
            if scores.ndim == 1:
                positive = 1 / (1 + np.exp(-scores))
                yield np.column_stack([1 - positive, positive])
            else:
                exps = np.exp(scores / (self.n_classes_ - 1))
                yield exps / exps.sum(axis=1, keepdims=True)


class AdaBoostRegressor(RegressorMixin, _AdaBoost):
    """Regressors whose weighted median is predicted, each fitted to draws of rows by the errors before (AdaBoost.R2).

    Parameters
    ----------
    estimator : estimator or None, default=None
        A Corten regressor; a tree of depth 3 if None.
    n_estimators : int, default=50
        Most regressors.
    learning_rate : float, default=1.0
        What the weight of each regressor is multiplied by.
    loss : {"linear", "square", "exponential"}, default="linear"
        How a row's error, over the largest, counts.
    random_state : int, RandomState or None, default=None
        Seed.

    Attributes
    ----------
    estimator_ : estimator
        What was fitted again and again.
    estimators_ : list of estimators
        The fitted regressors.
    estimator_weights_, estimator_errors_ : ndarray of shape (n_fitted,)
        The weight of each, and its mean error.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    Drucker, "Improving regressors using boosting techniques", ICML 1997; scikit-learn's `ensemble/_weight_boosting.py`.

    Examples
    --------
    >>> from corten.ensemble import AdaBoostRegressor
    >>> model = AdaBoostRegressor(n_estimators=5, random_state=0).fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.0])
    >>> model.predict([[2.0]])
    array([2.])
    """

    def __init__(
        self,
        estimator: Any = None,
        *,
        n_estimators: int = 50,
        learning_rate: float = 1.0,
        loss: str = "linear",
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.loss = loss
        self.random_state = random_state

    def _default(self) -> Any:
        return DecisionTreeRegressor(max_depth=3)

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the regressors, one after the other.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            The target.
        sample_weight : array-like of shape (n_samples,), optional
            How likely each row is drawn at first; all alike if not given.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable parameters or values.
        """
        base = self._checked()
        self._check_rate()
        if self.loss not in ("linear", "square", "exponential"):
            raise ParameterError(
                "The 'loss' parameter must be a str among {'exponential', 'linear', 'square'}. Got "
                f"{self.loss!r} instead."
            )
        inputs = self._read(X, reset=True)
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        target = _targets.numbers(y, inputs.rows)
        self._flat = True
        self._loop(base, inputs, target.values, weights)
        self._join(inputs, "median")
        return self

    def _one(
        self, at: int, base: Any, inputs: Input, y: np.ndarray, weights: np.ndarray, random: Any
    ) -> tuple[np.ndarray, float, float] | None:
        model = self._fresh(base, random)
        drawn = random.choice(np.arange(inputs.rows), size=inputs.rows, replace=True, p=weights / weights.sum())
        forget(model.fit(inputs.take(drawn), y[drawn]))
        errors = np.abs(model.predict(inputs) - y)
        used = weights > 0
        errors, mine = errors[used], weights[used]
        if errors.max() != 0:
            errors = errors / errors.max()
        if self.loss == "square":
            errors = errors**2
        elif self.loss == "exponential":
            errors = 1 - np.exp(-errors)
        error = float((mine * errors).sum())
        if error <= 0:
            self.estimators_.append(model)
            return weights, 1.0, 0.0
        if error >= 0.5 and self.estimators_:
            return None
        self.estimators_.append(model)
        if error >= 0.5:
            # Alone it predicts whatever its weight; no other one follows.
            return np.zeros_like(weights), 1.0, error
        beta = error / (1 - error)
        if at < self.n_estimators - 1:
            weights = weights.copy()
            weights[used] *= beta ** ((1 - errors) * self.learning_rate)
        return weights, float(self.learning_rate * np.log(1 / beta)), error

    def staged_predict(self, X: Any) -> Iterator[np.ndarray]:
        """The prediction after each regressor.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Yields
        ------
        ndarray of shape (n_samples,)
        """
        self._fitted_model()
        inputs = self._read(X, reset=False)
        answers = np.column_stack([e.predict(inputs) for e in self.estimators_])
        for count in range(1, len(self.estimators_) + 1):
            order = answers[:, :count].argsort(axis=1)
            sums = self.estimator_weights_[order].cumsum(axis=1)
            middle = (sums >= 0.5 * sums[:, -1:]).argmax(axis=1)
            rows = np.arange(inputs.rows)
            yield answers[rows, order[rows, middle]]
