#include "storage/s3_answer.h"

#include "util/text.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MINUTE_S = 60, HOUR_S = 3600, DAY_S = 86400, MAX_MESSAGE_BYTES = 240 };
// S3 refuses requests that are 15 minutes off.
static const int64_t MAX_CLOCK_OFF_S = 900;

// The XML

// The content of the first element NAME (without children) in what is left of TEXT; NULL if none.
static const char *element(const char *text, const char *name, size_t *length)
{
    size_t name_length = strlen(name);

    for (const char *at = strchr(text, '<'); at != NULL; at = strchr(at + 1, '<')) {
        const char *end = at + 1 + name_length;
        if (strncmp(at + 1, name, name_length) != 0 || strchr("> \t\r\n", *end) == NULL)
            continue;
        end = strchr(at, '>');
        if (end == NULL || end[-1] == '/')
            return NULL;
        *length = strcspn(end + 1, "<");
        return end[1 + *length] == '<' ? end + 1 : NULL;
    }
    return NULL;
}

// Writes what the reference at AT ("&lt;", "&#39;") stands for and returns its length; 0 when it is
// none that we know. Characters above ASCII are rare in messages and come as UTF-8 themselves.
static size_t decode_reference(const char *at, size_t length, char *out)
{
    static const struct {
        const char *name;
        char character;
    } named[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&apos;", '\''}};
    char *end = NULL;
    long number;

    for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
        size_t size = strlen(named[i].name);
        if (size <= length && strncmp(at, named[i].name, size) == 0) {
            *out = named[i].character;
            return size;
        }
    }
    if (length < 4 || strncmp(at, "&#", 2) != 0)
        return 0;
    number = at[2] == 'x' ? strtol(at + 3, &end, 16) : strtol(at + 2, &end, 10);
    if (*end != ';' || number < 1 || number > 126)
        return 0;
    *out = (char)number;
    return (size_t)(end + 1 - at);
}

// One line: control characters become spaces, those at both ends go.
static void copy_content(const char *content, size_t length, char *out, size_t size)
{
    size_t used = 0;

    for (size_t i = 0; i < length && used + 1 < size;) {
        char character = content[i];
        size_t taken = character == '&' ? decode_reference(content + i, length - i, &character) : 1;
        bool is_blank = (unsigned char)character <= 0x20 || character == 0x7f;
        if (!is_blank || used > 0)
            out[used++] = is_blank ? ' ' : character;
        i += taken > 0 ? taken : 1;
    }
    while (used > 0 && out[used - 1] == ' ')
        used--;
    out[used] = '\0';
}

static void take(const char *text, const char *name, char *out, size_t size)
{
    size_t length = 0;
    const char *content = element(text, name, &length);

    if (content != NULL)
        copy_content(content, length, out, size);
}

void fw_s3_answer_parse(struct fw_s3_answer *answer, const char *body, size_t length)
{
    char *text = malloc(length + 1);

    if (text == NULL)
        return; // the status alone tells enough
    memcpy(text, body, length);
    text[length] = '\0';
    take(text, "Code", answer->code, sizeof(answer->code));
    take(text, "Message", answer->message, sizeof(answer->message));
    take(text, "Region", answer->region, sizeof(answer->region));
    free(text);
}

// The sentences

// What a code means ("Error Responses", Amazon S3 API Reference; those with XMinio are MinIO's).
struct meaning {
    const char *code; // NULL: it is the status that tells
    int status;
    const char *what, *advice;
};

