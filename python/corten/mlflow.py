"""Models in MLflow: tracking, the registry and `mlflow models serve`.

What is stored is the model file, which nothing has to be run for to be read. As a pyfunc it answers `predict`, or what
the parameter `method` says.

Examples
--------
>>> import tempfile, os, mlflow, polars as pl
>>> import corten.mlflow
>>> from corten.linear_model import LogisticRegression
>>> rows = pl.DataFrame({"age": [20.0, 30.0, 60.0, 70.0]})
>>> model = LogisticRegression().fit(rows, ["no", "no", "yes", "yes"])
>>> path = os.path.join(tempfile.mkdtemp(), "model")
>>> corten.mlflow.save_model(model, path)
>>> corten.mlflow.load_model(path).predict_one({"age": 65})
'yes'
>>> served = mlflow.pyfunc.load_model(path)
>>> served.predict(rows.to_pandas()).tolist()
['no', 'no', 'yes', 'yes']
>>> list(served.predict(rows.to_pandas(), params={"method": "predict_proba"}).columns)
['probability_no', 'probability_yes']
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import _core
from ._model import Model, load
from ._scoring import Scorer, core_of, record_batch

__all__ = ["FLAVOR_NAME", "get_default_pip_requirements", "load_model", "log_model", "save_model"]

FLAVOR_NAME = "corten"

_FILE = "model.corten"


def get_default_pip_requirements() -> list[str]:
    """What an environment needs to serve a model.

    Returns
    -------
    list of str
    """
    return [f"corten=={_core.__version__}", "pandas", "pyarrow"]


def save_model(
    model: Any,
    path: str | os.PathLike[str],
    *,
    mlflow_model: Any = None,
    signature: Any = None,
    input_example: Any = None,
    pip_requirements: Sequence[str] | str | None = None,
    extra_pip_requirements: Sequence[str] | str | None = None,
    conda_env: Mapping[str, Any] | str | None = None,
    code_paths: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Saves a model as a folder of MLflow's.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        The model.
    path : path-like
        The folder, which may not hold anything yet.
    mlflow_model : mlflow.models.Model, optional
        What the flavour is added to.
    signature : mlflow.models.ModelSignature or False, optional
        By default the model's own columns, with `method` as a parameter. Their types are left open: the model takes
        numbers of any type and reads what is missing, where MLflow would refuse whole numbers for floats, and floats
        for whole numbers as soon as one is missing. It looks at such columns value by value, which takes seconds for
        millions; False, for no signature, spares that.
    input_example : object, optional
        An example of an input, saved beside the model.
    pip_requirements, extra_pip_requirements, conda_env, code_paths, metadata : optional
        As for `mlflow.pyfunc.save_model`.

    Raises
    ------
    FileNotFoundError
        When there is no such model file.
    TypeError
        When `model` is none of those.
    mlflow.exceptions.MlflowException
        When the folder holds something, or requirements contradict each other.
    """
    import mlflow

    core = core_of(model)
    if mlflow_model is None:
        mlflow_model = mlflow.models.Model()
    mlflow_model.add_flavor(FLAVOR_NAME, corten_version=_core.__version__, data=f"data/{_FILE}", methods=core.methods())
    if pip_requirements is None and conda_env is None:
        pip_requirements = [*get_default_pip_requirements(), *_listed(extra_pip_requirements)]
        extra_pip_requirements = None
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / _FILE
        core.save(str(data))
        mlflow.pyfunc.save_model(
            os.fspath(path),
            loader_module=__name__,
            data_path=str(data),
            mlflow_model=mlflow_model,
            signature=_signature(core) if signature is None else signature,
            input_example=input_example,
            pip_requirements=pip_requirements,
            extra_pip_requirements=extra_pip_requirements,
            conda_env=conda_env,
            code_paths=code_paths,
            metadata=metadata,
        )


