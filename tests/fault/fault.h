// Makes the calls that can run out of memory or threads fail, one after the other, and looks
// whether the rooms say so and clean up.
//
// The linker leads our own objects' calls (--wrap) to fault.c; what happens inside libraries is
// left alone. A scenario is tried once to count the calls, then with each of them failing (once
// alone, and once with all that follow), or with as many of them, evenly spread, as it allows.
// FAULT_EVERY=1 in the environment tries each call of every scenario.
#ifndef FW_TEST_FAULT_H
#define FW_TEST_FAULT_H

#include <stdbool.h>

struct fault_scenario {
    const char *name;
    // Makes, uses and closes something; the status of what failed, else FW_OK.
    int (*run)(void *opaque);
    void *opaque;
    // Some of the calls are not needed for success (a cache, a log line, a thread that retries).
    bool may_survive;
    // The failures make other statuses than FW_ENOMEM and FW_EAGAIN.
    bool has_other_codes;
    int most_tries; // a mode; 0: no limit
};

// Fails the running cmocka test when the scenario does not do what it must. Under
// LeakSanitizer leaks fail it, too.
void fault_try(const struct fault_scenario *scenario);

// For calls that give a pointer.
int fault_status_of(const void *pointer);

// Whether a call has failed in this run of the scenario.
bool fault_has_struck(void);

// No failures from here on to the next fault_resume(): for a scenario's own preparations.
void fault_pause(void);
void fault_resume(void);

#endif
