// The resolver, with a getaddrinfo() of our own in place of the system's.
#include "cmocka_includes.h"
#include "util/cancel.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/resolve.h"
#include "util/thread.h"
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct fw_cancel *gate; // "stuck" hosts wait until it is triggered
static atomic_int calls, leaving;
static _Atomic int64_t clock_shift_us;

int64_t __real_fw_monotonic_us(void);
int64_t __wrap_fw_monotonic_us(void);
int64_t __wrap_fw_monotonic_us(void)
{
    return __real_fw_monotonic_us() + clock_shift_us;
}

// One block of memory each, so that freeing is simple.
struct answer {
    struct addrinfo info;
    struct sockaddr_in6 address;
};

static struct addrinfo *answer(int family, const char *text, struct addrinfo *next)
{
    struct answer *made = calloc(1, sizeof *made);
    if (!made)
        abort();
    made->info.ai_family = family;
    made->info.ai_addr = (struct sockaddr *)&made->address;
    made->info.ai_next = next;
    if (family == AF_INET6) {
        inet_pton(AF_INET6, text, &made->address.sin6_addr);
    } else {
        struct sockaddr_in v4 = {.sin_family = AF_INET};
        inet_pton(AF_INET, text, &v4.sin_addr);
        memcpy(&made->address, &v4, sizeof v4);
    }
    return &made->info;
}

int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    (void)service;
    (void)hints;
    atomic_fetch_add(&calls, 1);
    if (strncmp(node, "stuck", 5) == 0) {
        fw_cancel_wait(gate, -1);
        atomic_fetch_add(&leaving, 1);
    }
    if (strcmp(node, "unknown") == 0)
        return EAI_NONAME;
    if (strcmp(node, "silent") == 0)
        return EAI_AGAIN;
    if (strcmp(node, "memory") == 0)
        return EAI_MEMORY;
    if (strcmp(node, "system") == 0)
        return EAI_SYSTEM;
    if (strcmp(node, "v6") == 0)
        *found = answer(AF_INET6, "2001:db8::7", NULL);
    else if (strcmp(node, "odd") == 0)
        *found = answer(AF_UNIX, "0.0.0.0", NULL);
    else
        *found = answer(AF_INET6, "2001:db8::1", answer(AF_INET, "192.0.2.1", NULL));
    return 0;
}

void __wrap_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list)
{
    while (list) {
        struct addrinfo *next = list->ai_next;
        free(list);
        list = next;
    }
}

static int set_up(void **state)
{
    gate = fw_cancel_create();
    atomic_store(&calls, 0);
    atomic_store(&leaving, 0);
    *state = fw_resolver_create(NULL);
    return *state && gate ? 0 : -1;
}

static int tear_down(void **state)
{
    clock_shift_us = 0; // the condition variables go by the real clock
    fw_resolver_destroy(*state);
    fw_cancel_destroy(gate);
    return 0;
}

static void numeric_hosts_need_no_look_up(void **state)
{
    char address[FW_ADDRESS_SIZE];
    static const char *const hosts[] = {"10.0.0.5", "::1", "2001:db8::5", "fe80::1%eth0"};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        assert_int_equal(fw_resolve(*state, hosts[i], NULL, address, NULL), FW_OK);
        assert_string_equal(address, hosts[i]);
    }
    assert_int_equal(atomic_load(&calls), 0);
}

static void names_are_looked_up_once(void **state)
{
    char address[FW_ADDRESS_SIZE];
    struct fw_deadline deadline = {0};
    fw_deadline_set(&deadline, 60000);
    assert_int_equal(fw_resolve(*state, "camera.lan", &deadline, address, NULL), FW_OK);
    assert_string_equal(address, "192.0.2.1"); // IPv4 first, though it came second
    assert_int_equal(fw_resolve(*state, "CAMERA.lan", &deadline, address, NULL), FW_OK);
    assert_string_equal(address, "192.0.2.1");
    assert_int_equal(atomic_load(&calls), 1);
    assert_int_equal(fw_resolve(*state, "v6", &deadline, address, NULL), FW_OK);
    assert_string_equal(address, "2001:db8::7");
    assert_int_equal(atomic_load(&calls), 2);
}

