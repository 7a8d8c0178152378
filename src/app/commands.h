// The subcommands. Each takes its own arguments, argv[0] being its name, and returns the exit code.
#ifndef FW_APP_COMMANDS_H
#define FW_APP_COMMANDS_H

#include <stdio.h>

// DESIGN's exit codes.
enum fw_exit { FW_EXIT_OK = 0, FW_EXIT_FAILED = 1, FW_EXIT_USAGE = 2, FW_EXIT_CONFIG = 78 };

int fw_command_run(int argc, char **argv);
int fw_command_check(int argc, char **argv);
int fw_command_detect(int argc, char **argv);
int fw_command_bench(int argc, char **argv);
int fw_command_probe(int argc, char **argv);
int fw_command_models(int argc, char **argv);
int fw_command_outbox(int argc, char **argv);
int fw_command_version(int argc, char **argv);

#endif
