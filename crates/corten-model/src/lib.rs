//! The graph of typed operators, the model file, its validator and the executor.
