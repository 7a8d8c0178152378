// Any text as a configuration: nothing may crash, leak or stay without a reason.
#include "app/config.h"
#include "app/json_position.h"
#include "util/secret.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    // The first line is a pointer too, so that the walk sees text that is no JSON.
    char pointer[64] = "";
    size_t length = strcspn(text, "\n");
    memcpy(pointer, text, length < sizeof(pointer) ? length : sizeof(pointer) - 1);
    struct fw_json_place place;
    fw_json_find(text, pointer, FW_JSON_VALUE, &place);

    struct fw_secrets *secrets = fw_secrets_create();
    struct fw_diagnostics diagnostics = {0};
    struct fw_config *config = NULL;
    int status = fw_config_load_text(&config, "fuzz", text, secrets, &diagnostics);
    if ((status == FW_OK) != (config != NULL) ||
        (status == FW_EINVAL) != (diagnostics.error_count > 0))
        abort();
    fw_config_destroy(config);
    fw_diagnostics_free(&diagnostics);
    fw_secrets_destroy(secrets);
    free(text);
    return 0;
}
