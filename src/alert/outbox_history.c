// The history as JSON.
#include "alert/outbox_file.h"
#include "alert/outbox_internal.h"
#include "util/clock.h"
#include "util/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct page {
    struct fw_text text;
    int limit, count;
    char last_id[64];
    bool has_more;
};

static void append_string(struct fw_text *text, const char *string)
{
    if (string == NULL) {
        fw_text_append(text, "null");
        return;
    }
    fw_text_append(text, "\"");
    fw_text_append_json(text, string);
    fw_text_append(text, "\"");
}

static void append_fate(struct fw_text *text, const struct fw_outbox_fate *fate)
{
    char time[FW_UTC_TEXT_SIZE];

    fw_text_append(text, "{\"sink\":");
    append_string(text, fate->sink);
    if (fate->reason == NULL)
        fw_text_appendf(text, ",\"state\":\"%s\"", fate->state);
    fw_text_append(text, ",\"at\":");
    if (fate->at_utc_us != 0)
        fw_utc_format(fate->at_utc_us, time);
    append_string(text, fate->at_utc_us != 0 ? time : NULL);
    if (fate->reason != NULL) {
        fw_text_append(text, ",\"reason\":");
        append_string(text, fate->reason);
    }
    fw_text_append(text, "}");
}

static void append_fates(struct fw_text *text, const struct fw_outbox_row *row, bool rejections)
{
    bool is_first = true;

    for (size_t i = 0; i < row->fate_count; i++) {
        if ((row->fates[i].reason != NULL) != rejections)
            continue;
        fw_text_append(text, is_first ? "" : ",");
        append_fate(text, &row->fates[i]);
        is_first = false;
    }
}

static int append_row(void *opaque, const struct fw_outbox_row *row)
{
    struct page *page = opaque;

    if (page->count == page->limit) {
        page->has_more = true;
        return FW_EEND;
    }
    snprintf(page->last_id, sizeof(page->last_id), "%s", row->id);
    if (row->json_length < 2 || row->json[row->json_length - 1] != '}')
        return FW_OK; // damaged
    fw_text_append(&page->text, page->count > 0 ? "," : "");
    fw_text_append_n(&page->text, row->json, row->json_length - 1);
    fw_text_appendf(&page->text, ",\"delivery\":{\"state\":\"%s\",\"records\":[", row->state);
    append_fates(&page->text, row, false);
    fw_text_append(&page->text, "],\"rejections\":[");
    append_fates(&page->text, row, true);
    fw_text_append(&page->text, "]}}");
    page->count++;
    return page->text.failed ? FW_ENOMEM : FW_OK;
}

char *fw_outbox_history(struct fw_outbox *outbox, const struct fw_outbox_query *query,
                        struct fw_error *error)
{
    struct page page = {.text = FW_TEXT_INIT, .limit = query->limit};
    struct fw_outbox_query all = *query;
    struct fw_outbox_file *file = NULL;
    int status;
    char *json = NULL;

    if (query->limit < 1 || query->limit > 1000) {
        (void)fw_fail(error, FW_EINVAL, "the limit has to be between 1 and 1000");
        return NULL;
    }
    all.limit = 0;
    status = fw_outbox_file_open(&file, outbox->path, true, error);
    if (status != FW_OK)
        return NULL;
    fw_text_append(&page.text, "{\"events\":[");
    status = fw_outbox_file_each(file, &all, false, append_row, &page, error);
    fw_outbox_file_close(file);
    fw_text_append(&page.text, "],\"next\":");
    append_string(&page.text, page.has_more ? page.last_id : NULL);
    fw_text_append(&page.text, "}");
    if (status == FW_OK || status == FW_EEND)
        json = fw_text_steal(&page.text);
    if (json == NULL && (status == FW_OK || status == FW_EEND || status == FW_ENOMEM))
        (void)fw_fail(error, FW_ENOMEM, "no memory for the history");
    fw_text_free(&page.text);
    return json;
}
