//! Rows of JSON and CSV in, answers out.
