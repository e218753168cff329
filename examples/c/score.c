/* Scores a CSV file with a model: every row goes through libcorten and is answered on standard output.
 *
 *   cc -std=c99 score.c -I include -L lib -lcorten -o score
 *   ./score m.corten < rows.csv
 *
 * The first line of the input names the columns; an empty field is missing, true and false are 1 and 0. Fields hold no
 * quotes here: reading CSV is not what this example is about.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "corten.h"

enum { LINE = 1 << 16 };

static int stop(const char *what) {
    fprintf(stderr, "%s: %s\n", what, corten_message());
    return 1;
}

/* Cuts a line at its commas; answers how many fields there are. */
static size_t cut(char *line, char **fields, size_t room) {
    size_t count = 0;
    line[strcspn(line, "\r\n")] = '\0';
    while (count < room) {
        char *comma = strchr(line, ',');
        fields[count++] = line;
        if (comma == NULL) break;
        *comma = '\0';
        line = comma + 1;
    }
    return count;
}

/* What one row needs, made once. */
typedef struct {
    size_t inputs, width;
    size_t *place;       /* the field of each input */
    double *numbers;     /* the number inputs of a row */
    corten_text *texts;  /* its text inputs */
    double *out;         /* the numbers of the answer */
    corten_text *words;  /* the texts of the answer */
} row;

static int find_columns(const corten_model *model, row *r, char **header, size_t width) {
    size_t i, field;
    for (i = 0; i < r->inputs; i++) {
        const char *name = corten_input_name(model, i);
        for (field = 0; field < width && strcmp(header[field], name) != 0; field++) {}
        if (field == width) {
            fprintf(stderr, "column '%s' is missing from the input\n", name);
            return 1;
        }
        r->place[i] = field;
    }
    return 0;
}

/* A number, or what CSV writes for booleans; answers 0 for anything else. */
static int read_number(const char *field, double *number) {
    char *end;
    if (strcmp(field, "true") == 0 || strcmp(field, "True") == 0 || strcmp(field, "TRUE") == 0) {
        *number = 1.0;
        return 1;
    }
    if (strcmp(field, "false") == 0 || strcmp(field, "False") == 0 || strcmp(field, "FALSE") == 0) {
        *number = 0.0;
        return 1;
    }
    *number = field[0] == '\0' ? strtod("nan", NULL) : strtod(field, &end);
    return field[0] == '\0' || (end != field && *end == '\0');
}

/* Numbers and texts go in side by side, each kind in the order of the inputs. */
static int read_row(const corten_model *model, row *r, char **fields) {
    size_t i, number = 0, text = 0;
    for (i = 0; i < r->inputs; i++) {
        const char *field = fields[r->place[i]];
        if (corten_input_kind(model, i) == CORTEN_KIND_TEXT) {
            r->texts[text].data = field[0] == '\0' ? NULL : field;
            r->texts[text++].size = strlen(field);
            continue;
        }
        if (!read_number(field, &r->numbers[number++])) {
            fprintf(stderr, "column '%s': '%s' is no number\n", corten_input_name(model, i), field);
            return 1;
        }
    }
    return 0;
}

static void print_answer(const corten_model *model, int32_t method, const row *r) {
    size_t columns = corten_columns(model, method), i, number = 0, word = 0;
    for (i = 0; i < columns; i++) {
        printf(i ? "," : "");
        if (corten_column_kind(model, method, i) == CORTEN_KIND_TEXT) {
            const corten_text *text = &r->words[word++];
            if (text->data != NULL) fwrite(text->data, 1, text->size, stdout);
        } else if (method == CORTEN_METHOD_PREDICT && corten_classes(model) > 0) {
            printf("%s", corten_class(model, (size_t)r->out[number++]));
        } else {
            printf("%.17g", r->out[number++]);
        }
    }
    printf("\n");
}

/* The most telling method that the model has. */
static int32_t choose(const corten_model *model) {
    static const int32_t order[] = {CORTEN_METHOD_PREDICT_PROBA, CORTEN_METHOD_PREDICT, CORTEN_METHOD_DECISION_FUNCTION};
    size_t i;
    for (i = 0; i < sizeof order / sizeof order[0]; i++) {
        if (corten_has(model, order[i])) return order[i];
    }
    return CORTEN_METHOD_TRANSFORM;
}

int main(int count, char **arguments) {
    static char line[LINE];
    static char *fields[4096];
    corten_model *model = NULL;
    corten_session *session = NULL;
    int32_t method;
    size_t width, i;
    row r;
    int failed = 0;

    if (count != 2) {
        fprintf(stderr, "usage: score MODEL.corten < rows.csv\n");
        return 2;
    }
    if (corten_open(arguments[1], &model) != CORTEN_STATUS_OK) return stop("corten_open");
    if (corten_session_new(model, 1, &session) != CORTEN_STATUS_OK) return stop("corten_session_new");
    method = choose(model);

    r.inputs = corten_inputs(model);
    r.width = corten_columns(model, method);
    r.place = calloc(r.inputs + 1, sizeof *r.place);
    r.numbers = calloc(r.inputs + 1, sizeof *r.numbers);
    r.texts = calloc(r.inputs + 1, sizeof *r.texts);
    r.out = calloc(r.width + 1, sizeof *r.out);
    r.words = calloc(r.width + 1, sizeof *r.words);
    if (!r.place || !r.numbers || !r.texts || !r.out || !r.words) return 1;

    if (fgets(line, sizeof line, stdin) == NULL) {
        fprintf(stderr, "the input is empty; its first line must name the columns\n");
        return 1;
    }
    width = cut(line, fields, sizeof fields / sizeof fields[0]);
    if (find_columns(model, &r, fields, width)) return 1;
    for (i = 0; i < r.width; i++) {
        int label = method == CORTEN_METHOD_PREDICT && corten_classes(model) > 0;
        printf("%s%s", i ? "," : "", label ? "prediction" : corten_column_name(model, method, i));
    }
    printf("\n");

    while (!failed && fgets(line, sizeof line, stdin) != NULL) {
        if (cut(line, fields, sizeof fields / sizeof fields[0]) != width) {
            fprintf(stderr, "a row has another number of fields than the header\n");
            failed = 1;
        } else if (read_row(model, &r, fields)) {
            failed = 1;
        } else if (corten_predict(model, session, method, r.numbers, r.texts, 1, r.out, r.words) != CORTEN_STATUS_OK) {
            failed = stop("corten_predict");
        } else {
            print_answer(model, method, &r);
        }
    }

    free(r.place), free(r.numbers), free(r.texts), free(r.out), free(r.words);
    corten_session_free(session);
    corten_close(model);
    return failed;
}
