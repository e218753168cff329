"""What a fitted model makes of its columns: permutation importances and partial dependence."""

from ._partial_dependence import partial_dependence
from ._permutation_importance import permutation_importance

__all__ = ["partial_dependence", "permutation_importance"]
