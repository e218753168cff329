//! Numeric kernels with one arithmetic order on every CPU, each with a scalar twin as its oracle.
