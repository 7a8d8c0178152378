#include "played_pool.h"
#include <stdlib.h>

struct fw_pool_client {
    struct fw_pool *pool;
    struct fw_pool_client_options options;
};

struct fw_pool_client *fw_pool_client_add(struct fw_pool *pool,
                                          const struct fw_pool_client_options *options)
{
    struct fw_pool_client *client = calloc(1, sizeof(*client));

    if (client)
        *client = (struct fw_pool_client){pool, *options};
    return client;
}

void fw_pool_submit(struct fw_pool_client *client, struct fw_frame *frame)
{
    client->options.done(client->options.opaque, frame, &client->pool->faces, FW_OK, NULL);
}

bool fw_pool_client_is_busy(struct fw_pool_client *client)
{
    (void)client;
    return false;
}

void fw_pool_client_remove(struct fw_pool_client *client)
{
    free(client);
}

struct fw_pool_stats fw_pool_client_get_stats(struct fw_pool_client *client)
{
    (void)client;
    return (struct fw_pool_stats){0};
}
