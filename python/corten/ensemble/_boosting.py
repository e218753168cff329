"""What the boosting estimators share: losses, scores and callbacks from Python, going on, leaves fitted anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self

import numpy as np

from .. import _core, _inputs, _targets
from .._base import Estimator
from .._explain import Explains
from .._inputs import Input
from .._lightgbm import WritesLightGBM
from .._params import clone, seed
from .._progress import Line, Rounds
from ..exceptions import ParameterError, not_fitted
from . import _budget, _files, _search
from ._staged import Scored, Staged, of_columns

#: How many more rounds a fit on all rows takes than one that held some out.
ALL_ROWS = 1.1


def _of_rows(scores: np.ndarray) -> np.ndarray:
    """Scores of an output after the other, as an array of rows."""
    return scores[0] if len(scores) == 1 else np.ascontiguousarray(scores.T)


class HistGradientBoosting(Staged, Explains, WritesLightGBM, Estimator):
    """What all boosting estimators have in common."""

    _allow_nan = True
    _takes_text = True
    _keeps_handle = True
    _keeps_rounds = True
    n_iter_: int
    n_trees_per_iteration_: int
    train_score_: np.ndarray
    validation_score_: np.ndarray
    feature_importances_: np.ndarray
    _gains: np.ndarray
    _splits: np.ndarray
    evals_result_: dict[str, dict[str, np.ndarray]]
    scoring: Any
    max_iter: int
    best_params_: dict[str, Any]
    budget_steps_: list[dict[str, Any]]
    budget_models_: list[dict[str, Any]]
    _tells_targets: bool
    #: The state whose bins a fit is on, and whether it makes a model of what it found.
    _bins_of: Any = None
    _lowers = True

    def _pickles_state(self) -> bool:
        # Bins and trees over them would double what most only predict from.
        return bool(self.warm_start)  # type: ignore[attr-defined]

    def _takes_sparse(self) -> bool:
        return True

    def _core_params(self, inputs: Input) -> dict[str, Any]:
        out = super()._core_params(inputs)
        chosen = self.categorical_features  # type: ignore[attr-defined]
        if chosen is not None and not (isinstance(chosen, str) and chosen == "from_dtype"):
            out["categorical_features"] = _inputs.positions(chosen, inputs, "categorical_features")
        monotonic = self.monotonic_cst  # type: ignore[attr-defined]
        if isinstance(monotonic, dict):
            signs = [0] * inputs.width
            for name, sign in monotonic.items():
                signs[_inputs.positions(name, inputs, "monotonic_cst")[0]] = int(sign)
            out["monotonic_cst"] = signs
        interaction = self.interaction_cst  # type: ignore[attr-defined]
        if interaction is not None and not isinstance(interaction, str):
            out["interaction_cst"] = [_inputs.positions(sorted(g), inputs, "interaction_cst") for g in interaction]
        if callable(getattr(self, "loss", None)):
            out["loss"] = "outside"
        scorings = list(self.scoring) if isinstance(self.scoring, (list, tuple)) else [self.scoring]
        names = [f"outside:{i}" if callable(s) else s for i, s in enumerate(scorings)]
        out["scoring"] = names if isinstance(self.scoring, (list, tuple)) or callable(self.scoring) else self.scoring
        if self._more_rounds:
            out["max_iter"] = self.max_iter + self._more_rounds
        return out

    def feature_importance(self, importance_type: str = "split") -> np.ndarray:
        """What the splits of each column are worth, as LightGBM's `Booster.feature_importance` counts it.

        Parameters
        ----------
        importance_type : {"split", "gain"}, default="split"
            The number of splits, or the sum of what they gained.

        Returns
        -------
        ndarray of shape (n_features,)
            Of int64 for "split", of float64 for "gain".

        Raises
        ------
        ParameterError
            For another type.
        NotFittedError
            Before `fit`.
        """
        if importance_type not in ("split", "gain"):
            raise ParameterError(
                f"The 'importance_type' parameter must be one of {{'split', 'gain'}}. Got {importance_type!r} instead."
            )
        self._fitted_model()
        return (self._splits if importance_type == "split" else self._gains).copy()

    #: Rounds of the model that a fit goes on from.
    _more_rounds = 0

    def _boost(
        self,
        inputs: Input,
        target: _targets.Target,
        weights: np.ndarray | None,
        *,
        init_score: Any = None,
        init_model: Any = None,
        callbacks: Sequence[Callable[..., Any]] | None = None,
        **extras: Any,
    ) -> Self:
        """Fits with what only boosting takes."""
        self._forget_budget()
        if self._is_budgeted(init_model):

            def fit(model: Any, own: list[Any]) -> Any:
                for name in ("_flat", "classes_"):
                    if name in self.__dict__:
                        setattr(model, name, self.__dict__[name])
                return model._boost(inputs, target, weights, init_score=init_score, callbacks=own, **extras)

            classes = 0 if target.classes is None else len(target.classes)
            counts = np.bincount(target.values, minlength=classes) if classes else None
            return self._fit_budget(fit, callbacks, inputs.rows, counts, inputs.width)
        if init_score is not None:
            extras["init_score"] = np.asarray(init_score, dtype=np.float64)
            if len(extras["init_score"]) != inputs.rows:
                raise ValueError(
                    f"init_score should have {inputs.rows} rows as X, but has shape {extras['init_score'].shape}."
                )
        extras.update(self._calls(target.classes), **self._before(init_model))
        self._more_rounds = 0 if init_model is None else int(init_model.n_iter_)
        try:
            return self._fit_core(inputs, target, weights, callbacks=tuple(callbacks or ()), **extras)
        finally:
            del self._more_rounds

    def _calls(self, classes: np.ndarray | None) -> dict[str, Any]:
        """What the fit calls in Python."""
        out: dict[str, Any] = {}
        if callable(loss := getattr(self, "loss", None)):
            out["objective"] = _slopes(loss)
        scorings = list(self.scoring) if isinstance(self.scoring, (list, tuple)) else [self.scoring]
        if any(callable(s) for s in scorings):
            out["score"] = self._scorer(scorings, classes)
        return out

    def _before(self, init_model: Any) -> dict[str, Any]:
        """The state that the fit goes on from, or whose bins it is on."""
        if self._bins_of is not None:
            return {"previous": self._bins_of, "anew": True}
        if init_model is not None:
            return {"previous": _handle_of(init_model, "init_model", type(self))}
        if self.warm_start and getattr(self, "_model", None) is not None:  # type: ignore[attr-defined]
            # One that was pickled without would begin again and say nothing.
            return {"previous": _handle_of(self, "warm_start", type(self))}
        return {}

    def _fit_files(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        memory: Any,
        *,
        init_score: Any = None,
        group: Any = None,
        init_model: Any = None,
        callbacks: Sequence[Callable[..., Any]] | None = None,
    ) -> Self:
        """Fits on rows that are read block by block."""
        self._forget_budget()
        room = _files.memory(memory)
        with _files.opened(X) as files:
            starts, queries = (
                _files.columns(files, what, given) for what, given in (("init_score", init_score), ("group", group))
            )
            names = _files.features(files, y, sample_weight, *starts, *queries)
            extras: dict[str, Any] = {"init_score": files.numbers(starts)} if starts else {}
            if queries:
                extras["group"] = np.array(files.runs(queries[0]), dtype=np.uint32)
            if self._is_budgeted(init_model):

                def fit(model: Any, own: list[Any]) -> Any:
                    return model._fit_opened(files, names, y, sample_weight, room, None, own, extras)

                targets = files.target(y, self._estimator_type == "classifier", sample_weight)
                counts = None if targets.classes is None else np.array(targets.counts)
                return self._fit_budget(fit, callbacks, targets.rows, counts)
            return self._fit_opened(files, names, y, sample_weight, room, init_model, callbacks, extras)

    def _fit_opened(
        self,
        files: Any,
        names: list[str],
        y: Any,
        sample_weight: Any,
        room: tuple[int, float],
        init_model: Any,
        callbacks: Any,
        extras: dict[str, Any],
    ) -> Self:
        """Fits on files that can be read as often as needed."""
        targets = files.target(y, self._estimator_type == "classifier", sample_weight)
        classes = None if targets.classes is None else np.array(targets.classes)
        class_weight = getattr(self, "class_weight", None)
        if class_weight is not None:
            class_weight = _targets.weights_of(class_weight, classes.tolist(), np.array(targets.counts))  # type: ignore[union-attr]
        inputs = Input(None, targets.rows, len(names), names)
        self._more_rounds = 0 if init_model is None else int(init_model.n_iter_)
        line = Line(type(self).__name__) if getattr(self, "verbose", 0) else None
        try:
            handle = _core.fit_files(
                self._core_name,
                self._core_params(inputs),
                files,
                names,
                targets,
                memory=room[0],
                share=room[1],
                class_weight=None if class_weight is None else class_weight.tolist(),
                threads=self._threads(),
                progress=Rounds(line, tuple(callbacks)) if callbacks else line,
                keep=self._keeps_rounds,
                **self._calls(classes),
                **self._before(init_model),
                **extras,
            )
        finally:
            del self._more_rounds
            if line is not None:
                line.close()
        if classes is not None:
            self.classes_ = classes
        return self._keep(inputs, handle)

    def _forget_budget(self) -> None:
        for name in ("best_params_", "budget_steps_", "budget_models_"):
            self.__dict__.pop(name, None)

    def _is_budgeted(self, init_model: Any) -> bool:
        """Whether a time is given in which to find a model."""
        if getattr(self, "budget", None) is None:
            return False
        if init_model is not None or self.warm_start:  # type: ignore[attr-defined]
            raise ParameterError("budget finds a model of its own; it goes on from none (init_model, warm_start).")
        return True

    def _fit_budget(
        self,
        fit: Callable[[Any, list[Any]], Any],
        callbacks: Any,
        rows: int,
        counts: np.ndarray | None,
        width: int | None = None,
    ) -> Self:
        """Models on some of the rows, judged by the others, and the mean of those that do best; `fit` fits a model with some
        callbacks. Of classes, `counts` says how many rows each has; of rows in memory, which may be fitted on side by side,
        `width` how many columns there are."""
        rarest = None if counts is None else float(counts[counts > 0].min())
        share, judges = _budget.held_out(self.validation_fraction, rows, rarest)  # type: ignore[attr-defined]
        budget = _budget.seconds(self.budget)  # type: ignore[attr-defined]
        begin = seed(getattr(self, "random_state", None))
        has_ended = False
        raised: Exception | None = None
        bins: Any = None
        tells_targets = False

        def watching(callback: Callable[..., Any]) -> Callable[..., bool]:
            def call(step: Any) -> bool:
                nonlocal has_ended, raised
                # What ends a round's fit ends all that would follow.
                try:
                    has_ended |= callback(step) is True
                except Exception as error:
                    raised = error
                    raise
                return has_ended

            return call

        watchers = [watching(callback) for callback in callbacks or ()]

        def step(params: dict[str, Any], own: list[Any], number: int, rounds: int) -> Any:
            nonlocal bins, tells_targets
            drawn = {"random_state": (begin + number) % 2**32, "validation_fraction": share}
            model = clone(self).set_params(budget=None, early_stopping=True, **{**drawn, **params})
            if number and tells_targets:
                # Bins that were made of the targets of rows would tell those that were to judge. All have room for a few
                # more rounds than those that were not held out.
                model.set_params(early_stopping=False, max_iter=int(np.ceil(rounds * ALL_ROWS)))
            model._bins_of, model._lowers = bins, False
            try:
                fit(model, [*own, *watchers])
            except ValueError as error:
                # What has fitted before is fine: it is these parameters that aren't.
                if calls or error is raised or bins is None:
                    raise
                raise _search.Diverged from error
            finally:
                del model._bins_of, model._lowers
            if bins is None:
                bins, tells_targets = model._handle.average(0, []), model._tells_targets
            return model

        found = _search.Found(judges)
        calls = self._calls(None)

        def keep() -> None:
            best, *others = found.members
            last = best.model
            state = {k: v for k, v in last.__dict__.items() if k not in last.get_params(deep=False)}
            self.__dict__.pop("feature_names_in_", None)
            self.__dict__.update(state)
            if others or best.rounds < last.n_iter_:
                more = [(other.model._handle, other.rounds) for other in others]
                self._handle = last._handle.average(best.rounds, more)
            self._take(self._handle)
            self.best_params_ = {**best.params, "max_iter": best.rounds}
            self.budget_steps_ = found.steps
            self.budget_models_ = [{**m.params, "max_iter": m.rounds} for m in (best, *others)]

        try:
            side = 1
            # What is called in Python waits for one at a time anyway.
            if width is not None and not (calls or callbacks or getattr(self, "verbose", 0)):
                trees = len(counts) if counts is not None and len(counts) > 2 else np.size(getattr(self, "quantile", 0))
                side = _core.side_by_side(rows - judges, width, trees, self._threads())
            search = _search.Search(step, budget, found, side, lambda: has_ended)
            if side > 1:
                # The bins on which all are fitted.
                step({"max_iter": 1}, [], 0, 0)
            search.run()
        finally:
            if found:
                keep()
        return self

    def _scorer(self, scorings: list[Any], classes: np.ndarray | None) -> Callable[..., float]:
        def score(
            number: int, rows: np.ndarray, y: np.ndarray, scores: np.ndarray, weights: np.ndarray | None
        ) -> float:
            model = Scored(self, _of_rows(scores), classes)
            truth = y if classes is None else classes[y.astype(np.intp)]
            return float(scorings[number](model, rows.reshape(-1, 1), truth))

        return score

    def _take(self, handle: Any) -> None:
        attributes = handle.attributes()
        more = attributes.pop("_more_scores")
        attributes.pop("_interrupted")
        for name, value in attributes.items():
            self._set_attribute(name, value)
        scorings = list(self.scoring) if isinstance(self.scoring, (list, tuple)) else [self.scoring]
        names = [getattr(s, "__name__", None) or str(s) for s in scorings]
        curves = [(self.train_score_, self.validation_score_), *more]
        self.evals_result_ = {
            part: {name: curve[i] for name, curve in zip(names, curves, strict=False)}
            for i, part in enumerate(("train", "validation"))
        }
        self.report_ = dict(handle.report())
        if self._lowers:
            self._model = handle.model()

    def _staged(self, X: Any) -> Iterator[Scored]:
        """What scores after each round say, added up as the model adds them."""
        model = self._fitted_model()
        classes = getattr(self, "classes_", None)
        base, stages = model.stages(self.n_trees_per_iteration_)
        data = self._read(X, reset=False).data
        threads = self._threads()
        scores: np.ndarray = np.asarray(base, dtype=np.float64)
        for stage in stages:
            scores = scores + stage.run("decision_function", data, threads=threads)
            yield Scored(self, of_columns(scores), classes)

    def refit(self, X: Any, y: Any, sample_weight: Any = None, *, decay_rate: float = 0.9) -> Self:
        """Fits the values of the leaves anew to other rows; splits stay as they are.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,)
            Their targets; classes as those of the fit.
        sample_weight : array-like of shape (n_samples,), optional
            Weight of each row; 1 each if not given.
        decay_rate : float, default=0.9
            The share that old values keep; the rest is what the new rows ask for.

        Returns
        -------
        estimator
            A new one; this one stays as it is.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            For unusable values, a share outside 0 to 1, other columns, and leaves with linear models.
        """
        handle = _handle_of(self, "refit", type(self))
        inputs = self._read(X, reset=False)
        weights = _inputs.sample_weight(sample_weight, inputs.rows)
        if hasattr(self, "classes_"):
            given = _targets.array_of(y).ravel()
            codes = np.searchsorted(self.classes_, given)
            known = codes < len(self.classes_)
            if not known.all() or not (self.classes_[codes] == given).all():
                raise ValueError(f"y holds classes that the fit didn't see; it saw {self.classes_.tolist()}.")
            target = _targets.Target(codes.astype(np.uint32), self.classes_)
            weights = _targets.class_weights(self.class_weight, target, weights)  # type: ignore[attr-defined]
        else:
            target = _targets.numbers(y, inputs.rows)
        other: Self = clone(self)
        if hasattr(self, "_flat"):
            other._flat = self._flat  # type: ignore[attr-defined]
        extras: dict[str, Any] = {}
        if callable(loss := getattr(self, "loss", None)):
            extras["objective"] = _slopes(loss)
        return other._fit_core(inputs, target, weights, previous=handle, decay_rate=float(decay_rate), **extras)


def _slopes(loss: Callable[..., Any]) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    def slopes(rows: np.ndarray, y: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = _of_rows(scores)
        found = loss(y, given)
        try:
            parts = [np.asarray(part, dtype=np.float64) for part in found]
        except TypeError as error:
            raise ValueError(f"loss must return gradients and hessians, but returned {found!r:.80}.") from error
        if len(parts) != 2 or any(p.shape != given.shape for p in parts):
            shapes = [p.shape for p in parts]
            raise ValueError(f"loss must return gradients and hessians of shape {given.shape}, but gave {shapes}.")
        gradients, hessians = (np.ascontiguousarray(np.atleast_2d(p.T)) for p in parts)
        return gradients, hessians

    return slopes


def _handle_of(model: Any, what: str, kind: type) -> Any:
    """The state that a fit goes on from."""
    if not isinstance(model, kind):
        raise ParameterError(
            f"The '{what}' parameter must be a fitted {kind.__name__}. Got {type(model).__name__} instead."
        )
    if getattr(model, "_model", None) is None:
        raise not_fitted(model)
    handle = getattr(model, "_handle", None)
    if handle is None:
        raise ValueError(
            f"{what}: this {kind.__name__} was loaded, and holds no bins to go on from: only one that was pickled with "
            "warm_start=True does. Pass its raw scores as init_score instead."
        )
    return handle
