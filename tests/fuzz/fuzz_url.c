// URLs and the redaction of secrets: no crash, and no password in anything that is shown.
#include "util/secret.h"
#include "util/text.h"
#include "util/url.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

// After redaction no TEXT holds VALUE any more, unless VALUE is part of the mask itself.
static void check_redacted(const struct fw_secrets *secrets, const char *text, const char *value)
{
    struct fw_text out = FW_TEXT_INIT;
    fw_secrets_redact(secrets, text, &out);
    require(!out.failed);
    bool is_found = strlen(value) >= 3 && strstr(fw_text_get(&out), value);
    require(!is_found || strchr(value, '*'));
    fw_text_free(&out);
}

static void check_url(const struct fw_url *url, struct fw_secrets *secrets, const char *text)
{
    require(url->scheme && url->host && url->path && url->display);
    const char *password = fw_secret_reveal(url->password);
    check_redacted(secrets, url->display, password);
    check_redacted(secrets, text, password);
    struct fw_secret *whole = fw_url_reveal(url, NULL, secrets);
    require(whole != NULL);
    check_redacted(secrets, fw_secret_reveal(whole), password);

    // What is revealed is understood as the same URL.
    struct fw_url *again = NULL;
    if (strcmp(url->scheme, "file") != 0) {
        require(fw_url_parse(&again, fw_secret_reveal(whole), NULL, NULL, NULL, NULL) == 0);
        require(strcmp(again->scheme, url->scheme) == 0);
        require(strcmp(fw_secret_reveal(again->password), password) == 0 || strchr(url->path, '@'));
    }
    fw_url_destroy(again);
    fw_secret_destroy(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    struct fw_secrets *secrets = fw_secrets_create();
    require(secrets != NULL);
    struct fw_url *url = NULL;
    struct fw_error error = {0};
    if (fw_url_parse(&url, text, NULL, NULL, secrets, &error) == FW_OK)
        check_url(url, secrets, text);
    else
        require(url == NULL && error.message[0]);
    fw_url_destroy(url);

    // Half of the text as a secret, looked for in all of it.
    char *value = fw_strdup(text);
    require(value != NULL);
    value[strlen(value) / 2] = '\0';
    require(fw_secrets_add(secrets, value) == FW_OK);
    check_redacted(secrets, text, value);
    free(value);
    fw_secrets_destroy(secrets);
    free(text);
    return 0;
}
