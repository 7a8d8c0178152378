// `faceworker outbox`: what waits, what was delivered, what nobody wanted.
#include "alert/outbox_file.h"
#include "app/command_util.h"
#include "app/commands.h"
#include "util/clock.h"
#include "util/text.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "Usage: faceworker outbox list [OPTION]...\n"
    "       faceworker outbox show [OPTION]... ID...\n"
    "       faceworker outbox retry [OPTION]... [ID]...\n"
    "       faceworker outbox export [OPTION]...\n"
    "       faceworker outbox purge [OPTION]... ID... | --state STATE\n"
    "\n"
    "Looks into the outbox of a worker, also while it runs. list shows events, newest first. show\n"
    "tells everything about single ones. retry lets dead letters (the named ones, else all that\n"
    "the options choose) be sent again. export prints events as CloudEvents, oldest first, one\n"
    "JSON object a line. purge removes events for good; those of faces still in view stay.\n"
    "A running worker notices retry and purge within two seconds.\n"
    "\n"
    "  -c, --config FILE   the configuration; its worker.state_dir has the outbox\n"
    "      --file FILE     the outbox itself\n"
    "      --state STATE   waiting, delivered, dead (rejected by all that might take it) or "
    "expired\n"
    "      --camera ID     events of this camera\n"
    "      --sink NAME     events for this sink\n"
    "      --since TIME    not older: 2026-01-31T20:00:00Z (UTC), or an age as 90s, 30m, 2h, 7d\n"
    "      --limit N       list: so many (default 50; 0: all)\n"
    "  -h, --help          this text\n"
    "\n"
    "Exit status: 0 done, 1 failed or an ID is unknown, 2 wrong usage, 78 wrong configuration.\n"
    "\n"
    "Examples:\n"
    "  faceworker outbox list --state dead\n"
    "  faceworker outbox export --file /var/lib/faceworker/outbox.db --since 7d > events.jsonl\n";

struct outbox_command {
    const char *config_path, *file_path;
    struct fw_command_context context;
    struct fw_config *config;
    char *default_path;
    struct fw_outbox_query query;
    struct fw_outbox_file *file;
    bool has_limit;
    int shown;
};

static int fail(const struct outbox_command *command, const struct fw_error *error)
{
    char *message = fw_strdup_printf("faceworker outbox: %s\n", error->message);
    if (message != NULL)
        fw_command_print(&command->context, stderr, message);
    free(message);
    return error->code == FW_EINVAL ? FW_EXIT_USAGE : FW_EXIT_FAILED;
}

// What is printed

static const char *short_type(const char *type)
{
    return fw_starts_with(type, "faceworker.") ? type + strlen("faceworker.") : type;
}

static void append_fate(struct fw_text *text, const struct fw_outbox_fate *fate)
{
    char time[FW_UTC_TEXT_SIZE] = "";
    if (fate->at_utc_us != 0)
        fw_utc_format(fate->at_utc_us, time);
    fw_text_append_visible(text, fate->sink != NULL ? fate->sink : "any sink");
    fw_text_appendf(text, ": %s%s%s", fate->state, *time != '\0' ? " " : "", time);
    if (fate->reason != NULL && *fate->reason != '\0') {
        fw_text_append(text, ", ");
        fw_text_append_visible(text, fate->reason);
    }
    fw_text_append(text, "\n");
}

// The latest reason in few words, for a list.
static const char *latest_reason(const struct fw_outbox_row *row)
{
    const char *reason = "";
    for (size_t i = 0; i < row->fate_count; i++)
        if (row->fates[i].reason != NULL)
            reason = row->fates[i].reason;
    return reason;
}

static int print_text(struct outbox_command *command, struct fw_text *text)
{
    int status = text->failed ? FW_ENOMEM : FW_OK;
    if (status == FW_OK)
        fw_command_print(&command->context, stdout, fw_text_get(text));
    fw_text_free(text);
    return status;
}

static int list_row(void *opaque, const struct fw_outbox_row *row)
{
    struct outbox_command *command = opaque;
    struct fw_text text = FW_TEXT_INIT;
    char time[FW_UTC_TEXT_SIZE];
    if (command->shown++ == 0)
        printf("%-24s  %-9s  %-36s  %-16s  %s\n", "time", "state", "id", "type", "camera, reason");
    fw_utc_format(row->time_utc_us, time);
    fw_text_appendf(&text, "%s  %-9s  %-36s  %-16s  ", time, row->state, row->id,
                    short_type(row->type));
    fw_text_append_visible(&text, row->camera_id);
    if (*latest_reason(row) != '\0') {
        fw_text_append(&text, "  ");
        fw_text_append_visible(&text, latest_reason(row));
    }
    fw_text_append(&text, "\n");
    return print_text(command, &text);
}

