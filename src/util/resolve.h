// Host names to addresses with a deadline: getaddrinfo(3) can't be interrupted, so it runs on
// threads of its own and a caller that waited long enough walks away from it.
#ifndef FW_UTIL_RESOLVE_H
#define FW_UTIL_RESOLVE_H

#include "util/error.h"
#include <stdint.h>

struct fw_deadline;
struct fw_log;
struct fw_resolver;

#define FW_ADDRESS_SIZE 46 // INET6_ADDRSTRLEN

// A resolver with two threads. LOG is borrowed.
struct fw_resolver *fw_resolver_create(const struct fw_log *log);
// Waits 200 ms at most for look-ups under way; threads stuck in the system's resolver are left
// behind with what they use. NULL is allowed.
void fw_resolver_destroy(struct fw_resolver *resolver);

// Writes the first address of HOST (IPv4 preferred, numeric hosts at once, 60 s of cache) into
// ADDRESS. FW_OK, FW_ENOENT (no such name), FW_ETIMEDOUT (of the deadline, or the name server does
// not answer), FW_ECANCELED, FW_EINVAL (no host), FW_EIO, FW_ENOMEM. Any thread.
int fw_resolve(struct fw_resolver *resolver, const char *host, struct fw_deadline *deadline,
               char address[FW_ADDRESS_SIZE], struct fw_error *error);

#endif
