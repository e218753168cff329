/* A load in an open loop: requests are due at their times whether or not the server keeps up, and each answer is compared.
 *
 *     load PORT rest|grpc FILE RATE SECONDS CONNECTIONS WAITS
 *
 * FILE holds requests and their right answers, as `_load.py` writes them. RATE 0 is a closed loop. A connection has one request
 * at a time; over gRPC that is one call of HTTP/2, spoken here by hand. A request that finds no connection free for 100 ms isn't
 * sent: its client would have none left. Counts go to the standard output as JSON; WAITS gets,
 * for each answer and each refusal, its kind (the place of the right answer, or -1) and the milliseconds since it was due.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, FRAME = 16384, AT_FIRST = 65535, MOST_RIGHT = 4, REFUSED = -1 };
enum { DATA, HEADERS, RESET = 3, SETTINGS, PING = 6, GOAWAY, WINDOW };

struct bytes {
    char *at;
    size_t length, room;
};

struct request {
    struct bytes whole, right[MOST_RIGHT];
    uint32_t rights;
};

struct line {
    int socket, idle, writes, closes;
    long asked;
    double due;
    struct bytes came, out, said;
    size_t sent;
    int64_t window;
    uint32_t stream;
};

static struct request *requests;
static uint32_t request_count;
static struct line *lines;
static int *idle, idle_count, epoll, grpc, port;
static FILE *waits;
static long right, wrong, refused, statuses, broken, cut_off, dead, unreachable;

static void die(const char *what) {
    perror(what);
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static void put(struct bytes *to, const void *from, size_t length) {
    if (to->length + length > to->room) {
        to->room = 2 * (to->length + length);
        if (!(to->at = realloc(to->at, to->room))) die("memory");
    }
    if (length) memcpy(to->at + to->length, from, length);
    to->length += length;
}

static void put_frame(struct bytes *to, int kind, int flags, uint32_t stream, const void *payload, size_t length) {
    unsigned char head[9] = {length >> 16, length >> 8, length, kind, flags, stream >> 24, stream >> 16, stream >> 8, stream};
    put(to, head, 9);
    put(to, payload, length);
}

static void rest(struct line *l) {
    /* A message fits the window that the server tells, which is far larger than the one before it. */
    if (l->asked >= 0 || l->idle || l->closes || (grpc && l->window < AT_FIRST + 1)) return;
    l->idle = 1;
    idle[idle_count++] = l - lines;
}

/* Sends what is to go; 0 where the connection has ended. */
static int push(struct line *l) {
    while (l->sent < l->out.length) {
        ssize_t n = send(l->socket, l->out.at + l->sent, l->out.length - l->sent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno != EAGAIN) return 0;
            break;
        }
        l->sent += n;
    }
    int writes = l->sent < l->out.length;
    if (!writes) l->out.length = l->sent = 0;
    if (writes != l->writes) {
        struct epoll_event e = {.events = EPOLLIN | (writes ? EPOLLOUT : 0), .data.u32 = l - lines};
        epoll_ctl(epoll, EPOLL_CTL_MOD, l->socket, &e);
        l->writes = writes;
    }
    return 1;
}

