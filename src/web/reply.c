#include "web/web.h"

#include "util/secret.h"
#include "util/text.h"
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name, *value;
} common_headers[] = {
    {"Content-Security-Policy", "default-src 'self'; object-src 'none'; base-uri 'none'; "
                                "form-action 'none'; frame-ancestors 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"X-Frame-Options", "DENY"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
};

enum MHD_Result fw_web_queue(struct MHD_Connection *connection, unsigned status,
                             struct MHD_Response *response, const char *content_type,
                             const char *cache_control)
{
    enum MHD_Result result = MHD_YES;
    if (!response)
        return MHD_NO;
    for (size_t i = 0; i < sizeof common_headers / sizeof common_headers[0]; i++)
        if (MHD_add_response_header(response, common_headers[i].name, common_headers[i].value) !=
            MHD_YES)
            result = MHD_NO;
    if (MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type) != MHD_YES ||
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, cache_control) != MHD_YES)
        result = MHD_NO;
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") != MHD_YES)
        result = MHD_NO;
    if (status == MHD_HTTP_SERVICE_UNAVAILABLE &&
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, "2") != MHD_YES)
        result = MHD_NO;
    // An answer without its security headers is worse than none: MHD_NO closes the connection.
    if (result == MHD_YES)
        result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result fw_web_reply_text(struct fw_web *web, struct MHD_Connection *connection,
                                  unsigned status, const char *content_type, const char *text)
{
    struct fw_text clean = FW_TEXT_INIT;
    bool failed = fw_secrets_redact(web->secrets, text, &clean) < 0;
    fw_text_append(&clean, "");
    failed = failed || clean.failed;
    size_t length = clean.length;
    char *data = fw_text_steal(&clean);
    if (failed || (!data && length > 0)) {
        free(data);
        return MHD_NO;
    }
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length, data, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(data);
    return fw_web_queue(connection, status, response, content_type, "no-store");
}

enum MHD_Result fw_web_reply_malloced(struct fw_web *web, struct MHD_Connection *connection,
                                      unsigned status, const char *content_type, char *text)
{
    enum MHD_Result result;
    if (text)
        result = fw_web_reply_text(web, connection, status, content_type, text);
    else
        result = fw_web_reply_error(web, connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                                    "the daemon is out of memory; try again");
    free(text);
    return result;
}

enum MHD_Result fw_web_reply_error(struct fw_web *web, struct MHD_Connection *connection,
                                   unsigned status, const char *sentence)
{
    struct fw_text json = FW_TEXT_INIT;
    fw_text_append(&json, "{\"error\":\"");
    fw_text_append_json(&json, sentence);
    fw_text_append(&json, "\"}\n");
    enum MHD_Result result = MHD_NO;
    if (!json.failed)
        result = fw_web_reply_text(web, connection, status, "application/json", fw_text_get(&json));
    fw_text_free(&json);
    return result;
}

enum MHD_Result fw_web_reply_bytes(struct MHD_Connection *connection, const char *content_type,
                                   const char *cache_control, const void *data, size_t length_bytes)
{
    void *copy = malloc(length_bytes > 0 ? length_bytes : 1);
    if (!copy)
        return MHD_NO;
    memcpy(copy, data, length_bytes);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length_bytes, copy, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(copy);
    return fw_web_queue(connection, MHD_HTTP_OK, response, content_type, cache_control);
}