// The event in a form for people; as it is where it is damaged.
static void append_event(struct fw_text *text, const struct fw_outbox_row *row)
{
    json_t *root = json_loadb(row->json, row->json_length, 0, NULL);
    char *indented = root != NULL ? json_dumps(root, JSON_INDENT(2) | JSON_ENSURE_ASCII) : NULL;
    if (indented != NULL)
        fw_text_append(text, indented);
    else
        fw_text_append_visible(text, row->json);
    fw_text_append(text, "\n");
    free(indented);
    json_decref(root);
}

static int show_row(void *opaque, const struct fw_outbox_row *row)
{
    struct outbox_command *command = opaque;
    struct fw_text text = FW_TEXT_INIT;
    char posted[FW_UTC_TEXT_SIZE];
    fw_utc_format(row->posted_utc_us, posted);
    fw_text_appendf(&text, "%s%s\n  state   %s\n  posted  %s\n", command->shown++ > 0 ? "\n" : "",
                    row->id, row->state, posted);
    for (size_t i = 0; i < row->fate_count; i++) {
        fw_text_append(&text, "  ");
        append_fate(&text, &row->fates[i]);
    }
    append_event(&text, row);
    return print_text(command, &text);
}

static int export_row(void *opaque, const struct fw_outbox_row *row)
{
    struct outbox_command *command = opaque;
    command->shown++;
    if (fwrite(row->json, 1, row->json_length, stdout) != row->json_length ||
        fputc('\n', stdout) == EOF)
        return FW_EIO;
    return FW_OK;
}

// The verbs

static int each(struct outbox_command *command, bool oldest_first,
                int (*visit)(void *opaque, const struct fw_outbox_row *row))
{
    struct fw_error error = {0};
    int status =
        fw_outbox_file_each(command->file, &command->query, oldest_first, visit, command, &error);
    if (status == FW_OK)
        return FW_EXIT_OK;
    if (error.message[0] == '\0')
        fw_fail(&error, status, "%s", fw_status_text(status));
    return fail(command, &error);
}

static int list(struct outbox_command *command)
{
    if (!command->has_limit)
        command->query.limit = 50;
    int exit_code = each(command, false, list_row);
    if (exit_code == FW_EXIT_OK && command->shown == 0)
        puts("nothing");
    return exit_code;
}

static int show(struct outbox_command *command)
{
    int exit_code = each(command, true, show_row);
    if (exit_code != FW_EXIT_OK || (size_t)command->shown == command->query.id_count)
        return exit_code;
    fprintf(stderr, "faceworker outbox: %zu of the ids are not there\n",
            command->query.id_count - (size_t)command->shown);
    return FW_EXIT_FAILED;
}

static int export(struct outbox_command *command)
{
    return each(command, true, export_row);
}

static int retry(struct outbox_command *command)
{
    struct fw_error error = {0};
    uint64_t count = 0;
    if (fw_outbox_file_retry(command->file, &command->query, &count, &error) != FW_OK)
        return fail(command, &error);
    printf("%llu dead letters wait again\n", (unsigned long long)count);
    return count < command->query.id_count ? FW_EXIT_FAILED : FW_EXIT_OK;
}

static int purge(struct outbox_command *command)
{
    struct fw_error error = {0};
    uint64_t count = 0;
    if (fw_outbox_file_purge(command->file, &command->query, &count, &error) != FW_OK)
        return fail(command, &error);
    printf("%llu events removed\n", (unsigned long long)count);
    return count < command->query.id_count ? FW_EXIT_FAILED : FW_EXIT_OK;
}

struct verb {
    const char *name;
    int (*run)(struct outbox_command *command);
    bool writes, takes_ids, needs_ids, needs_choice;
};

