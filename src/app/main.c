// The entry: picks the subcommand.
#include "app/commands.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct command {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
};

static int help(int argc, char **argv);

static const struct command commands[] = {
    {"run", "watch the cameras of a configuration: the daemon", fw_command_run},
    {"check", "say what is wrong with a configuration, and what it would do", fw_command_check},
    {"detect", "find faces in pictures, folders or a video", fw_command_detect},
    {"probe", "say what a camera address offers, and what is wrong with it", fw_command_probe},
    {"bench", "measure how fast faces are found on this machine", fw_command_bench},
    {"models", "list, fetch and verify the detector's model files", fw_command_models},
    {"outbox", "list, retry, export or remove the events of a worker's outbox", fw_command_outbox},
    {"version", "print the versions of the program and of its libraries", fw_command_version},
    {"help", "show this text, or the help of a command", help},
};

static const struct command *find(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

static void print_usage(FILE *stream)
{
    fputs("Usage: faceworker COMMAND [OPTION]...\n"
          "\n"
          "Watches cameras, finds faces, publishes the picture and sends alerts.\n"
          "\n",
          stream);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(stream, "  %-8s  %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "faceworker COMMAND --help tells about a command's options.\n"
          "\n"
          "Exit status: 0 done, 1 failed, 2 wrong usage, 78 wrong configuration.\n"
          "\n"
          "Example:\n"
          "  faceworker check -c faceworker.json && faceworker run -c faceworker.json\n",
          stream);
}

static int run(const struct command *command, int argc, char **argv)
{
    // getopt_long() begins its messages with argv[0].
    char name[32];
    snprintf(name, sizeof(name), "faceworker %s", command->name);
    argv[0] = name;
    int code = command->run(argc, argv);
    // What was printed may reach its file only now.
    if ((fflush(stdout) == 0 && !ferror(stdout)) || code != FW_EXIT_OK)
        return code;
    fprintf(stderr, "%s: can't print; is the disk full?\n", name);
    return FW_EXIT_FAILED;
}

// Takes the places of standard streams that the caller closed, so that no camera and no file of
// alerts gets the number of one and is written into. The modes are wrong on purpose: who prints
// shall see it fail.
static bool fill_closed_streams(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_RDONLY};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        bool is_closed = fcntl(fd, F_GETFD) < 0 && errno == EBADF;
        if (is_closed && open("/dev/null", modes[fd]) != fd)
            return false;
    }
    return true;
}

static int unknown(const char *name)
{
    fprintf(stderr, "faceworker: there is no command '%s'; faceworker help lists them\n", name);
    return FW_EXIT_USAGE;
}

static int help(int argc, char **argv)
{
    if (argc < 2 || argv[1][0] == '-') {
        print_usage(stdout);
        return FW_EXIT_OK;
    }
    const struct command *command = find(argv[1]);
    if (command == NULL)
        return unknown(argv[1]);
    if (command->run == help) {
        print_usage(stdout);
        return FW_EXIT_OK;
    }
    char option[] = "--help";
    char *arguments[] = {argv[0], option, NULL};
    return run(command, 2, arguments);
}

int main(int argc, char **argv)
{
    if (!fill_closed_streams())
        return FW_EXIT_FAILED;
    if (argc < 2) {
        print_usage(stderr);
        return FW_EXIT_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        name = "help";
    else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        name = "version";
    const struct command *command = find(name);
    if (command == NULL)
        return unknown(name);
    return run(command, argc - 1, argv + 1);
}
