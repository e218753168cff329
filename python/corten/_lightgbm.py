"""Trees as LightGBM's text model."""

from __future__ import annotations

import os

from . import _core
from ._atomic import replacing


class WritesLightGBM:
    """`to_lightgbm` of what has trees."""

    def to_lightgbm(self, path: str | os.PathLike[str] | None = None) -> str:
        """Writes the trees as a text model of LightGBM, whose booster predicts the same.

        Parameters
        ----------
        path : path-like, optional
            A file to write as well.

        Returns
        -------
        str
            The text, for `lightgbm.Booster(model_str=...)`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        UnsupportedError
            With the reason, when the model says more than LightGBM's models can; nothing is written then.

        Notes
        -----
        LightGBM takes values of a magnitude of at most 1e-35 for 0, whatever the model does.
        """
        text = _core.to_lightgbm(self._fitted_model())  # type: ignore[attr-defined]
        if path is not None:
            with replacing(path) as file:
                file.write(text.encode())
        return text
