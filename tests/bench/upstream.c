// What stands behind the routers that are compared: one epoll thread; 64 bytes for every path, 64 KiB for `/large`.
// Listens on 127.0.0.1 at $PORT. Says Connection: close where it was asked to, and closes.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <errno.h>

enum { FILES = 65536, HEAD = 4096 };

struct connection {
  char head[HEAD];
  int filled;
  const char *answer;
  size_t left;
  int closes;
};
static struct connection *connections[FILES];
static char small[512], large[66560];
static size_t small_length, large_length;

static size_t fill(char *answer, size_t body) {
  int head = sprintf(answer, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", body);
  memset(answer + head, 'x', body);
  return (size_t)head + body;
}

static void drop(int fd) {
  free(connections[fd]);
  connections[fd] = NULL;
  close(fd);
}

// Says whether the connection is still there.
static int send_rest(int epoll, int fd) {
  struct connection *c = connections[fd];
  while (c->left > 0) {
    ssize_t sent = send(fd, c->answer, c->left, MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) {
      struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
      epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
      return 1;
    }
    if (sent <= 0) return drop(fd), 0;
    c->answer += sent;
    c->left -= (size_t)sent;
    if (c->left == 0 && c->closes) return drop(fd), 0;
  }
  return 1;
}

static void serve(int epoll, int fd) {
  struct connection *c = connections[fd];
  if (c->left > 0 && !send_rest(epoll, fd)) return;
  for (;;) {
    ssize_t got = recv(fd, c->head + c->filled, HEAD - 1 - c->filled, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) return drop(fd);
    c->filled += got;
    c->head[c->filled] = 0;
    if (!strstr(c->head, "\r\n\r\n")) continue;
    int is_large = strncmp(c->head, "GET /large ", 11) == 0;
    c->closes = strcasestr(c->head, "\r\nconnection: close") != NULL;
    c->filled = 0;
    c->answer = is_large ? large : small;
    c->left = is_large ? large_length : small_length;
    if (!send_rest(epoll, fd)) return;
  }
}

int main(void) {
  small_length = fill(small, 64);
  large_length = fill(large, 65536);
  int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(atoi(getenv("PORT"))), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 4096)) return perror("listen"), 1;
  int epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int ready = epoll_wait(epoll, events, 256, -1);
    for (int n = 0; n < ready; n++) {
      int fd = events[n].data.fd;
      if (fd != listener) {
        serve(epoll, fd);
        continue;
      }
      while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= FILES) { close(fd); continue; }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        connections[fd] = calloc(1, sizeof **connections);
        event.events = EPOLLIN;
        event.data.fd = fd;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
      }
    }
  }
}
