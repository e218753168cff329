"""Imputation: values for what is missing."""

from ._simple_imputer import SimpleImputer

__all__ = ["SimpleImputer"]
