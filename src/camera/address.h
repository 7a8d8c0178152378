// From a URL to what libav opens; for this room alone.
#ifndef FW_CAMERA_ADDRESS_H
#define FW_CAMERA_ADDRESS_H

#include "util/error.h"
#include <stdbool.h>

struct AVDictionary;
struct fw_deadline;
struct fw_resolver;
struct fw_secret;
struct fw_secrets;
struct fw_url;

bool fw_address_is_path(const struct fw_url *url);   // a file or a device
bool fw_address_is_device(const struct fw_url *url); // /dev/...
bool fw_address_is_rtsp(const struct fw_url *url);   // rtsp or rtsps

// Resolves URL's host within DEADLINE, because libav's own look-up can't be interrupted, and gives
// the text to open: with the address in place of the name where the protocol does not need the
// name. *TEXT is the caller's. RESOLVER may be NULL: then nothing is resolved. FW_OK, FW_ENOENT,
// FW_ETIMEDOUT, FW_ECANCELED, FW_ENOMEM.
int fw_address_reveal(const struct fw_url *url, struct fw_resolver *resolver,
                      struct fw_secrets *secrets, struct fw_deadline *deadline,
                      struct fw_secret **text, struct fw_error *error);

// Adds what TLS needs to OPTIONS. FW_ENOTSUP when URL's peer would have to be verified and this
// libav can't: for RTSPS up to FFmpeg 7.
int fw_address_tls_options(const struct fw_url *url, bool verify, const void *rtsp_class,
                           struct AVDictionary **options, struct fw_error *error);

#endif
