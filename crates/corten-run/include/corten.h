/* The C interface of Corten's executor: models of any fitted pipeline, without Python.
 *
 * Open a model once, make a session for each thread, and predict: `corten_predict` allocates nothing and takes no lock.
 * Every function that can fail answers a status; `corten_message` says what went wrong in the calling thread. Answers
 * have the bits that Python gives. Made by cbindgen from crates/corten-run/src/c: don't edit. */

#ifndef CORTEN_H
#define CORTEN_H

#include <stddef.h>
#include <stdint.h>

/* Define CORTEN_NO_FILES for a library made without an operating system. */
#ifndef CORTEN_NO_FILES
#define CORTEN_HAS_FILES
#endif

// What a function answers. The message of a failure comes from `corten_message`.
enum corten_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // It worked.
  CORTEN_STATUS_OK = 0,
  // A null pointer, or a number that means nothing here.
  CORTEN_STATUS_ARGUMENT = 1,
  // The file can't be read or written.
  CORTEN_STATUS_IO = 2,
  // The bytes are no model, or a damaged one.
  CORTEN_STATUS_FORMAT = 3,
  // A newer version of Corten wrote the model.
  CORTEN_STATUS_VERSION = 4,
  // The model doesn't have the method.
  CORTEN_STATUS_UNSUPPORTED = 5,
  // A value that the model refuses: an unknown category, a missing number where none may be missing.
  CORTEN_STATUS_VALUE = 6,
  // A limit on size.
  CORTEN_STATUS_LIMIT = 7,
  // A defect of Corten.
  CORTEN_STATUS_INTERNAL = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum corten_status corten_status;
#else
typedef int32_t corten_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Types of columns and classes.
enum corten_kind
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // There is no such column.
  CORTEN_KIND_NONE = -1,
  // A number: a `double`, NaN where it is missing.
  CORTEN_KIND_NUMBER = 0,
  // UTF-8 text.
  CORTEN_KIND_TEXT = 1,
  // A class that is a whole number.
  CORTEN_KIND_INT = 2,
  // A class that is a boolean.
  CORTEN_KIND_BOOL = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum corten_kind corten_kind;
#else
typedef int32_t corten_kind;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// What a model can be asked for, as in scikit-learn.
enum corten_method
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  // Numbers, or for a classifier the index of a class.
  CORTEN_METHOD_PREDICT = 0,
  // One probability a class.
  CORTEN_METHOD_PREDICT_PROBA = 1,
  // Scores before they become probabilities.
  CORTEN_METHOD_DECISION_FUNCTION = 2,
  // The columns of a transformer.
  CORTEN_METHOD_TRANSFORM = 3,
  // Lower and upper end of an interval.
  CORTEN_METHOD_PREDICT_INTERVAL = 4,
  // 1 or 0 for each class: whether it is in the set.
  CORTEN_METHOD_PREDICT_SET = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum corten_method corten_method;
#else
typedef int32_t corten_method;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A model. Immutable but for `corten_update`, and shared between threads freely.
typedef struct corten_model corten_model;

// The memory of one thread that runs rows of one model.
typedef struct corten_session corten_session;

// Text: `size` bytes of UTF-8, which need no zero at their end. Missing where `data` is null.
typedef struct {
  // The bytes.
  const char *data;
  // How many.
  size_t size;
} corten_text;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The message of the last failure in this thread; empty when there was none. Valid until the next failure in this thread.
const char *corten_message(void);

// The version of Corten, as in "0.1.0".
const char *corten_version(void);

#if defined(CORTEN_HAS_FILES)
// Opens a model file. `path` is UTF-8. Everything in the file is checked before anything runs; the file isn't needed
// afterwards.
//
// # Safety
// `path` is a text that ends with a zero byte; `model` points to room for a pointer.
corten_status corten_open(const char *path, corten_model **model);
#endif

// Opens a model that lies in memory, as in a device's flash. The bytes are not needed afterwards.
//
// # Safety
// `bytes` points to `length` bytes; `model` points to room for a pointer.
corten_status corten_open_bytes(const void *bytes, size_t length, corten_model **model);

// Frees a model; null is allowed. Its sessions may be freed before or after.
//
// # Safety
// `model` came from `corten_open` or `corten_open_bytes`, and nothing uses it any more.
void corten_close(corten_model *model);

