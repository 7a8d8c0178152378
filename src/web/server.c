#include "web/server.h"

#include "util/clock.h"
#include "util/text.h"
#include "web/assets.h"
#include "web/hosts.h"
#include "web/route.h"
#include "web/web.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define IDLE_TIMEOUT_S       10u // against clients that connect and say nothing
#define REQUEST_MEMORY_BYTES ((size_t)32 * 1024)
#define STACK_BYTES          ((size_t)512 * 1024)
#define BACKLOG              64

static enum MHD_Result answer_ready(struct fw_web *web, struct MHD_Connection *connection)
{
    int is_ready = 0;
    char *json = web->source.ready_json(web->source.opaque, &is_ready);
    return fw_web_reply_malloced(web, connection,
                                 is_ready ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE,
                                 "application/json", json);
}

// Decoded values of an address's arguments.
struct arguments {
    char camera[FW_WEB_ARGUMENT_SIZE], type[FW_WEB_ARGUMENT_SIZE], state[FW_WEB_ARGUMENT_SIZE];
    char before[FW_WEB_ARGUMENT_SIZE], since[FW_WEB_ARGUMENT_SIZE], until[FW_WEB_ARGUMENT_SIZE];
    char without[FW_WEB_ARGUMENT_SIZE];
};

// The argument NAME decoded into VALUE; NULL where there is none. One too long is cut, and then
// matches nothing.
static const char *argument(struct MHD_Connection *connection, const char *name,
                            char value[FW_WEB_ARGUMENT_SIZE])
{
    const char *text = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
    if (!text)
        return NULL;
    snprintf(value, FW_WEB_ARGUMENT_SIZE, "%s", text);
    return fw_percent_decode(value);
}

static bool read_time(const char *text, int64_t *utc_us)
{
    return !text || fw_utc_parse(text, utc_us);
}

static enum MHD_Result answer_events(struct fw_web *web, struct MHD_Connection *connection)
{
    struct arguments values;
    struct fw_web_events_query query = {
        .camera_id = argument(connection, "camera", values.camera),
        .type = argument(connection, "type", values.type),
        .without_type = argument(connection, "without", values.without),
        .state = argument(connection, "state", values.state),
        .before_id = argument(connection, "before", values.before),
    };
    const char *limit = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "limit");
    if (!fw_web_limit_parse(limit, &query.limit))
        return fw_web_reply_error(web, connection, MHD_HTTP_BAD_REQUEST,
                                  "limit is not a number from 1 to 500; ask for "
                                  "/api/v1/events?limit=50");
    if (!fw_web_state_is_known(query.state))
        return fw_web_reply_error(web, connection, MHD_HTTP_BAD_REQUEST,
                                  "state is none of waiting, delivered and dead");
    if (!read_time(argument(connection, "since", values.since), &query.since_utc_us) ||
        !read_time(argument(connection, "until", values.until), &query.until_utc_us))
        return fw_web_reply_error(web, connection, MHD_HTTP_BAD_REQUEST,
                                  "since or until is no time; write 2026-01-31T23:59:59Z or "
                                  "2026-01-31");
    return fw_web_reply_malloced(web, connection, MHD_HTTP_OK, "application/json",
                                 web->source.events_json(web->source.opaque, &query));
}

static enum MHD_Result answer_asset(struct MHD_Connection *connection, const char *path)
{
    const struct fw_web_asset *asset = fw_web_asset_find(path);
    if (!asset)
        return MHD_NO;
    return fw_web_reply_bytes(connection, asset->content_type, "no-cache", asset->data,
                              asset->length);
}

