"""Single trees."""

from ._decision_tree import DecisionTreeClassifier, DecisionTreeRegressor
from ._extra_tree import ExtraTreeClassifier, ExtraTreeRegressor

__all__ = ["DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"]
