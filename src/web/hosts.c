#include "web/hosts.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NAME_SIZE 64 // longer than any name or address that is allowed

// Splits "name:port", "[v6]:port", "name" and "[v6]"; *PORT is empty where there is none.
static bool split_port(const char *text, char name[NAME_SIZE], bool *is_v6, const char **port)
{
    const char *end;
    const char *rest;
    *is_v6 = text[0] == '[';
    if (*is_v6) {
        text++;
        end = strchr(text, ']');
        if (!end)
            return false;
        rest = end + 1;
    } else {
        end = text + strcspn(text, ":");
        rest = end;
    }
    size_t length = (size_t)(end - text);
    if (length == 0 || length >= NAME_SIZE)
        return false;
    memcpy(name, text, length);
    name[length] = '\0';
    if (*rest != '\0' && *rest != ':')
        return false;
    *port = *rest == ':' ? rest + 1 : rest;
    return *rest == '\0' || **port != '\0';
}

static bool parse_port(const char *text, uint16_t *port)
{
    unsigned value = 0;
    size_t length = strlen(text);
    if (length < 1 || length > 5)
        return false;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return false;
        value = value * 10 + (unsigned)(*text - '0');
    }
    if (value > UINT16_MAX)
        return false;
    *port = (uint16_t)value;
    return true;
}

static bool parse_name(const char *name, bool is_v6, uint16_t port, struct fw_web_address *address)
{
    memset(address, 0, sizeof *address);
    if (is_v6) {
        address->length = sizeof address->socket.v6;
        address->socket.v6.sin6_family = AF_INET6;
        address->socket.v6.sin6_port = htons(port);
        return inet_pton(AF_INET6, name, &address->socket.v6.sin6_addr) == 1;
    }
    address->length = sizeof address->socket.v4;
    address->socket.v4.sin_family = AF_INET;
    address->socket.v4.sin_port = htons(port);
    if (strcasecmp(name, "localhost") == 0)
        name = "127.0.0.1";
    return inet_pton(AF_INET, name, &address->socket.v4.sin_addr) == 1;
}

static bool is_loopback(const struct fw_web_address *address)
{
    if (address->socket.any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&address->socket.v6.sin6_addr);
    return ntohl(address->socket.v4.sin_addr.s_addr) >> 24 == 127;
}

int fw_web_address_parse(const char *listen, struct fw_web_address *address, struct fw_error *error)
{
    char name[NAME_SIZE];
    bool is_v6;
    const char *port_text;
    uint16_t port;
    if (!split_port(listen, name, &is_v6, &port_text) || !parse_port(port_text, &port) ||
        !parse_name(name, is_v6, port, address))
        return fw_fail(error, FW_EINVAL,
                       "web.listen \"%.100s\" is not an address with a port; "
                       "write it as \"127.0.0.1:8080\" or \"[::1]:8080\"",
                       listen);
    if (!is_loopback(address))
        return fw_fail(error, FW_EINVAL,
                       "web.listen \"%.100s\" can be reached from other machines, and the page has "
                       "no log-in; listen on \"127.0.0.1:%u\" and let others in through "
                       "an SSH tunnel or a proxy that asks for a password",
                       listen, (unsigned)port);
    return FW_OK;
}

bool fw_web_host_is_allowed(const char *host)
{
    char name[NAME_SIZE];
    bool is_v6;
    const char *port_text;
    uint16_t port = 0;
    struct fw_web_address address;
    if (!split_port(host, name, &is_v6, &port_text))
        return false;
    if (*port_text != '\0' && !parse_port(port_text, &port))
        return false;
    return parse_name(name, is_v6, port, &address) && is_loopback(&address);
}
