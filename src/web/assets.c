#include "web/assets.h"

#include <string.h>

const struct fw_web_asset *fw_web_asset_find(const char *path)
{
    for (const struct fw_web_asset *asset = fw_web_assets; asset->path; asset++)
        if (strcmp(asset->path, path) == 0)
            return asset;
    return NULL;
}