static const struct meaning meanings[] = {
    {"NoSuchBucket", FW_EAUTH, "there is no such bucket", "create it, or correct s3.bucket"},
    {"InvalidBucketName", FW_EAUTH, "the server takes no such name for a bucket",
     "correct s3.bucket"},
    {"AccessDenied", FW_EAUTH, "access is denied",
     "give the access key the right s3:PutObject there"},
    {"AllAccessDisabled", FW_EAUTH, "the bucket is closed", "ask its owner"},
    {"AccountProblem", FW_EAUTH, "there is a problem with the account", "ask the provider"},
    {"NotSignedUp", FW_EAUTH, "the account has no S3", "sign it up"},
    {"InvalidAccessKeyId", FW_EAUTH, "the access key is not known", "correct s3.access_key"},
    {"SignatureDoesNotMatch", FW_EAUTH, "the signature does not match",
     "correct s3.secret_key, or let the proxy in between pass the Host header on unchanged"},
    {"ExpiredToken", FW_EAUTH, "the session token has expired", "give a new s3.session_token"},
    {"InvalidToken", FW_EAUTH, "the session token is not valid", "correct s3.session_token"},
    {"InvalidTokenId", FW_EAUTH, "the session token is not valid", "correct s3.session_token"},
    {"TokenRefreshRequired", FW_EAUTH, "the session token is not valid any more",
     "give a new s3.session_token"},
    {"QuotaExceeded", FW_EAUTH, "its quota is used up", "raise it, or remove old objects"},
    {"XMinioAdminBucketQuotaExceeded", FW_EAUTH, "its quota is used up",
     "raise it, or remove old objects"},
    {"InvalidRequest", FW_EAUTH, "the server does not want it in this way", "its message says how"},
    {"InvalidArgument", FW_EAUTH, "the server does not want it in this way",
     "its message says how"},
    {"NotImplemented", FW_EAUTH, "the server can't take objects in this way",
     "use one that speaks S3 with Signature Version 4"},
    {"EntityTooLarge", FW_EREJECTED, "the picture is too large",
     "allow larger objects, or let the camera send smaller pictures"},
    {"KeyTooLongError", FW_EREJECTED, "the picture's key is too long",
     "shorten s3.prefix or the camera's id"},
    {"BadDigest", FW_EIO, "the picture was damaged on its way", "it is sent again"},
    {"XAmzContentSHA256Mismatch", FW_EIO, "the picture was damaged on its way", "it is sent again"},
    {"IncompleteBody", FW_EIO, "the picture was cut off on its way", "it is sent again"},
    {"RequestTimeout", FW_EIO, "the picture came too slowly", "it is sent again"},
    {"SlowDown", FW_EIO, "too many requests", "it is asked again later"},
    {"XMinioStorageFull", FW_EIO, "the server's disks are full", "make room there"},
};

// What a status means where the code says nothing.
static struct meaning meaning_of_status(long status, bool has_code)
{
    struct meaning again = {NULL, FW_EIO, "the server can't take it now",
                            "it is asked again later"};
    struct meaning rejected = {NULL, FW_EREJECTED, "the server does not take this picture",
                               "its log says why"};
    // Without a code it is a proxy, or a server at the wrong port: S3 tells its reasons.
    struct meaning foreign = {NULL, FW_EAUTH, "what answers is no S3 server",
                              "check s3.endpoint_url (http or https, the port) and what stands in "
                              "between"};
    struct meaning refused = {NULL, FW_EAUTH, "the server refuses us",
                              "check the keys, their rights, and s3.endpoint_url"};

    switch (status) {
    case 408:
    case 409:
    case 425:
    case 429:
        return again;
    case 401:
    case 403:
        return refused;
    case 404:
    case 405:
        if (has_code)
            return refused;
        refused.what = "nothing there takes objects";
        refused.advice = "check s3.endpoint_url, s3.bucket and s3.path_style";
        return refused;
    case 413:
        return rejected; // from a proxy, too
    case 407:
        refused.what = "the proxy refuses us";
        refused.advice = "check its user name and password";
        return refused;
    case 501:
        refused.what = "the server can't take objects in this way";
        refused.advice = "use one that speaks S3 with Signature Version 4";
        return refused;
    default:
        if (status < 400 || status >= 500)
            return again;
        return has_code ? rejected : foreign;
    }
}

static struct meaning meaning_of(const struct fw_s3_answer *answer)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
        if (strcmp(answer->code, meanings[i].code) == 0)
            return meanings[i];
    return meaning_of_status(answer->status, answer->code[0] != '\0');
}

static bool is_about_region(const struct fw_s3_answer *answer)
{
    static const char *const codes[] = {"PermanentRedirect", "TemporaryRedirect",
                                        "AuthorizationHeaderMalformed", "InvalidRegion",
                                        "IllegalLocationConstraintException"};

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (strcmp(answer->code, codes[i]) == 0)
            return true;
    return answer->status >= 300 && answer->status < 400;
}

