"""Preprocessing: scaling of numbers and encoding of categories."""

from ._max_abs_scaler import MaxAbsScaler
from ._min_max_scaler import MinMaxScaler
from ._one_hot_encoder import OneHotEncoder
from ._ordinal_encoder import OrdinalEncoder
from ._robust_scaler import RobustScaler
from ._standard_scaler import StandardScaler

__all__ = ["MaxAbsScaler", "MinMaxScaler", "OneHotEncoder", "OrdinalEncoder", "RobustScaler", "StandardScaler"]
