"""Bagging: one estimator fitted to draws of rows and columns, and the mean of the answers."""

from __future__ import annotations

import inspect
import warnings
from typing import Any, Self

import numpy as np

from .. import _core, _inputs, _targets
from .._base import ClassifierMixin, RegressorMixin, r2_score
from .._inputs import Input
from ..exceptions import ParameterError
from ..tree import DecisionTreeClassifier, DecisionTreeRegressor
from ._members import forget, member
from ._repeated import Repeated, generator


def _count(name: str, value: Any, most: int) -> int:
    """A number out of so many, given as a number or as a share."""
    if value is None:
        return most
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if whole and value >= 1:
        if value > most and name == "max_features":
            raise ParameterError(f"max_features must be <= n_features ({most}). Got {value} instead.")
        return int(value)
    if not whole and isinstance(value, (float, np.floating)) and 0 < value <= 1:
        return max(1, int(value * most))
    raise ParameterError(
        f"The '{name}' parameter must be an int in the range [1, inf) or a float in the range (0.0, 1.0]. Got "
        f"{value!r} instead."
    )


class _Bagging(Repeated):
    """The draws that both share."""

    max_samples: Any
    max_features: Any
    bootstrap: bool
    bootstrap_features: bool
    oob_score: bool
    warm_start: bool
    estimators_features_: list[np.ndarray]
    estimators_samples_: list[np.ndarray]

    def _draw(self, inputs: Input, random: Any, weights: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Positions of columns and of rows."""
        columns = _count("max_features", self.max_features, inputs.width)
        rows = _count("max_samples", self.max_samples, inputs.rows)
        if self.bootstrap_features:
            features = np.unique(random.randint(0, inputs.width, columns))
        elif columns == inputs.width:
            features = np.arange(columns)
        else:
            features = np.sort(random.permutation(inputs.width)[:columns])
        if weights is not None:
            drawn = random.choice(inputs.rows, rows, replace=self.bootstrap, p=weights / weights.sum())
        elif self.bootstrap:
            drawn = random.randint(0, inputs.rows, rows)
        else:
            drawn = random.permutation(inputs.rows)[:rows]
        return features, drawn

    def _bag(self, inputs: Input, y: np.ndarray, weights: np.ndarray | None) -> None:
        base = self._checked()
        if not self.bootstrap and self.oob_score:
            raise ValueError("Out of bag estimation only available if bootstrap=True")
        if self.warm_start and self.oob_score:
            raise ValueError("Out of bag estimate only available if warm_start=False")
        if not self.bootstrap and _count("max_samples", self.max_samples, inputs.rows) > inputs.rows:
            raise ParameterError(f"max_samples must be at most {inputs.rows} rows without replacement.")
        random = generator(self.random_state)
        kept = self.warm_start and hasattr(self, "estimators_")
        if not kept:
            self.estimators_, self.estimators_features_, self.estimators_samples_ = [], [], []
        more = self.n_estimators - len(self.estimators_)
        if more < 0:
            raise ValueError(
                f"n_estimators={self.n_estimators} must be larger or equal to len(estimators_)="
                f"{len(self.estimators_)} when warm_start==True"
            )
        if kept and not more:
            warnings.warn("Warm-start fitting without increasing n_estimators does not fit new trees.", stacklevel=4)
        largest = np.iinfo(np.int32).max
        if kept:
            random.randint(largest, size=len(self.estimators_))
        takes_weights = "sample_weight" in inspect.signature(type(base).fit).parameters
        for seed in random.randint(largest, size=more):
            model = self._fresh(base, np.random.RandomState(seed))
            draws = np.random.RandomState(seed)
            features, rows = self._draw(inputs, draws, weights)
            # A classifier learns nothing from rows of one class.
            while self._estimator_type == "classifier" and len(np.unique(y[rows])) < 2:
                features, rows = self._draw(inputs, draws, weights)
            own = inputs if len(features) == inputs.width else inputs.select(features.tolist())
            if takes_weights:
                counts = np.bincount(rows, minlength=inputs.rows)
                model.fit(own, y, sample_weight=counts)
            else:
                model.fit(own.take(rows), y[rows])
            self.estimators_.append(forget(model))
            self.estimators_features_.append(features)
            self.estimators_samples_.append(rows)
        self._remember(inputs)

    def _unseen(self, inputs: Input) -> Any:
        """Each estimator with the rows that it was not fitted to."""
        for model, features, rows in zip(
            self.estimators_, self.estimators_features_, self.estimators_samples_, strict=True
        ):
            out = np.ones(inputs.rows, bool)
            out[rows] = False
            others = np.flatnonzero(out)
            if len(others):
                yield model, inputs.select(features.tolist()).take(others), others

    def _join(self, inputs: Input, rule: str, **kwargs: Any) -> None:
        what = type(self).__name__
        members = [
            member(e, inputs, what, classes=self._places(e), columns=f.tolist())
            for e, f in zip(self.estimators_, self.estimators_features_, strict=True)
        ]
        self._model = _core.ensemble(inputs.schema(), members, rule, **kwargs)
        self._model.see(inputs.data)

    def _places(self, model: Any) -> list[int] | None:
        return None


def _warn_unscored(counts: np.ndarray) -> None:
    if (counts == 0).any():
        warnings.warn(
            "Some inputs do not have OOB scores. This probably means too few estimators were used to compute any "
            "reliable oob estimates.",
            stacklevel=4,
        )


class BaggingClassifier(ClassifierMixin, _Bagging):
    """One classifier fitted to draws of rows and columns; probabilities are averaged, or votes counted without them.

    Parameters
    ----------
    estimator : estimator or None, default=None
        A Corten classifier; a decision tree if None.
    n_estimators : int, default=10
        How many are fitted.
    max_samples : int, float or None, default=None
        Rows drawn for each, as a number or a share; as many as there are with None.
    max_features : int or float, default=1.0
        Columns drawn for each, as a number or a share.
    bootstrap : bool, default=True
        Whether rows are drawn with replacement.
    bootstrap_features : bool, default=False
        Whether columns are drawn with replacement; one that is drawn twice counts once.
    oob_score : bool, default=False
        Whether to score each row by those that weren't fitted to it.
    warm_start : bool, default=False
        Keep those of the fit before and add to them.
    n_jobs : int, default=None
        Threads that fit and predict; None and -1 stand for all.
    random_state : int, RandomState or None, default=None
        Seed.
    verbose : int, default=0
        Without effect; there for scikit-learn's signature.

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
    estimators_samples_, estimators_features_ : list of ndarray
        Positions of the rows and of the columns that each was fitted to.
    oob_score_ : float
        With `oob_score`, the accuracy of rows by those that weren't fitted to them.
    oob_decision_function_ : ndarray
        With `oob_score`, what these say of each row.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    Breiman, "Bagging predictors", Machine Learning 24, 1996; scikit-learn's `ensemble/_bagging.py`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.ensemble import BaggingClassifier
    >>> X = np.arange(40.0).reshape(-1, 1)
    >>> model = BaggingClassifier(random_state=0).fit(X, X[:, 0] > 19)
    >>> model.predict([[1.0], [38.0]]).tolist()
    [False, True]
    """

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: int = 10,
        *,
        max_samples: int | float | None = None,
        max_features: int | float = 1.0,
        bootstrap: bool = True,
        bootstrap_features: bool = False,
        oob_score: bool = False,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.bootstrap_features = bootstrap_features
        self.oob_score = oob_score
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _default(self) -> Any:
        return DecisionTreeClassifier()

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the classifiers, each to rows and columns of its own.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            The class of each row.
        sample_weight : array-like of shape (n_samples,), optional
            How likely each row is drawn; all alike if not given.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable parameters or values.
        """
        inputs = self._read(X, reset=True)
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        target = _targets.classes(y, inputs.rows, type(self).__name__, weights)
        assert target.classes is not None
        self.classes_, self.n_classes_ = target.classes, len(target.classes)
        labels = target.classes[target.values]
        self._bag(inputs, labels, weights)
        soft = all("predict_proba" in e._model.methods() for e in self.estimators_)
        self._votes = not soft
        self._join(inputs, "soft" if soft else "hard", classes=target.labels)
        if self.oob_score:
            shares, counts = np.zeros((inputs.rows, self.n_classes_)), np.zeros(inputs.rows)
            for model, own, rows in self._unseen(inputs):
                places = np.searchsorted(self.classes_, model.classes_)
                if soft:
                    shares[np.ix_(rows, places)] += model.predict_proba(own)
                else:
                    shares[rows, np.searchsorted(self.classes_, model.predict(own))] += 1
                counts[rows] += 1
            _warn_unscored(counts)
            self.oob_score_ = float(np.mean(self.classes_[shares.argmax(axis=1)] == labels))
            with np.errstate(invalid="ignore"):
                self.oob_decision_function_ = shares / shares.sum(axis=1, keepdims=True)
        return self

    def _places(self, model: Any) -> list[int] | None:
        return [int(i) for i in np.searchsorted(self.classes_, model.classes_)]

    def predict_proba(self, X: Any) -> np.ndarray:
        """The mean of the classifiers' probabilities, or the share of their votes where they have none.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`.
        """
        if not getattr(self, "_votes", False):
            return super().predict_proba(X)
        self._fitted_model()
        inputs = self._read(X, reset=False)
        shares = np.zeros((inputs.rows, self.n_classes_))
        for model, features in zip(self.estimators_, self.estimators_features_, strict=True):
            answers = model.predict(inputs.select(features.tolist()))
            shares[np.arange(inputs.rows), np.searchsorted(self.classes_, answers)] += 1
        return shares / len(self.estimators_)


class BaggingRegressor(RegressorMixin, _Bagging):
    """One regressor fitted to draws of rows and columns; answers are averaged.

    Parameters
    ----------
    estimator : estimator or None, default=None
        A Corten regressor; a decision tree if None.
    n_estimators : int, default=10
        How many are fitted.
    max_samples : int, float or None, default=None
        Rows drawn for each, as a number or a share; as many as there are with None.
    max_features : int or float, default=1.0
        Columns drawn for each, as a number or a share.
    bootstrap : bool, default=True
        Whether rows are drawn with replacement.
    bootstrap_features : bool, default=False
        Whether columns are drawn with replacement; one that is drawn twice counts once.
    oob_score : bool, default=False
        Whether to score each row by those that weren't fitted to it.
    warm_start : bool, default=False
        Keep those of the fit before and add to them.
    n_jobs : int, default=None
        Threads that fit and predict; None and -1 stand for all.
    random_state : int, RandomState or None, default=None
        Seed.
    verbose : int, default=0
        Without effect; there for scikit-learn's signature.

    Attributes
    ----------
    estimator_ : estimator
        What was fitted again and again.
    estimators_ : list of estimators
        The fitted regressors.
    estimators_samples_, estimators_features_ : list of ndarray
        Positions of the rows and of the columns that each was fitted to.
    oob_score_ : float
        With `oob_score`, the coefficient of determination of rows by those that weren't fitted to them.
    oob_prediction_ : ndarray
        With `oob_score`, what these say of each row.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    Breiman, "Bagging predictors", Machine Learning 24, 1996; scikit-learn's `ensemble/_bagging.py`.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.ensemble import BaggingRegressor
    >>> X = np.arange(40.0).reshape(-1, 1)
    >>> model = BaggingRegressor(random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(model.score(X, X[:, 0] ** 2) > 0.99)
    True
    """

    def __init__(
        self,
        estimator: Any = None,
        n_estimators: int = 10,
        *,
        max_samples: int | float | None = None,
        max_features: int | float = 1.0,
        bootstrap: bool = True,
        bootstrap_features: bool = False,
        oob_score: bool = False,
        warm_start: bool = False,
        n_jobs: int | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.max_samples = max_samples
        self.max_features = max_features
        self.bootstrap = bootstrap
        self.bootstrap_features = bootstrap_features
        self.oob_score = oob_score
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    def _default(self) -> Any:
        return DecisionTreeRegressor()

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fits the regressors, each to rows and columns of its own.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            The target.
        sample_weight : array-like of shape (n_samples,), optional
            How likely each row is drawn; all alike if not given.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For unusable parameters or values.
        """
        inputs = self._read(X, reset=True)
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        target = _targets.numbers(y, inputs.rows)
        self._flat = True
        self._bag(inputs, target.values, weights)
        self._join(inputs, "mean")
        if self.oob_score:
            sums, counts = np.zeros(inputs.rows), np.zeros(inputs.rows)
            for model, own, rows in self._unseen(inputs):
                sums[rows] += model.predict(own)
                counts[rows] += 1
            _warn_unscored(counts)
            self.oob_prediction_ = sums / np.maximum(counts, 1)
            self.oob_score_ = r2_score(target.values, self.oob_prediction_)
        return self