static void the_cache_forgets_after_a_minute(void **state)
{
    char address[FW_ADDRESS_SIZE];
    assert_int_equal(fw_resolve(*state, "camera.lan", NULL, address, NULL), FW_OK);
    clock_shift_us += 59 * FW_US_PER_S;
    assert_int_equal(fw_resolve(*state, "camera.lan", NULL, address, NULL), FW_OK);
    assert_int_equal(atomic_load(&calls), 1);
    clock_shift_us += 2 * FW_US_PER_S;
    assert_int_equal(fw_resolve(*state, "camera.lan", NULL, address, NULL), FW_OK);
    assert_int_equal(atomic_load(&calls), 2);
}

static void the_cache_is_bounded(void **state)
{
    char address[FW_ADDRESS_SIZE];
    for (int i = 0; i < 300; i++) {
        char host[16] = "host0000";
        host[5] = (char)('0' + i / 100);
        host[6] = (char)('0' + i / 10 % 10);
        host[7] = (char)('0' + i % 10);
        assert_int_equal(fw_resolve(*state, host, NULL, address, NULL), FW_OK);
    }
    assert_int_equal(fw_resolve(*state, "host0299", NULL, address, NULL), FW_OK);
    assert_int_equal(atomic_load(&calls), 300);
    assert_int_equal(fw_resolve(*state, "host0000", NULL, address, NULL), FW_OK);
    assert_int_equal(atomic_load(&calls), 301);
}

static void failures_have_their_codes(void **state)
{
    static const struct {
        const char *host;
        int status;
    } table[] = {
        {"unknown", FW_ENOENT}, {"silent", FW_ETIMEDOUT}, {"memory", FW_ENOMEM},
        {"system", FW_EIO},     {"odd", FW_ENOENT},
    };
    char address[FW_ADDRESS_SIZE];
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct fw_error error = {0};
        assert_int_equal(fw_resolve(*state, table[i].host, NULL, address, &error), table[i].status);
        assert_int_equal(error.code, table[i].status);
        assert_non_null(strstr(error.message, table[i].host));
        assert_non_null(strchr(error.message, ';'));
    }
    assert_int_equal(fw_resolve(*state, "unknown", NULL, address, NULL), FW_ENOENT);
    assert_int_equal(atomic_load(&calls), 6); // failures are not cached
    assert_int_equal(fw_resolve(*state, "", NULL, address, NULL), FW_EINVAL);
    assert_int_equal(fw_resolve(*state, NULL, NULL, address, NULL), FW_EINVAL);
}

static void callers_walk_away_from_a_stuck_look_up(void **state)
{
    char address[FW_ADDRESS_SIZE];
    struct fw_cancel *cancel = fw_cancel_create();
    struct fw_deadline deadline = {.cancel = cancel};
    struct fw_error error = {0};
    fw_deadline_set(&deadline, 50);
    int64_t began_us = fw_monotonic_us();
    assert_int_equal(fw_resolve(*state, "stuck1", &deadline, address, &error), FW_ETIMEDOUT);
    assert_true(fw_monotonic_us() - began_us >= 50000);
    assert_int_equal(deadline.interrupted, FW_ETIMEDOUT);
    assert_non_null(strstr(error.message, "stuck1"));
    // The other thread still serves.
    fw_deadline_set(&deadline, 60000);
    assert_int_equal(fw_resolve(*state, "camera.lan", &deadline, address, NULL), FW_OK);
    // Both are stuck: a third name waits for its deadline; numeric and cached hosts do not.
    fw_deadline_set(&deadline, 50);
    assert_int_equal(fw_resolve(*state, "stuck2", &deadline, address, NULL), FW_ETIMEDOUT);
    fw_deadline_set(&deadline, 50);
    assert_int_equal(fw_resolve(*state, "v6", &deadline, address, NULL), FW_ETIMEDOUT);
    assert_int_equal(fw_resolve(*state, "camera.lan", &deadline, address, NULL), FW_OK);
    assert_int_equal(atomic_load(&calls), 3);
    fw_cancel_trigger(cancel);
    assert_int_equal(fw_resolve(*state, "stuck1", &deadline, address, NULL), FW_ECANCELED);
    // What nobody waits for any more is not looked up later.
    fw_cancel_trigger(gate);
    struct fw_deadline fresh = {0};
    fw_deadline_set(&fresh, 60000);
    assert_int_equal(fw_resolve(*state, "last", &fresh, address, NULL), FW_OK);
    assert_int_equal(atomic_load(&calls), 4);
    fw_cancel_destroy(cancel);
}

