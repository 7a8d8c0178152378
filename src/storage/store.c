#include "storage/store.h"
#include "util/text.h"
#include <stdlib.h>
#include <string.h>

enum { MAX_KEY_BYTES = 1024, MAX_PART_BYTES = 200, MAX_PARTS = 12 };

static const struct fw_store_backend *const backends[] = {&fw_store_dir, &fw_store_s3};

struct fw_store {
    const struct fw_store_backend *backend;
    void *state;
    char *public_base_url; // without a '/' at its end; NULL: the backend says it
};

static const struct fw_store_backend *backend_of(const char *name)
{
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++)
        if (name != NULL && strcmp(backends[i]->name, name) == 0)
            return backends[i];
    return NULL;
}

static int take_base_url(struct fw_store *store, const char *url)
{
    size_t length;

    if (url == NULL)
        return FW_OK;
    store->public_base_url = fw_strdup(url);
    if (store->public_base_url == NULL)
        return FW_ENOMEM;
    length = strlen(url);
    while (length > 0 && url[length - 1] == '/')
        store->public_base_url[--length] = '\0';
    return FW_OK;
}

int fw_store_open_backend(struct fw_store **store, const struct fw_store_backend *backend,
                          const struct fw_store_options *options, struct fw_error *error)
{
    struct fw_store *made = calloc(1, sizeof(*made));
    int status;

    *store = NULL;
    if (made == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory for the store of snapshots");
    made->backend = backend;
    if (take_base_url(made, options->public_base_url) != FW_OK)
        status = fw_fail(error, FW_ENOMEM, "no memory for the store of snapshots");
    else
        status = backend->open(&made->state, options, error);
    if (status != FW_OK) {
        fw_store_close(made);
        return status;
    }
    *store = made;
    return FW_OK;
}

int fw_store_open(struct fw_store **store, const struct fw_store_options *options,
                  struct fw_error *error)
{
    const struct fw_store_backend *backend = backend_of(options->backend);

    *store = NULL;
    if (backend == NULL)
        return fw_fail(error, FW_EINVAL, "there is no store '%s'; use 'dir' or 's3'",
                       options->backend != NULL ? options->backend : "");
    return fw_store_open_backend(store, backend, options, error);
}

void fw_store_close(struct fw_store *store)
{
    if (store == NULL)
        return;
    if (store->state != NULL)
        store->backend->close(store->state);
    free(store->public_base_url);
    free(store);
}

static bool is_good_part(const char *part, size_t length)
{
    return length > 0 && length <= MAX_PART_BYTES && !(length == 1 && part[0] == '.') &&
           !(length == 2 && part[0] == '.' && part[1] == '.') &&
           strncmp(part, ".faceworker-", strlen(".faceworker-")) != 0;
}

bool fw_store_is_key(const char *key)
{
    size_t parts = 0;

    if (strlen(key) > MAX_KEY_BYTES)
        return false;
    for (const char *at = key; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return false;
    for (;;) {
        size_t length = strcspn(key, "/");
        if (!is_good_part(key, length) || ++parts > MAX_PARTS)
            return false;
        if (key[length] == '\0')
            return true;
        key += length + 1;
    }
}

int fw_store_put(struct fw_store *store, const char *key, const uint8_t *data, size_t length,
                 const char *content_type, struct fw_cancel *cancel, struct fw_error *error)
{
    if (!fw_store_is_key(key))
        return fw_fail(error, FW_EINVAL,
                       "a snapshot's key is no clean relative path; check the camera's id for odd "
                       "characters");
    return store->backend->put(store->state, key, data, length, content_type, cancel, error);
}

void fw_store_sweep(struct fw_store *store)
{
    if (store->backend->sweep != NULL)
        store->backend->sweep(store->state);
}

char *fw_store_plain_url(const struct fw_store *store, const char *key)
{
    struct fw_text url = FW_TEXT_INIT;

    if (store->public_base_url == NULL)
        return store->backend->url(store->state, key);
    fw_text_append(&url, store->public_base_url);
    fw_text_append(&url, "/");
    fw_text_append_percent(&url, key, "/");
    return fw_text_steal(&url);
}

char *fw_store_url(const struct fw_store *store, const char *key)
{
    char *url = fw_store_plain_url(store, key);
    char *signed_url;

    if (url == NULL || store->backend->sign == NULL)
        return url;
    signed_url = store->backend->sign(store->state, url);
    free(url);
    return signed_url;
}

struct fw_tree *fw_store_tree(const struct fw_store *store)
{
    return store->backend->tree != NULL ? store->backend->tree(store->state) : NULL;
}
