/* A server that does next to nothing: what the loopback, the kernel and one thread allow. It finds the end of each
 * request by its Content-Length and sends the same answer to all.
 *
 *     gcc -O2 -o floor floor.c && ./floor PORT
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 1 << 17, EVENTS = 256, CONNECTIONS = 4096 };

static struct {
    char *bytes;
    size_t used;
} held[CONNECTIONS];

static const char *const BODY = "{\"model_name\":\"model\",\"outputs\":[]}";

/* Bytes of the first whole request among `used`, or 0. */
static size_t whole(const char *bytes, size_t used) {
    const char *end = memmem(bytes, used, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t length = 0;
    for (const char *line = bytes; line < end; line = (const char *)memchr(line, '\n', end + 4 - line) + 1)
        if (!strncasecmp(line, "content-length:", 15)) length = strtoul(line + 15, NULL, 10);
    size_t all = (size_t)(end + 4 - bytes) + length;
    return all <= used ? all : 0;
}

int main(int count, char **arguments) {
    if (count != 2) return fprintf(stderr, "floor PORT\n"), 2;
    char answer[512];
    int length = snprintf(answer, sizeof answer,
                          "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                          strlen(BODY), BODY);
    int door = socket(AF_INET, SOCK_STREAM, 0), yes = 1, poll = epoll_create1(0);
    setsockopt(door, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons((unsigned short)atoi(arguments[1])),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (bind(door, (struct sockaddr *)&at, sizeof at) || listen(door, 2048)) return perror("floor"), 1;
    epoll_ctl(poll, EPOLL_CTL_ADD, door, &(struct epoll_event){.events = EPOLLIN, .data.fd = door});
    for (struct epoll_event events[EVENTS];;) {
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int i = 0; i < ready; i++) {
            int one = events[i].data.fd;
            if (one == door) {
                int came = accept4(door, NULL, NULL, SOCK_NONBLOCK);
                if (came < 0) continue;
                if (came >= CONNECTIONS) { close(came); continue; }
                setsockopt(came, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                if (!held[came].bytes) held[came].bytes = malloc(ROOM);
                held[came].used = 0;
                epoll_ctl(poll, EPOLL_CTL_ADD, came, &(struct epoll_event){.events = EPOLLIN, .data.fd = came});
                continue;
            }
            char *bytes = held[one].bytes;
            ssize_t got = read(one, bytes + held[one].used, ROOM - held[one].used);
            if (got <= 0) { close(one); continue; }
            held[one].used += (size_t)got;
            for (size_t all; (all = whole(bytes, held[one].used));) {
                if (write(one, answer, (size_t)length) != length) break;
                memmove(bytes, bytes + all, held[one].used -= all);
            }
        }
    }
}