def log_model(model: Any, name: str | None = None, *, registered_model_name: str | None = None, **settings: Any) -> Any:
    """Logs a model to the active run, or to a new one, and registers it where a name is given.

    Parameters
    ----------
    model : path-like, Model or fitted estimator
        The model.
    name : str, optional
        Its name in the run.
    registered_model_name : str, optional
        The model of the registry that it becomes a version of.
    **settings : dict
        As for `save_model`, and `params`, `tags`, `step`, `model_type`, `await_registration_for` ... of
        `mlflow.models.Model.log`.

    Returns
    -------
    mlflow.models.model.ModelInfo

    Raises
    ------
    FileNotFoundError
        When there is no such model file.
    TypeError
        When `model` is none of those.
    """
    import mlflow

    return mlflow.models.Model.log(
        artifact_path=None,
        flavor=sys.modules[__name__],
        name=name,
        registered_model_name=registered_model_name,
        model=core_of(model),
        **settings,
    )


def load_model(model_uri: str | os.PathLike[str], dst_path: str | None = None) -> Model:
    """Loads a model that was saved or logged with this flavour.

    Parameters
    ----------
    model_uri : str or path-like
        A folder, or where MLflow keeps it: `runs:/...`, `models:/name/1` ...
    dst_path : str, optional
        The folder to download it to.

    Returns
    -------
    corten.Model

    Raises
    ------
    mlflow.exceptions.MlflowException
        When there is no such model, or it has another flavour.
    FormatError
        When the file is no model, or a damaged one.
    """
    from mlflow.tracking.artifact_utils import _download_artifact_from_uri
    from mlflow.utils.model_utils import _get_flavor_configuration

    folder = _download_artifact_from_uri(artifact_uri=os.fspath(model_uri), output_path=dst_path)
    return load(Path(folder) / _get_flavor_configuration(folder, FLAVOR_NAME)["data"])


class _Served:
    """A model as `mlflow.pyfunc` asks it."""

    def __init__(self, model: Model) -> None:
        self.model = model

    def get_raw_model(self) -> Model:
        """The model itself."""
        return self.model

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:
        """An array where the answer is one column, a pandas frame where it is several.

        Parameters
        ----------
        model_input : array-like or frame of shape (n_samples, n_features)
            The rows; also a dict of columns or a list of dicts.
        params : dict, optional
            `method`: what is answered.

        Returns
        -------
        ndarray of shape (n_samples,) or pandas.DataFrame of shape (n_samples, n_answers)
        """
        import pandas as pd

        scorer = Scorer(self.model, (params or {}).get("method") or self.model.methods[0])
        rows = model_input if isinstance(model_input, pd.DataFrame) else pd.DataFrame(model_input)
        plain = not all(isinstance(c, str) for c in rows.columns)
        chosen = rows if plain else rows[scorer.choose(list(rows.columns), "the input")]
        if chosen.shape[1] == len(scorer.names):
            chosen = chosen.set_axis(scorer.names, axis=1)
        answers = record_batch(scorer(chosen)).to_pandas()
        answers.index = rows.index
        return answers if answers.shape[1] > 1 else answers.iloc[:, 0].to_numpy()


def _load_pyfunc(path: str, model_config: Mapping[str, Any] | None = None) -> _Served:
    """What `mlflow.pyfunc.load_model` calls with the place of the model file."""
    return _Served(load(path))


def _listed(requirements: Sequence[str] | str | None) -> list[str]:
    if isinstance(requirements, str):
        return Path(requirements).read_text(encoding="utf-8").split("\n")
    return list(requirements or [])


def _signature(core: Any) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType

    schema, method = core.schema(), core.methods()[0]
    inputs = [ColSpec(AnyType(), i["name"] if schema["named"] else None) for i in schema["inputs"]]
    types = {"float": "double", "int": "long", "bool": "boolean", "text": "string"}
    answers = core.columns([method])
    outputs = [ColSpec(types[kind], name if len(answers) > 1 else None) for name, kind in answers]
    params = ParamSchema([ParamSpec("method", DataType.string, default=method)])
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs), params=params)