static const struct verb verbs[] = {
    {.name = "list", .run = list},
    {.name = "show", .run = show, .takes_ids = true, .needs_ids = true},
    {.name = "retry", .run = retry, .takes_ids = true, .writes = true},
    {.name = "export", .run = export},
    {.name = "purge", .run = purge, .takes_ids = true, .writes = true, .needs_choice = true},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

// Arguments

static bool parse_age(const char *text, int64_t *utc_us)
{
    static const char units[] = "smhd";
    static const int64_t seconds[] = {1, 60, 3600, 86400};
    char *end;
    long number = strtol(text, &end, 10);
    const char *unit = *end != '\0' ? strchr(units, *end) : NULL;
    if (end == text || number < 0 || number > 1000000 || unit == NULL || end[1] != '\0')
        return false;
    *utc_us = fw_utc_us() - number * seconds[unit - units] * FW_US_PER_S;
    return true;
}

static bool parse_since(struct outbox_command *command, const char *text)
{
    if (text == NULL || fw_utc_parse(text, &command->query.since_utc_us) ||
        parse_age(text, &command->query.since_utc_us))
        return true;
    fprintf(stderr,
            "faceworker outbox: --since takes a time as 2026-01-31T20:00:00Z or 2026-01-31, "
            "or an age as 90s, 30m, 2h, 7d\n");
    return false;
}

static int open_command(struct outbox_command *command, bool writes)
{
    struct fw_error error = {0};
    if (!fw_command_open(&command->context))
        return FW_EXIT_FAILED;
    if (command->file_path == NULL) {
        int exit_code = fw_command_load_config(&command->context, command->config_path, false,
                                               &command->config);
        if (exit_code != FW_EXIT_OK)
            return exit_code;
        command->default_path = fw_strdup_printf("%s/outbox.db", command->config->worker.state_dir);
        command->file_path = command->default_path;
    }
    if (command->file_path == NULL) {
        fputs("faceworker outbox: out of memory\n", stderr);
        return FW_EXIT_FAILED;
    }
    if (fw_outbox_file_open(&command->file, command->file_path, !writes, &error) != FW_OK)
        return fail(command, &error);
    return FW_EXIT_OK;
}

static void close_command(struct outbox_command *command)
{
    fw_outbox_file_close(command->file);
    fw_config_destroy(command->config);
    free(command->default_path);
    fw_command_close(&command->context);
}

static int perform(struct outbox_command *command, const char *name, char **ids, int count)
{
    const struct verb *verb = find_verb(name);
    if (verb == NULL) {
        fprintf(stderr, "faceworker outbox: '%s' is none of list, show, retry, export, purge\n",
                name);
        return FW_EXIT_USAGE;
    }
    if ((count > 0 && !verb->takes_ids) || (count == 0 && verb->needs_ids)) {
        fprintf(stderr, "faceworker outbox: %s %s\n", name,
                verb->needs_ids ? "needs the ids of events" : "takes no ids");
        return FW_EXIT_USAGE;
    }
    if (verb->needs_choice && count == 0 && command->query.state == NULL) {
        fprintf(stderr, "faceworker outbox: %s removes for good; give ids, or --state\n", name);
        return FW_EXIT_USAGE;
    }
    command->query.ids = (const char *const *)ids;
    command->query.id_count = (size_t)count;
    int exit_code = open_command(command, verb->writes);
    if (exit_code == FW_EXIT_OK)
        exit_code = verb->run(command);
    close_command(command);
    return exit_code;
}

int fw_command_outbox(int argc, char **argv)
{
    struct outbox_command command = {0};
    const char *since = NULL;
    int limit = -1, exit_code;
    const struct fw_command_option options[] = {
        {.name = "config", .letter = 'c', .text = &command.config_path},
        {.name = "file", .text = &command.file_path},
        {.name = "state", .text = &command.query.state},
        {.name = "camera", .text = &command.query.camera_id},
        {.name = "sink", .text = &command.query.sink},
        {.name = "since", .text = &since},
        {.name = "limit", .whole = &limit, .minimum = 0, .maximum = 1e9},
        {0},
    };
    if (!fw_command_options(options, help, argc, argv, &exit_code))
        return exit_code;
    if (!parse_since(&command, since))
        return FW_EXIT_USAGE;
    command.has_limit = limit >= 0;
    command.query.limit = limit >= 0 ? limit : 0;
    if (optind >= argc) {
        fputs("faceworker outbox: what to do is missing: list, show, retry, export or purge\n",
              stderr);
        return FW_EXIT_USAGE;
    }
    return perform(&command, argv[optind], argv + optind + 1, argc - optind - 1);
}
