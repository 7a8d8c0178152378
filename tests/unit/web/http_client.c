#include "http_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "util/clock.h"
#include "util/text.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

int http_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval timeout = {.tv_sec = 15};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

void http_send(int fd, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return; // the server may refuse before it has read all
        at += sent;
        length -= (size_t)sent;
    }
}

size_t http_read(int fd, void *bytes, size_t length)
{
    size_t used = 0;
    while (used < length) {
        ssize_t got = recv(fd, (char *)bytes + used, length - used, 0);
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    return used;
}

static void read_reply(int fd, struct http_reply *reply)
{
    struct fw_text text = FW_TEXT_INIT;
    char block[4096];
    for (;;) {
        ssize_t got = recv(fd, block, sizeof block, 0);
        if (got <= 0)
            break;
        fw_text_append_n(&text, block, (size_t)got);
    }
    assert_false(text.failed);
    reply->length = text.length;
    fw_text_append(&text, "");
    reply->data = fw_text_steal(&text);
    assert_non_null(reply->data);
    if (strncmp(reply->data, "HTTP/1.", 7) == 0)
        reply->status = atoi(reply->data + 9);
    const char *end = strstr(reply->data, "\r\n\r\n");
    reply->body = end ? end + 4 : reply->data + reply->length;
    reply->body_length = reply->length - (size_t)(reply->body - reply->data);
}

struct http_reply http_raw(int port, const char *text)
{
    struct http_reply reply = {0};
    int64_t began_us = fw_monotonic_us();
    int fd = http_connect(port);
    http_send(fd, text, strlen(text));
    read_reply(fd, &reply);
    close(fd);
    reply.took_ms = (fw_monotonic_us() - began_us) / FW_US_PER_MS;
    return reply;
}

struct http_reply http_ask(int port, const char *method, const char *path, const char *headers)
{
    char *text = fw_strdup_printf("%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                                  "Connection: close\r\n%s\r\n",
                                  method, path, port, headers);
    assert_non_null(text);
    struct http_reply reply = http_raw(port, text);
    free(text);
    return reply;
}

struct http_reply http_get(int port, const char *path)
{
    return http_ask(port, "GET", path, "");
}

void http_free(struct http_reply *reply)
{
    free(reply->data);
    memset(reply, 0, sizeof *reply);
}

int http_open_stream(int port, const char *path, char *start, size_t size)
{
    int fd = http_connect(port);
    char *text = fw_strdup_printf("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    assert_non_null(text);
    http_send(fd, text, strlen(text));
    free(text);
    assert_int_equal(http_read(fd, start, size), size);
    return fd;
}