static enum MHD_Result answer(struct fw_web *web, struct MHD_Connection *connection,
                              const char *method, const char *path,
                              const struct fw_web_route *route)
{
    switch (route->kind) {
    case FW_WEB_ROUTE_ASSET:
        return answer_asset(connection, path);
    case FW_WEB_ROUTE_HEALTH:
        return fw_web_reply_text(web, connection, MHD_HTTP_OK, "text/plain; charset=utf-8", "ok\n");
    case FW_WEB_ROUTE_READY:
        return answer_ready(web, connection);
    case FW_WEB_ROUTE_METRICS:
        return fw_web_reply_malloced(web, connection, MHD_HTTP_OK,
                                     "text/plain; version=0.0.4; charset=utf-8",
                                     web->source.metrics_text(web->source.opaque));
    case FW_WEB_ROUTE_CAMERAS:
        return fw_web_reply_malloced(web, connection, MHD_HTTP_OK, "application/json",
                                     web->source.cameras_json(web->source.opaque));
    case FW_WEB_ROUTE_EVENTS:
        return answer_events(web, connection);
    case FW_WEB_ROUTE_LIVE:
        return fw_web_live(web, connection, route->argument,
                           strcmp(method, MHD_HTTP_METHOD_HEAD) == 0);
    case FW_WEB_ROUTE_CAMERA_SNAPSHOT:
        return fw_web_camera_snapshot(web, connection, route->argument);
    case FW_WEB_ROUTE_STORED:
        return fw_web_stored(web, connection, route->argument);
    case FW_WEB_ROUTE_NONE:
        break;
    }
    return fw_web_reply_error(web, connection, MHD_HTTP_NOT_FOUND,
                              "nothing is found at this address; the page lies at /");
}

// The Host headers of a request: how many, and whether each is ours.
struct host_check {
    int count;
    bool is_allowed;
};

static enum MHD_Result check_host(void *opaque, enum MHD_ValueKind kind, const char *name,
                                  const char *value)
{
    struct host_check *check = opaque;
    (void)kind;
    if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0) {
        check->count++;
        check->is_allowed = value && fw_web_host_is_allowed(value);
    }
    return MHD_YES;
}

static bool header_is(struct MHD_Connection *connection, const char *name, const char *expected)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    return value && strcasecmp(value, expected) == 0;
}

// True if another site asks for more than to be shown a page of ours as such.
static bool is_foreign(struct MHD_Connection *connection, const char *path,
                       const struct fw_web_route *route)
{
    if (!header_is(connection, "Sec-Fetch-Site", "cross-site"))
        return false;
    bool is_page = strcmp(path, "/") == 0 || route->kind == FW_WEB_ROUTE_STORED;
    return !is_page || !header_is(connection, "Sec-Fetch-Mode", "navigate") ||
           !header_is(connection, "Sec-Fetch-Dest", "document");
}

static bool has_body(struct MHD_Connection *connection)
{
    const char *length =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return (length && strcmp(length, "0") != 0) ||
           MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
                                       MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL;
}

// Refuses what can be refused by its headers. True: *RESULT is what the handler returns.
static bool refuse(struct fw_web *web, struct MHD_Connection *connection, const char *method,
                   enum MHD_Result *result)
{
    struct host_check host = {0};
    MHD_get_connection_values(connection, MHD_HEADER_KIND, check_host, &host);
    if (host.count != 1)
        *result =
            fw_web_reply_text(web, connection, MHD_HTTP_BAD_REQUEST, "text/plain; charset=utf-8",
                              "The request has no Host header, or several; send one.\n");
    else if (!host.is_allowed)
        *result = fw_web_reply_text(
            web, connection, MHD_HTTP_FORBIDDEN, "text/plain; charset=utf-8",
            "This server answers to localhost and loopback addresses only; open it as "
            "http://localhost/ with its port, or have your proxy send the header "
            "\"Host: localhost\".\n");
    else if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        *result = fw_web_reply_error(web, connection, MHD_HTTP_METHOD_NOT_ALLOWED,
                                     "this server only reads; use GET or HEAD");
    else if (has_body(connection))
        *result = fw_web_reply_error(web, connection, MHD_HTTP_CONTENT_TOO_LARGE,
                                     "requests with a body are not read; send none");
    else
        return false;
    return true;
}

// libmicrohttpd's MHD_AccessHandlerCallback: once with the headers, once more when all is read.
static enum MHD_Result handle(void *opaque, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size_bytes, void **request)
{
    struct fw_web *web = opaque;
    struct fw_web_route route;
    enum MHD_Result result = MHD_NO;
    (void)version;
    (void)upload;
    (void)upload_size_bytes;
    if (!*request) {
        *request = web; // only to know the second call
        return refuse(web, connection, method, &result) ? result : MHD_YES;
    }
    fw_web_route_find(path, &route);
    if (is_foreign(connection, path, &route))
        return fw_web_reply_error(web, connection, MHD_HTTP_FORBIDDEN,
                                  "another site asked for this; open it from the page itself");
    return answer(web, connection, method, path, &route);
}

