"""Regressors that answer with intervals."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from .. import _targets
from ..exceptions import ParameterError
from ._split import Split, checked


class _Intervals(Split):
    """What both have in common."""

    def predict(self, X: Any) -> np.ndarray:
        """Predicts the target of each row.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        return self._run("predict", X).ravel()

    def predict_interval(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Predicts each row's target and an interval that holds it.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        predictions : ndarray of shape (n_samples,)
        intervals : ndarray of shape (n_samples, 2, 1)
            Lower and upper end. For rows drawn as those it was conformalized on, the share of targets inside is at
            least `confidence_level` on average over draws.
        """
        return self.predict(X), self._run("predict_interval", X)[:, :, None]


class SplitConformalRegressor(_Intervals):
    """Intervals of one width around a regressor's predictions, with a coverage that holds for any distribution.

    The width is a quantile of the absolute errors on rows that the regressor was not fitted on.

    Parameters
    ----------
    estimator : estimator
        A regressor of one target.
    confidence_level : float, default=0.9
        The share of targets that intervals hold.
    prefit : bool, default=True
        Whether the regressor is fitted already; else `fit` fits a copy.

    Attributes
    ----------
    quantile_ : float
        Half the width of the intervals.
    estimator_ : estimator
        The fitted regressor.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    Papadopoulos et al., "Inductive Confidence Machines for Regression", ECML 2002; Lei et al., "Distribution-Free
    Predictive Inference for Regression", JASA 113, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.conformal import SplitConformalRegressor
    >>> from corten.linear_model import LinearRegression
    >>> X = np.arange(40.0).reshape(-1, 1)
    >>> y = X[:, 0] + np.tile([1.0, -1.0], 20)
    >>> fitted = LinearRegression().fit(X[:20], y[:20])
    >>> model = SplitConformalRegressor(fitted, confidence_level=0.8).conformalize(X[20:], y[20:])
    >>> predictions, intervals = model.predict_interval(X[:3])
    >>> intervals.shape
    (3, 2, 1)
    """

    def __init__(self, estimator: Any, *, confidence_level: float = 0.9, prefit: bool = True) -> None:
        self.estimator = estimator
        self.confidence_level = confidence_level
        self.prefit = prefit

    def _given(self) -> list[Any]:
        return [self.estimator]

    @property
    def estimator_(self) -> Any:
        """The fitted regressor."""
        return self._ready()[0]

    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self:
        """Fits a copy of the regressor; with `prefit=False`.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their target.
        **fit_params : dict
            Passed on to the regressor's `fit`.

        Returns
        -------
        self
        """
        return self._fit_each(checked([self.estimator], type(self).__name__), X, y, fit_params)

    def conformalize(self, X: Any, y: Any) -> Self:
        """Finds the width of the intervals on rows that the regressor has not seen.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their target.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For fewer rows than the confidence needs.
        """
        models = checked(self._ready(), type(self).__name__)
        inputs = self._rows(X, models[0])
        target = _targets.numbers(y, inputs.rows).values
        self.quantile_ = self._calibrate(np.abs(target - models[0].predict(inputs)))
        self._compose(inputs, models, "around")
        return self


class ConformalizedQuantileRegressor(_Intervals):
    """Intervals between two quantile regressors, widened until their coverage holds.

    Wide where the target varies much, and narrow where it doesn't.

    Parameters
    ----------
    estimator : estimator or list of estimators
        A regressor with the parameters `loss` and `quantile`, such as `HistGradientBoostingRegressor`, of which three
        copies are fitted: for the lower end, the upper end and the median. With `prefit=True` a list of three fitted
        regressors in this order.
    confidence_level : float, default=0.9
        The share of targets that intervals hold.
    prefit : bool, default=False
        Whether the regressors are fitted already; else `fit` fits copies.

    Attributes
    ----------
    quantile_ : float
        What both ends are moved outwards by; negative where the quantiles were too wide.
    estimators_ : list of estimators
        The fitted regressors: lower, upper, median.
    n_features_in_ : int
        Number of columns.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, after a fit on a frame with named columns.

    References
    ----------
    Romano, Patterson & Candes, "Conformalized Quantile Regression", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from corten.conformal import ConformalizedQuantileRegressor
    >>> from corten.ensemble import HistGradientBoostingRegressor
    >>> X = np.arange(400.0).reshape(-1, 1) % 20
    >>> y = X[:, 0] * np.tile([1.0, -1.0], 200)
    >>> boosting = HistGradientBoostingRegressor(max_iter=10)
    >>> model = ConformalizedQuantileRegressor(boosting).fit(X[:200], y[:200]).conformalize(X[200:], y[200:])
    >>> predictions, intervals = model.predict_interval(X[:3])
    >>> intervals.shape
    (3, 2, 1)
    """

    def __init__(self, estimator: Any, *, confidence_level: float = 0.9, prefit: bool = False) -> None:
        self.estimator = estimator
        self.confidence_level = confidence_level
        self.prefit = prefit

    def _given(self) -> list[Any]:
        given = self.estimator
        if not isinstance(given, (list, tuple)) or len(given) != 3:
            raise ParameterError(
                "The 'estimator' parameter must be a list of three fitted regressors (lower, upper, median) where "
                f"prefit=True. Got {given!r} instead."
            )
        return list(given)

    @property
    def estimators_(self) -> list[Any]:
        """The fitted regressors."""
        return list(self._ready())

    def fit(self, X: Any, y: Any, **fit_params: Any) -> Self:
        """Fits the regressors of both ends and of the median; with `prefit=False`.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their target.
        **fit_params : dict
            Passed on to the regressors' `fit`.

        Returns
        -------
        self
        """
        alpha = 1 - self._check_level()
        one = self.estimator
        if not hasattr(one, "get_params") or not {"loss", "quantile"} <= set(one.get_params()):
            raise ParameterError(
                "The 'estimator' parameter must be a regressor with the parameters 'loss' and 'quantile'. "
                f"Got {one!r} instead."
            )
        checked([one], type(self).__name__)
        shares = (alpha / 2, 1 - alpha / 2, 0.5)
        settings = [{"loss": "quantile", "quantile": share} for share in shares]
        return self._fit_each([_with(one, s) for s in settings], X, y, fit_params)

    def conformalize(self, X: Any, y: Any) -> Self:
        """Finds how far the ends have to move on rows that the regressors have not seen.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their target.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For fewer rows than the confidence needs.
        """
        low, high, median = checked(self._ready(), type(self).__name__)
        inputs = self._rows(X, median)
        target = _targets.numbers(y, inputs.rows).values
        self.quantile_ = self._calibrate(np.maximum(low.predict(inputs) - target, target - high.predict(inputs)))
        self._compose(inputs, [median, low, high], "between")
        return self


def _with(estimator: Any, settings: dict[str, Any]) -> Any:
    from .._params import clone

    return clone(estimator).set_params(**settings)