static bool is_about_clock(const struct fw_s3_answer *answer)
{
    return strcmp(answer->code, "RequestTimeTooSkewed") == 0 ||
           strcmp(answer->code, "RequestExpired") == 0 ||
           (answer->status == 403 && llabs(answer->clock_off_s) > MAX_CLOCK_OFF_S);
}

// "2 h 5 min"
static void append_span(struct fw_text *text, int64_t seconds)
{
    if (seconds >= 2 * (int64_t)DAY_S)
        fw_text_appendf(text, "%lld days", (long long)(seconds / DAY_S));
    else if (seconds >= HOUR_S)
        fw_text_appendf(text, "%lld h %lld min", (long long)(seconds / HOUR_S),
                        (long long)(seconds % HOUR_S / MINUTE_S));
    else if (seconds >= MINUTE_S)
        fw_text_appendf(text, "%lld min", (long long)(seconds / MINUTE_S));
    else
        fw_text_appendf(text, "%lld s", (long long)seconds);
}

static void explain_clock(struct fw_text *text, int64_t off_s)
{
    fw_text_append(text, "the clock here is ");
    if (off_s == 0)
        fw_text_append(text, "wrong");
    else
        append_span(text, llabs(off_s));
    if (off_s != 0)
        fw_text_append(text, off_s > 0 ? " behind the server's" : " ahead of the server's");
}

static void explain_region(struct fw_text *text, const struct fw_s3_answer *answer,
                           const struct fw_s3_place *place)
{
    if (answer->region[0] != '\0' && strcmp(answer->region, place->region) != 0)
        fw_text_appendf(text, "it is in the region '%s', not in '%s'", answer->region,
                        place->region);
    else
        fw_text_appendf(text, "it is not to be reached there with the region '%s'", place->region);
}

// Whether the server's own sentence says more than ours.
static bool is_message_telling(const struct meaning *meaning)
{
    static const char *const codes[] = {"AccessDenied", "InvalidRequest", "InvalidArgument"};

    for (size_t i = 0; meaning->code != NULL && i < sizeof(codes) / sizeof(codes[0]); i++)
        if (strcmp(meaning->code, codes[i]) == 0)
            return true;
    return meaning->code == NULL;
}

static void append_source(struct fw_text *text, const struct fw_s3_answer *answer, bool has_message)
{
    fw_text_append(text, " (");
    if (answer->code[0] != '\0')
        fw_text_appendf(text, "%s, ", answer->code);
    fw_text_appendf(text, "HTTP %ld", answer->status);
    if (has_message && answer->message[0] != '\0') {
        struct fw_text message = FW_TEXT_INIT;
        fw_text_append_visible(&message, answer->message);
        fw_text_appendf(text, ": %.*s", MAX_MESSAGE_BYTES, fw_text_get(&message));
        fw_text_free(&message);
    }
    fw_text_append(text, ")");
}

int fw_s3_answer_explain(const struct fw_s3_answer *answer, const struct fw_s3_place *place,
                         struct fw_error *error)
{
    struct meaning meaning = meaning_of(answer);
    struct fw_text text = FW_TEXT_INIT;
    int status;

    if (is_about_clock(answer)) {
        meaning = (struct meaning){
            .code = answer->code, .status = FW_EAUTH, .advice = "set this machine's clock (NTP)"};
        explain_clock(&text, answer->clock_off_s);
    } else if (is_about_region(answer)) {
        // Without the right region the server's own sentence is the best there is.
        meaning = (struct meaning){.code = answer->region[0] != '\0' ? answer->code : NULL,
                                   .status = FW_EAUTH,
                                   .advice = "correct s3.region or s3.endpoint_url"};
        explain_region(&text, answer, place);
    } else {
        fw_text_append(&text, meaning.what);
    }
    append_source(&text, answer, is_message_telling(&meaning));
    status = fw_fail(error, meaning.status, "S3 bucket '%s' at %s: %s; %s", place->bucket,
                     place->host, fw_text_get(&text), meaning.advice);
    fw_text_free(&text);
    return status;
}
