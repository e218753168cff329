"""scikit-learn's metadata routing and tags, built only when scikit-learn itself asks for them."""

from __future__ import annotations

from typing import Any, Self


class Routing:
    """`set_fit_request`, `set_score_request` and `get_metadata_routing` for `sample_weight`."""

    #: Metadata that each method takes.
    _routed: dict[str, tuple[str, ...]] = {}

    def _request(self, method: str, given: dict[str, Any]) -> Self:
        allowed = self._routed.get(method, ())
        if unknown := set(given) - set(allowed):
            raise TypeError(f"Unexpected args: {unknown} in {method}. Accepted arguments are: {set(allowed)}")
        routing = {k: dict(v) for k, v in getattr(self, "_routing", {}).items()}
        routing.setdefault(method, {}).update(given)
        self._routing = routing
        return self

    def set_fit_request(self, **requests: bool | str | None) -> Self:
        """Says which metadata `fit` wants inside scikit-learn's meta-estimators.

        Parameters
        ----------
        **requests : bool, str or None
            For each metadata, such as `sample_weight`: whether it is wanted, or the name it is passed under.

        Returns
        -------
        self
        """
        return self._request("fit", requests)

    def get_metadata_routing(self) -> Any:
        """The metadata that this estimator asks for, as scikit-learn's `MetadataRequest`."""
        from sklearn.utils.metadata_routing import MetadataRequest

        request = MetadataRequest(owner=self)
        asked = getattr(self, "_routing", {})
        for method, names in self._routed.items():
            for name in names:
                getattr(request, method).add_request(param=name, alias=asked.get(method, {}).get(name))
        return request


class ScoreRouting(Routing):
    """The same for estimators with a `score`."""

    def set_score_request(self, **requests: bool | str | None) -> Self:
        """Says which metadata `score` wants inside scikit-learn's meta-estimators.

        Parameters
        ----------
        **requests : bool, str or None
            As in `set_fit_request`.

        Returns
        -------
        self
        """
        return self._request("score", requests)


def tags(estimator: Any) -> Any:
    """scikit-learn's `Tags` from the class attributes of one of our estimators."""
    from sklearn.utils import ClassifierTags, InputTags, RegressorTags, Tags, TargetTags, TransformerTags

    kind = estimator._estimator_type
    return Tags(
        estimator_type=kind,
        target_tags=TargetTags(required=kind is not None, multi_output=estimator._multi_output, single_output=True),
        transformer_tags=TransformerTags() if hasattr(type(estimator), "transform") else None,
        classifier_tags=ClassifierTags() if kind == "classifier" else None,
        regressor_tags=RegressorTags() if kind == "regressor" else None,
        input_tags=InputTags(
            sparse=estimator._takes_sparse(),
            categorical=estimator._categorical,
            allow_nan=estimator._allow_nan,
        ),
    )