struct asker {
    struct fw_resolver *resolver;
    atomic_int right;
};

static void ask(void *opaque)
{
    struct asker *asker = opaque;
    char address[FW_ADDRESS_SIZE];
    struct fw_deadline deadline = {0};
    fw_deadline_set(&deadline, 60000);
    if (fw_resolve(asker->resolver, "stuck", &deadline, address, NULL) == FW_OK &&
        strcmp(address, "192.0.2.1") == 0)
        atomic_fetch_add(&asker->right, 1);
}

static void one_look_up_serves_all_who_ask(void **state)
{
    struct asker asker = {.resolver = *state};
    struct fw_thread *threads[6];
    for (int i = 0; i < 6; i++)
        assert_int_equal(fw_thread_start(&threads[i], "ask", NULL, ask, &asker), FW_OK);
    struct timespec pause = {.tv_nsec = 50000000};
    nanosleep(&pause, NULL);
    fw_cancel_trigger(gate);
    for (int i = 0; i < 6; i++)
        assert_int_equal(fw_thread_join(threads[i], -1), FW_OK);
    assert_int_equal(atomic_load(&asker.right), 6);
    assert_int_equal(atomic_load(&calls), 1);
}

static void destroy_leaves_stuck_threads_behind(void **state)
{
    struct fw_resolver *resolver = fw_resolver_create(NULL);
    assert_non_null(resolver);
    char address[FW_ADDRESS_SIZE];
    struct fw_deadline deadline = {0};
    fw_deadline_set(&deadline, 20);
    assert_int_equal(fw_resolve(resolver, "stuck1", &deadline, address, NULL), FW_ETIMEDOUT);
    fw_deadline_set(&deadline, 20);
    assert_int_equal(fw_resolve(resolver, "stuck2", &deadline, address, NULL), FW_ETIMEDOUT);
    int64_t began_us = fw_monotonic_us();
    fw_resolver_destroy(resolver);
    int64_t took_us = fw_monotonic_us() - began_us;
    assert_true(took_us >= 190000 && took_us < 10 * FW_US_PER_S);
    // They end later, on memory that is still theirs; the sanitizers watch.
    assert_int_equal(atomic_load(&leaving), 0);
    fw_cancel_trigger(gate);
    const int64_t until_us = fw_monotonic_us() + 60 * FW_US_PER_S;
    struct timespec pause = {.tv_nsec = 5000000};
    while (atomic_load(&leaving) < 2 && fw_monotonic_us() < until_us)
        nanosleep(&pause, NULL);
    assert_int_equal(atomic_load(&leaving), 2);
    pause.tv_nsec = 100000000;
    nanosleep(&pause, NULL);
    fw_resolver_destroy(NULL);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numeric_hosts_need_no_look_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_are_looked_up_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_cache_forgets_after_a_minute, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_cache_is_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(failures_have_their_codes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(callers_walk_away_from_a_stuck_look_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_look_up_serves_all_who_ask, set_up, tear_down),
        cmocka_unit_test_setup_teardown(destroy_leaves_stuck_threads_behind, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("resolve", tests, NULL, NULL);
}
