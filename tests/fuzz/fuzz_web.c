// Paths, hosts, listen addresses and limits, as any client may send them.
#include "web/hosts.h"
#include "web/route.h"
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_argument(const struct fw_web_route *route)
{
    const char *argument = route->argument;
    if (!memchr(argument, '\0', sizeof route->argument))
        abort();
    if ((route->kind == FW_WEB_ROUTE_LIVE || route->kind == FW_WEB_ROUTE_CAMERA_SNAPSHOT) &&
        (*argument == '\0' || strchr(argument, '/')))
        abort();
    if (route->kind != FW_WEB_ROUTE_STORED)
        return;
    size_t length = strlen(argument);
    if (length == 0 || argument[0] == '/' || strcmp(argument, "..") == 0 ||
        strncmp(argument, "../", 3) == 0 || strstr(argument, "/../") ||
        (length >= 3 && strcmp(argument + length - 3, "/..") == 0))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fw_web_route route;
    struct fw_web_address address;
    int limit = 0;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    fw_web_route_find(text, &route);
    check_argument(&route);
    if (fw_web_limit_parse(text, &limit) && (limit < 1 || limit > FW_WEB_EVENTS_MAX))
        abort();
    if (fw_web_address_parse(text, &address, NULL) == 0 && !fw_web_host_is_allowed(text))
        abort();
    free(text);
    return 0;
}
