/* The same library found at run time: a program that offers scoring where libcorten is installed, and starts without it.
 *
 *   cc -std=c99 loaded.c -I include -ldl -lpthread -o loaded
 *   ./loaded lib/libcorten.so m.corten < rows.bin > answers.bin
 *
 * Rows are doubles of this machine, row after row, for a model that reads numbers only. Four threads share the model and
 * cut the rows among them.
 */
#define _POSIX_C_SOURCE 200809L
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "corten.h"

enum { THREADS = 4 };

/* Each function that is needed, under the type that the header gives it. */
static struct {
    corten_status (*open)(const char *, corten_model **);
    void (*close)(corten_model *);
    size_t (*inputs)(const corten_model *);
    size_t (*numbers)(const corten_model *, int32_t);
    corten_status (*session_new)(const corten_model *, size_t, corten_session **);
    void (*session_free)(corten_session *);
    corten_status (*predict)(const corten_model *, corten_session *, int32_t, const double *, const corten_text *, size_t,
                             double *, corten_text *);
    const char *(*message)(void);
} lib;

/* POSIX lets a pointer to a function be read through a pointer to data; C99 does not cast between them. */
static int find(void *library, const char *name, void *to) {
    void *symbol = dlsym(library, name);
    if (symbol == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    *(void **)to = symbol;
    return 0;
}

typedef struct {
    const corten_model *model;
    const double *rows;
    double *out;
    size_t count;
    corten_status status;
} part;

static void *work(void *given) {
    part *p = given;
    corten_session *session = NULL;
    p->status = lib.session_new(p->model, 0, &session);
    if (p->status == CORTEN_STATUS_OK) {
        p->status = lib.predict(p->model, session, CORTEN_METHOD_PREDICT, p->rows, NULL, p->count, p->out, NULL);
    }
    if (p->status != CORTEN_STATUS_OK) fprintf(stderr, "%s\n", lib.message());
    lib.session_free(session);
    return NULL;
}

/* All of standard input. */
static double *read_all(size_t *count) {
    size_t room = 1 << 16, used = 0, got;
    double *rows = malloc(room * sizeof *rows);
    while (rows != NULL && (got = fread(rows + used, sizeof *rows, room - used, stdin)) > 0) {
        used += got;
        if (used == room) {
            double *more = realloc(rows, (room *= 2) * sizeof *rows);
            if (more == NULL) free(rows);
            rows = more;
        }
    }
    *count = used;
    return rows;
}

int main(int count, char **arguments) {
    corten_model *model = NULL;
    pthread_t threads[THREADS];
    part parts[THREADS];
    size_t numbers, width, outputs, rows, each, t;
    double *in, *out;
    void *library;
    int failed = 0;

    if (count != 3) {
        fprintf(stderr, "usage: loaded LIBCORTEN.so MODEL.corten < rows > answers\n");
        return 2;
    }
    library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    if (find(library, "corten_open", &lib.open) || find(library, "corten_close", &lib.close) ||
        find(library, "corten_inputs", &lib.inputs) || find(library, "corten_out_numbers", &lib.numbers) ||
        find(library, "corten_session_new", &lib.session_new) || find(library, "corten_session_free", &lib.session_free) ||
        find(library, "corten_predict", &lib.predict) || find(library, "corten_message", &lib.message)) {
        return 1;
    }
    if (lib.open(arguments[2], &model) != CORTEN_STATUS_OK) {
        fprintf(stderr, "%s\n", lib.message());
        return 1;
    }

    in = read_all(&numbers);
    width = lib.inputs(model);
    outputs = lib.numbers(model, CORTEN_METHOD_PREDICT);
    if (in == NULL || width == 0 || numbers % width != 0) {
        fprintf(stderr, "%lu numbers are no whole rows of %lu\n", (unsigned long)numbers, (unsigned long)width);
        return 1;
    }
    rows = numbers / width;
    out = calloc(rows * outputs + 1, sizeof *out);
    if (out == NULL) return 1;

    each = rows / THREADS + 1;
    for (t = 0; t < THREADS; t++) {
        size_t start = t * each < rows ? t * each : rows;
        parts[t].model = model;
        parts[t].rows = in + start * width;
        parts[t].out = out + start * outputs;
        parts[t].count = rows - start < each ? rows - start : each;
        if (pthread_create(&threads[t], NULL, work, &parts[t]) != 0) return 1;
    }
    for (t = 0; t < THREADS; t++) {
        pthread_join(threads[t], NULL);
        failed |= parts[t].status != CORTEN_STATUS_OK;
    }
    if (!failed) fwrite(out, sizeof *out, rows * outputs, stdout);
    free(in), free(out);
    lib.close(model);
    dlclose(library);
    return failed;
}
