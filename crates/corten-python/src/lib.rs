//! The extension module corten._core: data in and out, verbs and errors; nothing per estimator.
