"""Wide results as sparse matrices, made from blocks of rows so that they are never dense as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._inputs import Input

#: Values of a dense block that are held at a time.
BLOCK = 1 << 22
#: Values from which a pipeline passes a sparse matrix on, where both sides can: 1 GB of floats.
LARGE = 1 << 27


def sparse_blocks(transform: Callable[[Input], np.ndarray], inputs: Input, width: int) -> Any:
    """The result of a transformation as a SciPy CSR matrix.

    Parameters
    ----------
    transform : callable
        Gives the dense result of some rows.
    inputs : Input
        All rows.
    width : int
        Columns of the result.

    Returns
    -------
    scipy.sparse.csr_matrix

    Raises
    ------
    ImportError
        Without SciPy.
    """
    from scipy import sparse

    step = max(1, BLOCK // max(1, width))
    if inputs.rows <= step:
        return sparse.csr_matrix(transform(inputs))
    starts = range(0, inputs.rows, step)
    rows = (np.arange(s, min(s + step, inputs.rows)) for s in starts)
    return sparse.vstack([sparse.csr_matrix(transform(inputs.take(r))) for r in rows], format="csr")


def gives_sparse(step: Any) -> bool:
    """Whether a transformer hands out sparse matrices."""
    if hasattr(step, "steps"):
        return gives_sparse(step.steps[-1][1])
    if hasattr(step, "transformers_"):
        return any(gives_sparse(part) for _, part, _ in step.transformers_)
    return bool(getattr(step, "sparse_output", False))


def passes_sparse(step: Any, inputs: Input, following: Any) -> bool:
    """Whether a step's result is so large that it goes on to the next step as a sparse matrix."""
    model = getattr(step, "_model", None)
    if inputs.sparse is not None or model is None or not gives_sparse(step):
        return False
    takes = getattr(following, "_takes_sparse", None)
    if takes is None or not takes() or inputs.rows * len(model.output("transform")["names"]) < LARGE:
        return False
    try:
        import scipy.sparse  # noqa: F401
    except ImportError:
        return False
    return True


def sparse_result(step: Any, inputs: Input) -> Any:
    """The result of a fitted transformer as a SciPy CSR matrix."""

    def transform(rows: Input) -> np.ndarray:
        out: np.ndarray = step._transform_inner(rows).data
        return out

    return sparse_blocks(transform, inputs, len(step._model.output("transform")["names"]))
