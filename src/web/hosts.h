// Which addresses the server may listen on, and which names a request may call it by.
#ifndef FW_WEB_HOSTS_H
#define FW_WEB_HOSTS_H

#include "util/error.h"
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

// A listen address. Plain data; LENGTH is that of the address family in use.
struct fw_web_address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } socket;
    socklen_t length;
};

// Reads "127.0.0.1:8080", "[::1]:8080" or "localhost:8080" (which is 127.0.0.1). FW_OK, or
// FW_EINVAL for what is no address with a port and for addresses other than loopback. Any thread.
int fw_web_address_parse(const char *listen, struct fw_web_address *address,
                         struct fw_error *error);

// True if HOST, the value of a Host header, is localhost or a loopback address, with or without a
// port. Any other name may have been pointed at us by somebody else (DNS rebinding). Any thread.
bool fw_web_host_is_allowed(const char *host);

#endif
