// What several subcommands need.
#ifndef FW_APP_COMMAND_UTIL_H
#define FW_APP_COMMAND_UTIL_H

#include "app/config.h"
#include <getopt.h> // getopt_long() is the C library's: the standard knows no long options
#include <stdbool.h>

// What a command holds while it runs.
struct fw_command_context {
    struct fw_secrets *secrets;
    struct fw_logger *logger; // to standard error, warnings and errors
    struct fw_log log;
};

// False, with a message on standard error, when memory is out. Close it in either case.
bool fw_command_open(struct fw_command_context *context);
void fw_command_close(struct fw_command_context *context);

// Loads the configuration that OPTION (of -c, may be NULL) or the usual places name, and prints
// what is wrong with it on standard error. With IS_OPTIONAL it is no error that there is none: then
// *CONFIG is NULL. FW_EXIT_OK or FW_EXIT_CONFIG.
int fw_command_load_config(struct fw_command_context *context, const char *option, bool is_optional,
                           struct fw_config **config);

// Prints TEXT on STREAM through the filter of secrets.
void fw_command_print(const struct fw_command_context *context, FILE *stream, const char *text);

// The instruction set that $FACEWORKER_ISA names, else "auto".
const char *fw_command_isa(void);
// How many processor cores there are, 1 at least.
int fw_command_core_count(void);

// One long option of a command, `--NAME ARGUMENT` or `--NAME`. Exactly one of the pointers is set,
// and what was given goes there.
struct fw_command_option {
    const char *name;
    char letter; // `-c` besides `--config`; 0: none
    const char **text;
    double *number; // from MINIMUM to MAXIMUM
    int *whole;     // likewise, without a fraction
    bool *flag;     // takes no argument; becomes VALUE
    double minimum, maximum;
    bool value;
};

// Reads ARGV's options by OPTIONS, whose last row has no name; -h and --help print HELP. True: go
// on with the arguments from `optind`. False: the command is over with *EXIT_CODE, what was wrong
// is told.
bool fw_command_options(const struct fw_command_option *options, const char *help, int argc,
                        char **argv, int *exit_code);

#endif