#if defined(CORTEN_HAS_FILES)
// Writes a model with its present state to a file, put in place at once.
//
// # Safety
// `model` is open; `path` is a text that ends with a zero byte.
corten_status corten_save(const corten_model *model, const char *path);
#endif

// Number of columns that the model reads.
//
// # Safety
// `model` is null or open.
size_t corten_inputs(const corten_model *model);

// Name of a column that the model reads; null where there is none.
//
// # Safety
// `model` is null or open.
const char *corten_input_name(const corten_model *model, size_t index);

// The type that a column had when the model was fitted, as in "f64" or "text"; null where there is none.
//
// # Safety
// `model` is null or open.
const char *corten_input_dtype(const corten_model *model, size_t index);

// Whether a column that the model reads holds numbers or text.
//
// # Safety
// `model` is null or open.
corten_kind corten_input_kind(const corten_model *model, size_t index);

// 1 where the model has a method, else 0.
//
// # Safety
// `model` is null or open.
int32_t corten_has(const corten_model *model, int32_t method);

// Number of columns of a method's answer; 0 where the model doesn't have the method.
//
// # Safety
// `model` is null or open.
size_t corten_columns(const corten_model *model, int32_t method);

// How many of them hold numbers: what `corten_predict` writes to `out` for each row.
//
// # Safety
// `model` is null or open.
size_t corten_out_numbers(const corten_model *model, int32_t method);

// How many of them hold text: what `corten_predict` writes to `out_texts` for each row.
//
// # Safety
// `model` is null or open.
size_t corten_out_texts(const corten_model *model, int32_t method);

// Name of a column of a method's answer; null where there is none.
//
// # Safety
// `model` is null or open.
const char *corten_column_name(const corten_model *model, int32_t method, size_t index);

// Whether a column of a method's answer holds numbers or text.
//
// # Safety
// `model` is null or open.
corten_kind corten_column_kind(const corten_model *model, int32_t method, size_t index);

// Number of classes of a classifier; 0 for other models.
//
// # Safety
// `model` is null or open.
size_t corten_classes(const corten_model *model);

// A class as text; null where there is none. A classifier's `CORTEN_METHOD_PREDICT` answers the index.
//
// # Safety
// `model` is null or open.
const char *corten_class(const corten_model *model, size_t index);

// The type that the classes had when the model was fitted.
//
// # Safety
// `model` is null or open.
corten_kind corten_class_kind(const corten_model *model);

// 1 where `corten_update` changes the model, else 0.
//
// # Safety
// `model` is null or open.
int32_t corten_stateful(const corten_model *model);

// Makes the memory of one thread, for blocks of up to `rows` rows: 1 where rows come one at a time, 0 for as many as the
// cache holds. All that predicting needs is made here.
//
// # Safety
// `model` is open; `session` points to room for a pointer.
corten_status corten_session_new(const corten_model *model,
                                 size_t rows,
                                 corten_session **session);

// Frees a session; null is allowed.
//
// # Safety
// `session` came from `corten_session_new`, and nothing uses it any more.
void corten_session_free(corten_session *session);

// Runs rows: `numbers` row after row, the number inputs of each in the order of the inputs; `texts` likewise (null where
// the model reads none). The number columns of the answer go to `out`, row after row, the text columns to `out_texts`
// (null where there are none); such a text lives as long as the model and the texts that went in. Nothing is allocated
// unless it fails.
//
// # Safety
// `model` is open and `session` one of its own that no other thread uses now; the arrays have as many elements as the
// rows need.
corten_status corten_predict(const corten_model *model,
                             corten_session *session,
                             int32_t method,
                             const double *numbers,
                             const corten_text *texts,
                             size_t rows,
                             double *out,
                             corten_text *out_texts);

// As `corten_predict`, with numbers in `float`.
//
// # Safety
// As `corten_predict`.
corten_status corten_predict_f32(const corten_model *model,
                                 corten_session *session,
                                 int32_t method,
                                 const float *numbers,
                                 const corten_text *texts,
                                 size_t rows,
                                 double *out,
                                 corten_text *out_texts);

// Takes one row into the state of a model that has one, and writes the numbers of its first method's answer after the
// step to `out`. No other call may use the model meanwhile.
//
// # Safety
// As `corten_predict`, and no other thread uses the model.
corten_status corten_update(corten_model *model,
                            corten_session *session,
                            const double *numbers,
                            const corten_text *texts,
                            double *out);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CORTEN_H */
