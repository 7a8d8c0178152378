#include "app/config_loader.h"
#include "util/secret.h"
#include "util/text.h"
#include <stdlib.h>
#include <string.h>

static bool is_behind(const struct fw_diagnostic *a, const struct fw_diagnostic *b)
{
    return a->line > b->line || (a->line == b->line && a->column > b->column);
}

int fw_diagnostics_add(struct fw_diagnostics *diagnostics, struct fw_diagnostic item)
{
    if (item.message == NULL)
        return FW_ENOMEM;
    if (diagnostics->count == diagnostics->capacity) {
        size_t capacity = diagnostics->capacity == 0 ? 16 : diagnostics->capacity * 2;
        struct fw_diagnostic *items = realloc(diagnostics->items, capacity * sizeof(*items));
        if (items == NULL) {
            free(item.message);
            return FW_ENOMEM;
        }
        diagnostics->items = items;
        diagnostics->capacity = capacity;
    }
    size_t at = diagnostics->count++;
    for (; at > 0 && is_behind(&diagnostics->items[at - 1], &item); at--)
        diagnostics->items[at] = diagnostics->items[at - 1];
    diagnostics->items[at] = item;
    diagnostics->error_count += item.severity == FW_SEVERITY_ERROR;
    return FW_OK;
}

void fw_diagnostics_free(struct fw_diagnostics *diagnostics)
{
    for (size_t i = 0; i < diagnostics->count; i++)
        free(diagnostics->items[i].message);
    free(diagnostics->items);
    *diagnostics = (struct fw_diagnostics){0};
}

void fw_diagnostics_print(const struct fw_diagnostics *diagnostics, const char *file,
                          const struct fw_secrets *secrets, FILE *stream)
{
    for (size_t i = 0; i < diagnostics->count; i++) {
        const struct fw_diagnostic *item = &diagnostics->items[i];
        struct fw_text line = FW_TEXT_INIT, clean = FW_TEXT_INIT;
        fw_text_append(&line, file);
        if (item->line > 0)
            fw_text_appendf(&line, ":%d:%d", item->line, item->column);
        fw_text_append(&line, item->severity == FW_SEVERITY_WARNING ? ": warning: " : ": ");
        fw_text_append(&line, item->message);
        fw_secrets_redact(secrets, fw_text_get(&line), &clean);
        if (line.failed || clean.failed)
            fprintf(stream, "%s: out of memory while reporting an error\n", file);
        else
            fprintf(stream, "%s\n", fw_text_get(&clean));
        fw_text_free(&line);
        fw_text_free(&clean);
    }
}
