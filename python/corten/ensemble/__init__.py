"""Ensembles of trees: boosting and forests."""

from ._extra_trees import ExtraTreesClassifier, ExtraTreesRegressor
from ._hist_gradient_boosting import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from ._isolation_forest import IsolationForest
from ._random_forest import RandomForestClassifier, RandomForestRegressor
from ._voting import VotingClassifier, VotingRegressor

__all__ = [
    "ExtraTreesClassifier",
    "ExtraTreesRegressor",
    "HistGradientBoostingClassifier",
    "HistGradientBoostingRegressor",
    "IsolationForest",
    "RandomForestClassifier",
    "RandomForestRegressor",
    "VotingClassifier",
    "VotingRegressor",
]