// Paths stay encoded until the router has split them.
static size_t keep_encoded(void *opaque, struct MHD_Connection *connection, char *text)
{
    (void)opaque;
    (void)connection;
    return strlen(text);
}

static void log_line(void *opaque, const char *format, va_list list)
    __attribute__((format(printf, 2, 0)));
static void log_line(void *opaque, const char *format, va_list list)
{
    struct fw_web *web = opaque;
    char line[256];
    vsnprintf(line, sizeof line, format, list);
    line[strcspn(line, "\n")] = '\0';
    fw_log_debug(&web->log, "HTTP server: %s", line);
}

// The listening socket, or a negative status.
static int open_socket(const char *listen_text, const struct fw_web_address *address,
                       struct fw_error *error)
{
    int on = 1;
    int family = address->socket.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return fw_fail(error, FW_EIO, "cannot make a socket for web.listen \"%.100s\": %s",
                       listen_text, strerror(errno));
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (family != AF_INET6 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
        bind(fd, &address->socket.any, address->length) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int number = errno;
    close(fd);
    if (number == EADDRINUSE)
        return fw_fail(error, FW_ECONNECT,
                       "web.listen \"%.100s\" is taken by another program (is faceworker running "
                       "already?); stop it, or choose another port",
                       listen_text);
    return fw_fail(error, FW_EIO,
                   "cannot listen on web.listen \"%.100s\": %s; choose another address or port",
                   listen_text, strerror(number));
}

static int port_of(int fd)
{
    struct fw_web_address bound;
    memset(&bound, 0, sizeof bound);
    bound.length = sizeof bound.socket;
    if (getsockname(fd, &bound.socket.any, &bound.length) != 0)
        return FW_EIO;
    return ntohs(bound.socket.any.sa_family == AF_INET6 ? bound.socket.v6.sin6_port
                                                        : bound.socket.v4.sin_port);
}

// Starts libmicrohttpd on FD. Signals are for the daemon's main thread, not for the server's.
static bool start_daemon(struct fw_web *web, int fd, bool is_v6)
{
    sigset_t all, before;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION |
                     MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG | (is_v6 ? MHD_USE_IPv6 : 0u);
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0)
        return false;
    web->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, handle, web, MHD_OPTION_EXTERNAL_LOGGER, log_line,
                         web, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)FW_WEB_MAX_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
                         IDLE_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT, REQUEST_MEMORY_BYTES,
                         MHD_OPTION_THREAD_STACK_SIZE, STACK_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
                         MHD_OPTION_UNESCAPE_CALLBACK, keep_encoded, NULL, MHD_OPTION_END);
    return pthread_sigmask(SIG_SETMASK, &before, NULL) == 0 && web->daemon;
}

int fw_web_start(struct fw_web **web, const struct fw_web_options *options, struct fw_error *error)
{
    struct fw_web_address address;
    int code = fw_web_address_parse(options->listen, &address, error);
    int fd;
    *web = NULL;
    if (code != FW_OK)
        return code;
    struct fw_web *server = calloc(1, sizeof *server);
    if (!server)
        return fw_fail(error, FW_ENOMEM, "memory is out while starting the web server");
    if (options->log)
        server->log = *options->log;
    server->source = *options->source;
    server->secrets = options->secrets;
    fd = open_socket(options->listen, &address, error);
    if (fd < 0) {
        code = fd;
        goto fail;
    }
    server->port = port_of(fd);
    // From here on FD is libmicrohttpd's; where it cannot start it may have closed it already, so
    // FD is left alone: the daemon ends without its page anyway.
    if (server->port < 0 || !start_daemon(server, fd, address.socket.any.sa_family == AF_INET6)) {
        code = fw_fail(error, FW_EAGAIN,
                       "the web server's thread cannot start; raise the limits of threads and of "
                       "open files (ulimit -u, ulimit -n)");
        goto fail;
    }
    fw_log_debug(&server->log, "web: listening on port %d of %s", server->port, options->listen);
    *web = server;
    return FW_OK;
fail:
    fw_web_stop(server);
    return code;
}

int fw_web_port(const struct fw_web *web)
{
    return web->port;
}

void fw_web_stop(struct fw_web *web)
{
    if (!web)
        return;
    atomic_store(&web->is_stopping, true);
    if (web->daemon)
        MHD_stop_daemon(web->daemon);
    free(web);
}
