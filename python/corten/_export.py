"""Models as source code."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from . import _core
from ._atomic import replacing


class Exports:
    """`export_c` of what has a model."""

    def export_c(
        self,
        path: str | os.PathLike[str],
        *,
        name: str = "model",
        method: str | None = None,
        quantize: str | None = None,
        sample: Any = None,
    ) -> dict[str, Any]:
        """Writes the model as one file of C99 that answers a row with the same bits.

        The file holds `int NAME_predict(const double *row, double *out)`; its first comment lists what goes into `row`
        and comes out in `out`. It allocates nothing and needs no library.

        Parameters
        ----------
        path : path-like
            The file to write.
        name : str, default="model"
            What the function's name begins with.
        method : {"predict_proba", "predict", "decision_function", "transform"}, optional
            What the function answers; the first of them that the model has if not given. Conformal models also have
            "predict_interval" or "predict_set".
        quantize : {"int16", "int8"}, optional
            Keep weights and leaves as whole numbers of that width times a power of two.
        sample : array-like or frame of shape (n_samples, n_features), optional
            Rows on which the error of the quantized form is measured.

        Returns
        -------
        dict
            `method`, `table_bytes` (flash), `stack_bytes` (of variables; a compiler adds the registers that it saves),
            `inputs` and `outputs` (numbers and texts), and with a sample `max_error` and `mean_error` of the numbers it
            answers.

        Raises
        ------
        ValueError
            For a name that C does not take, a method that the model does not have, or a model that keeps a state.

        Examples
        --------
        >>> import tempfile, os
        >>> from corten.linear_model import Ridge
        >>> path = os.path.join(tempfile.mkdtemp(), "m.c")
        >>> report = Ridge().fit([[0.0], [1.0], [2.0]], [0.0, 1.0, 2.0]).export_c(path)
        >>> report["method"], report["outputs"]
        ('predict', (1, 0))
        """
        core = self._fitted_model()  # type: ignore[attr-defined]
        if sample is not None and quantize is None:
            raise ValueError(
                "sample is for measuring the error of a quantized form; quantize must be 'int16' or 'int8'"
            )
        chosen = core if quantize is None else _core.quantize(core, quantize)
        source, report = _core.export_c(chosen, name, method)
        if sample is not None:
            report["max_error"], report["mean_error"] = _errors(core, chosen, report["method"], sample)
        with replacing(path) as file:
            file.write(source.encode())
        return dict(report)


def _errors(exact: Any, rounded: Any, method: str, sample: Any) -> tuple[float, float]:
    """The largest and the mean difference between the answers of two models."""
    from ._model import Model

    answers = [Model(core)._run(method, sample) for core in (exact, rounded)]
    if not isinstance(answers[0], np.ndarray):
        raise ValueError("the error of a quantized form can be measured on numbers alone; this model answers text")
    error = np.abs(answers[0] - answers[1])
    return float(error.max(initial=0.0)), float(error.mean())