static void dial(struct line *l) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    l->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (l->socket < 0) die("socket");
    if (connect(l->socket, (struct sockaddr *)&to, sizeof to)) {
        close(l->socket);
        l->socket = -1;
        unreachable++;
        return;
    }
    setsockopt(l->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(l->socket, F_SETFL, O_NONBLOCK);
    l->came.length = l->out.length = l->said.length = l->sent = 0;
    l->writes = l->closes = 0;
    l->window = AT_FIRST;
    l->stream = -1;
    l->asked = -1;
    struct epoll_event e = {.events = EPOLLIN, .data.u32 = l - lines};
    epoll_ctl(epoll, EPOLL_CTL_ADD, l->socket, &e);
    if (grpc) {
        unsigned char window[4] = {0x40, 0, 0, 0};
        put(&l->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        put_frame(&l->out, SETTINGS, 0, 0, 0, 0);
        put_frame(&l->out, WINDOW, 0, 0, window, 4);
        push(l);
    }
    rest(l);
}

static void drop(struct line *l, int again) {
    if (l->asked >= 0) cut_off++;
    close(l->socket);
    l->socket = -1;
    l->asked = -1;
    if (l->idle) {
        for (int i = 0; i < idle_count; i++)
            if (idle[i] == l - lines) {
                memmove(idle + i, idle + i + 1, (--idle_count - i) * sizeof *idle);
                break;
            }
        l->idle = 0;
    }
    if (again) dial(l);
}

static void ask(struct line *l, long number, double due) {
    const struct bytes *whole = &requests[number].whole;
    l->asked = number;
    l->due = due;
    if (!grpc) {
        put(&l->out, whole->at, whole->length);
        return;
    }
    /* POST, http, :path, :authority, content-type and te, as HPACK has them without its tables and codes. */
    static const char HEAD[] = "\x83\x86\x04\x2a/inference.GRPCInferenceService/ModelInfer\x01\x09"
                               "127.0.0.1\x0f\x10\x10"
                               "application/grpc\0\x02te\x08trailers";
    l->stream += 2;
    l->window -= whole->length;
    l->said.length = 0;
    put_frame(&l->out, HEADERS, 4, l->stream, HEAD, sizeof HEAD - 1);
    for (size_t at = 0; at < whole->length; at += FRAME) {
        size_t length = whole->length - at < FRAME ? whole->length - at : FRAME;
        put_frame(&l->out, DATA, at + length == whole->length, l->stream, whole->at + at, length);
    }
}

static void answered(struct line *l, const char *body, size_t length, int turned_away) {
    const struct request *r = &requests[l->asked];
    int32_t kind = REFUSED;
    if (turned_away) {
        refused++;
    } else {
        for (kind = 0; kind < (int)r->rights; kind++)
            if (r->right[kind].length == length && !memcmp(r->right[kind].at, body, length)) break;
        if (kind == (int)r->rights) {
            wrong++;
            l->asked = -1;
            return;
        }
        right++;
    }
    float ms = 1e3 * (now() - l->due);
    fwrite(&kind, 4, 1, waits);
    fwrite(&ms, 4, 1, waits);
    l->asked = -1;
}

static void take_rest(struct line *l) {
    size_t at = 0;
    while (l->asked >= 0) {
        char *start = l->came.at + at, *end = memmem(start, l->came.length - at, "\r\n\r\n", 4);
        if (!end) break;
        *end = 0;
        char *length = strcasestr(start, "\r\ncontent-length: ");
        size_t body = length ? strtoul(length + 18, 0, 10) : 0;
        int status = atoi(start + 9), later = strcasestr(start, "\r\nretry-after: ") != 0;
        l->closes |= strcasestr(start, "\r\nconnection: close") != 0;
        *end = '\r';
        if (l->came.length - at < (size_t)(end + 4 - start) + body) break;
        int turned_away = (status == 429 || status == 503) && later;
        if (status == 200 || turned_away) {
            answered(l, end + 4, body, turned_away);
        } else {
            statuses++;
            l->asked = -1;
        }
        at += end + 4 - start + body;
    }
    memmove(l->came.at, l->came.at + at, l->came.length -= at);
}

static void take_grpc(struct line *l) {
    size_t at = 0;
    for (; l->came.length - at >= 9;) {
        const unsigned char *head = (unsigned char *)l->came.at + at, *payload = head + 9;
        size_t length = head[0] << 16 | head[1] << 8 | head[2];
        if (l->came.length - at < 9 + length) break;
        int kind = head[3], flags = head[4];
        uint32_t stream = (uint32_t)head[5] << 24 | head[6] << 16 | head[7] << 8 | head[8];
        uint32_t number = length >= 4 ? (uint32_t)payload[0] << 24 | payload[1] << 16 | payload[2] << 8 | payload[3] : 0;
        if (kind == SETTINGS && !(flags & 1)) put_frame(&l->out, SETTINGS, 1, 0, 0, 0);
        if (kind == PING && !(flags & 1)) put_frame(&l->out, PING, 1, 0, payload, length);
        if (kind == WINDOW && stream == 0) l->window += number;
        if (kind == GOAWAY) l->closes = 1;
        if (stream == l->stream && l->asked >= 0) {
            if (kind == DATA) put(&l->said, payload, length);
            /* One without a message is refused; the server's metrics tell whether for that reason. */
            if ((kind == DATA || kind == HEADERS) && flags & 1) answered(l, l->said.at, l->said.length, !l->said.length);
            if (kind == RESET && number) {
                broken++;
                l->asked = -1;
            }
        }
        at += 9 + length;
    }
    memmove(l->came.at, l->came.at + at, l->came.length -= at);
}

static uint32_t number_of(FILE *file) {
    uint32_t n;
    if (fread(&n, 4, 1, file) != 1) die("the file of requests");
    return n;
}

static void read_bytes(FILE *file, struct bytes *to) {
    to->length = to->room = number_of(file);
    if (!(to->at = malloc(to->length + 1)) || fread(to->at, 1, to->length, file) != to->length) die("the file of requests");
}

static void read_requests(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die(path);
    request_count = number_of(file);
    requests = calloc(request_count, sizeof *requests);
    for (uint32_t i = 0; i < request_count; i++) {
        read_bytes(file, &requests[i].whole);
        requests[i].rights = number_of(file);
        if (requests[i].rights > MOST_RIGHT) die("too many right answers");
        for (uint32_t k = 0; k < requests[i].rights; k++) read_bytes(file, &requests[i].right[k]);
    }
    fclose(file);
}

int main(int argc, char **argv) {
    if (argc != 8) die("usage: load PORT rest|grpc FILE RATE SECONDS CONNECTIONS WAITS");
    port = atoi(argv[1]);
    grpc = !strcmp(argv[2], "grpc");
    read_requests(argv[3]);
    double rate = atof(argv[4]), seconds = atof(argv[5]), behind = 0, patience = 10;
    int connections = atoi(argv[6]);
    if (!(waits = fopen(argv[7], "wb"))) die(argv[7]);
    epoll = epoll_create1(0);
    lines = calloc(connections, sizeof *lines);
    idle = calloc(connections, sizeof *idle);
    for (int i = 0; i < connections; i++) dial(&lines[i]);
    /* What comes first over HTTP/2, settings and windows, comes before the load. */
    double begun = now() + 0.3, past;
    long turn = 0, never = 0, unsent = 0;
    static char room[1 << 16];
    struct epoll_event events[EVENTS];
    for (;;) {
        past = now() - begun;
        if (past >= seconds) {
            never = 0;
            for (int i = 0; i < connections; i++) never += lines[i].asked >= 0;
            if (!never || past > seconds + patience) break;
        }
        while (rate > 0 && past < seconds && past - turn / rate > 0.1) turn++, unsent++;
        /* The connection that has been idle longest comes first. */
        int used = 0;
        while (past >= 0 && past < seconds && used < idle_count && (rate == 0 || turn / rate <= past)) {
            struct line *l = &lines[idle[used++]];
            l->idle = 0;
            if (l->closes || l->socket < 0) continue;
            double due = rate == 0 ? past : turn / rate;
            if (rate > 0 && past - due > behind) behind = past - due;
            ask(l, turn++ % request_count, begun + due);
            if (!push(l)) {
                dead++;
                l->asked = -1;
                drop(l, 1);
            }
            past = now() - begun;
        }
        memmove(idle, idle + used, (idle_count -= used) * sizeof *idle);
        int count = epoll_wait(epoll, events, EVENTS, past >= 0 && past < seconds && rate > 0 ? 0 : 10);
        for (int i = 0; i < count; i++) {
            struct line *l = &lines[events[i].data.u32];
            if (l->socket < 0) continue;
            int alive = !(events[i].events & EPOLLOUT) || push(l);
            if (alive && events[i].events & ~EPOLLOUT) {
                ssize_t n = recv(l->socket, room, sizeof room, 0);
                if (n > 0) {
                    put(&l->came, room, n);
                    grpc ? take_grpc(l) : take_rest(l);
                    alive = push(l) && !(l->closes && l->asked < 0);
                    if (alive) rest(l);
                } else if (n == 0 || errno != EAGAIN) {
                    alive = 0;
                }
            }
            if (!alive) drop(l, past < seconds);
        }
    }
    fclose(waits);
    printf("{\"right\": %ld, \"refused\": %ld, \"wrong\": %ld, \"other status\": %ld, \"broken\": %ld, \"cut off\": %ld, "
           "\"idle connection was dead\": %ld, \"connection refused\": %ld, \"never answered\": %ld, \"not sent\": %ld, \"behind_ms\": %.2f}\n",
           right, refused, wrong, statuses, broken, cut_off, dead, unreachable, never, unsent, 1e3 * behind);
    return 0;
}
