// A client that says exactly what a test wants said.
#ifndef FW_TEST_HTTP_CLIENT_H
#define FW_TEST_HTTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>

// An answer; free it with http_free(). STATUS 0: the server closed without one.
struct http_reply {
    int status;
    char *data; // head and body, terminated
    size_t length;
    const char *body; // in DATA; "" if none
    size_t body_length;
    int64_t took_ms;
};

// A connected socket with a receive timeout of 15 s; fails the test when there is none.
int http_connect(int port);
void http_send(int fd, const void *bytes, size_t length);
// Reads up to LENGTH bytes; returns how many came before the end or the timeout.
size_t http_read(int fd, void *bytes, size_t length);

// Sends TEXT as it is and reads until the server closes.
struct http_reply http_raw(int port, const char *text);
// METHOD PATH with a right Host, Connection: close and the further header lines HEADERS.
struct http_reply http_ask(int port, const char *method, const char *path, const char *headers);
struct http_reply http_get(int port, const char *path);
void http_free(struct http_reply *reply);

// Opens PATH and leaves it open, with SIZE bytes of the answer read.
int http_open_stream(int port, const char *path, char *start, size_t size);

#endif
