//! The inference server: Open Inference Protocol v2 over HTTP, without Python and without fitting code.
