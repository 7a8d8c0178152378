#include "alert/redis_reply.h"
#include "broker_tests.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOGIN "+OK\r\n*0\r\n" // MULTI and EXEC, tried when the connection is made
#define EXEC  "EXEC\r\n"

static const struct fw_sink_options redis = {.type = "redis"};

static void open_with(struct broker_fixture *f, const struct broker_script *scripts, int count)
{
    broker_open(f, "redis://:canary-pw@127.0.0.1:%d/2", redis, scripts, count);
}

// One message to a server that answers XADD with ANSWER.
static int status_for(const char *answer, char message[512])
{
    const struct broker_step steps[] = {
        {EXEC, "+OK\r\n+OK\r\n" LOGIN, 0}, {"XADD", answer, 0}, {NULL, NULL, 0}};
    const struct broker_script script = {steps, false};
    struct broker_fixture f;
    int status, result = FW_OK;

    open_with(&f, &script, 1);
    status = broker_deliver(&f, "a", &result, NULL);
    assert_int_equal(result, status);
    assert_null(strstr(f.error.message, "canary"));
    memcpy(message, f.error.message, sizeof(f.error.message));
    broker_close(&f);
    return status;
}

static void errors_tell_who_can_put_them_right(void **state)
{
    static const struct {
        const char *answer;
        int status;
        const char *said;
    } cases[] = {
        {"$3\r\n1-1\r\n", FW_OK, ""},
        {"-OOM command not allowed when used memory > 'maxmemory'.\r\n", FW_EIO, "OOM command"},
        {"-LOADING Redis is loading the dataset in memory\r\n", FW_EIO, "LOADING"},
        {"-READONLY You can't write against a read only replica.\r\n", FW_EIO, "READONLY"},
        {"-MISCONF Redis is configured to save RDB snapshots\r\n", FW_EIO, "MISCONF"},
        {"-BUSY Redis is busy running a script.\r\n", FW_EIO, "BUSY"},
        {"-ERR max number of clients reached\r\n", FW_EIO, "max number"},
        {"-NOAUTH Authentication required.\r\n", FW_EAUTH, "asks for a password"},
        {"-NOPERM this user has no permissions\r\n", FW_EAUTH, "+xadd"},
        {"-WRONGTYPE Operation against a key\r\n", FW_EAUTH, "routing_key"},
        {"-MOVED 3999 127.0.0.1:6381\r\n", FW_EAUTH, "cluster"},
        {"-ERR unknown command 'XADD', with args beginning with: 'canary'\r\n", FW_EAUTH, "5.0"},
        {"hello, this is no Redis\r\n", FW_EFORMAT, "the port"},
        {"$1000000\r\nxxx", FW_ETIMEDOUT, "timed out"},
        {"*1000000000\r\n", FW_EFORMAT, "the port"},
        {"*1\r\n*1\r\n$1\r\nx\r\n", FW_EFORMAT, "the port"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char message[512];
        assert_int_equal(status_for(cases[i].answer, message), cases[i].status);
        assert_non_null(strstr(message, cases[i].said));
    }
}

static void refused_logins_are_told(void **state)
{
    static const struct broker_step wrong[] = {
        {EXEC, "-WRONGPASS invalid username-password pair\r\n", 0}, {NULL, NULL, 0}};
    static const struct broker_step no_database[] = {
        {EXEC, "+OK\r\n-ERR DB index is out of range\r\n" LOGIN, 0}, {NULL, NULL, 0}};
    static const struct broker_step no_transactions[] = {
        {EXEC, "+OK\r\n+OK\r\n-NOPERM no permissions to run 'multi'\r\n", 0}, {NULL, NULL, 0}};
    static const struct broker_script scripts[] = {
        {wrong, false}, {no_database, false}, {no_transactions, false}};
    static const char *const said[] = {"username and password", "database", "+multi"};
    struct broker_fixture f;

    (void)state;
    open_with(&f, scripts, 3);
    for (int i = 0; i < 3; i++) {
        // Early, without an alert to deliver.
        assert_int_equal(fw_sink_idle(f.sink, NULL, &f.error), FW_EAUTH);
        assert_non_null(strstr(f.error.message, said[i]));
        assert_null(strstr(f.error.message, "canary"));
    }
    assert_int_equal(f.peer.connections, 3);
    broker_close(&f);
}

static void a_transaction_has_results_by_message(void **state)
{
    static const struct broker_step steps[] = {
        {EXEC, "+OK\r\n+OK\r\n" LOGIN, 0},
        {EXEC,
         "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n$3\r\n1-1\r\n-WRONGTYPE no stream\r\n$3\r\n"
         "1-2\r\n",
         0},
        {NULL, NULL, 0}};
    static const struct broker_script script = {steps, false};
    int results[3] = {0};
    struct broker_fixture f;

    (void)state;
    open_with(&f, &script, 1);
    assert_int_equal(broker_deliver(&f, "abc", results, NULL), FW_EAUTH);
    assert_int_equal(results[0], FW_OK);
    assert_int_equal(results[1], FW_EAUTH);
    assert_int_equal(results[2], FW_OK);
    broker_close(&f);
}

static void a_transaction_that_is_aborted_says_why(void **state)
{
    static const struct broker_step steps[] = {
        {EXEC, "+OK\r\n+OK\r\n" LOGIN, 0},
        {EXEC,
         "+OK\r\n+QUEUED\r\n-OOM command not allowed\r\n"
         "-EXECABORT Transaction discarded because of previous errors.\r\n",
         0},
        {EXEC,
         "+OK\r\n+QUEUED\r\n+QUEUED\r\n"
         "-EXECABORT Transaction discarded because of: MISCONF can't save\r\n",
         0},
        {EXEC, "+OK\r\n+QUEUED\r\n+QUEUED\r\n*1\r\n$3\r\n1-1\r\n", 0},
        {NULL, NULL, 0}};
    static const struct broker_script script = {steps, false};
    int results[2] = {0};
    struct broker_fixture f;

    (void)state;
    open_with(&f, &script, 1);
    assert_int_equal(broker_deliver(&f, "aa", results, NULL), FW_EIO);
    assert_non_null(strstr(f.error.message, "(OOM command"));
    assert_int_equal(results[0], FW_EIO);
    assert_int_equal(results[1], FW_EIO);
    assert_int_equal(broker_deliver(&f, "aa", results, NULL), FW_EIO);
    assert_non_null(strstr(f.error.message, "(MISCONF"));
    // Fewer answers than messages: nobody can say which is whose.
    assert_int_equal(broker_deliver(&f, "aa", results, NULL), FW_EFORMAT);
    assert_int_equal(results[0], FW_EFORMAT);
    assert_int_equal(f.peer.connections, 1);
    broker_close(&f);
}

static void answers_may_come_in_pieces(void **state)
{
    static const struct broker_step steps[] = {
        {EXEC, "+O", 0},  {NULL, "K\r", 0},     {NULL, "\n+OK\r\n" LOGIN, 0},
        {"XADD", "$", 0}, {NULL, "3\r\n1-", 0}, {NULL, "1\r\n", 0},
        {NULL, NULL, 0}};
    static const struct broker_script script = {steps, false};
    struct broker_fixture f;

    (void)state;
    open_with(&f, &script, 1);
    assert_int_equal(broker_deliver(&f, "a", NULL, NULL), FW_OK);
    broker_close(&f);
}

// Half open: the server is there and says nothing. Then it hangs up in the middle of an answer.
// Each time nothing counts as delivered, and a new connection is made.
static void silence_and_half_answers_end_the_connection(void **state)
{
    static const struct broker_step silent[] = {{EXEC, "+OK\r\n+OK\r\n" LOGIN, 0}, {NULL, NULL, 0}};
    static const struct broker_step half[] = {
        {EXEC, "+OK\r\n+OK\r\n" LOGIN, 0}, {"XADD", "$3\r\n1", 0}, {NULL, NULL, 0}};
    static const struct broker_step well[] = {
        {EXEC, "+OK\r\n+OK\r\n" LOGIN, 0}, {"XADD", "$3\r\n1-1\r\n", 0}, {NULL, NULL, 0}};
    static const struct broker_script scripts[] = {{silent, false}, {half, true}, {well, false}};
    struct broker_fixture f;
    int result = FW_OK;

    (void)state;
    open_with(&f, scripts, 3);
    assert_int_equal(broker_deliver(&f, "a", &result, NULL), FW_ETIMEDOUT);
    assert_int_equal(result, FW_ETIMEDOUT);
    assert_int_equal(broker_deliver(&f, "a", &result, NULL), FW_ECONNECT);
    assert_int_equal(result, FW_ECONNECT);
    assert_int_equal(broker_deliver(&f, "a", &result, NULL), FW_OK);
    assert_int_equal(f.peer.connections, 3);
    broker_close(&f);
}

static void a_connection_closed_while_idle_is_made_anew(void **state)
{
    static const struct broker_step steps[] = {{EXEC, "+OK\r\n+OK\r\n" LOGIN, 0}, {NULL, NULL, 0}};
    static const struct broker_script scripts[] = {{steps, true}, {steps, false}};
    struct broker_fixture f;

    (void)state;
    open_with(&f, scripts, 2);
    for (int i = 0; i < 200 && f.peer.connections < 2; i++)
        assert_int_equal(fw_sink_idle(f.sink, NULL, &f.error), FW_OK);
    assert_int_equal(f.peer.connections, 2);
    broker_close(&f);
}

static void a_stop_ends_the_wait(void **state)
{
    static const struct broker_step steps[] = {{EXEC, "+OK\r\n+OK\r\n" LOGIN, 0}, {NULL, NULL, 0}};
    static const struct broker_script script = {steps, false};
    struct broker_fixture f;

    (void)state;
    open_with(&f, &script, 1);
    broker_check_cancel(&f);
    broker_close(&f);
}

static void refuses_options_that_make_no_sense(void **state)
{
    struct fw_sink_options options = {.type = "redis", .routing_key = "faces"};
    struct fw_error error = {0};

    (void)state;
    assert_int_equal(broker_try_open("redis://h:1/3", options, &error), FW_OK);
    assert_int_equal(broker_try_open("rediss://h", options, &error), FW_OK);
    assert_int_equal(broker_try_open("http://h", options, &error), FW_EINVAL);
    assert_int_equal(broker_try_open("redis://h/three", options, &error), FW_EINVAL);
    assert_int_equal(broker_try_open("redis://h/-1", options, &error), FW_EINVAL);
    assert_int_equal(broker_try_open("redis://h/99999999999999999999", options, &error), FW_EINVAL);
    assert_int_equal(broker_try_open("redis://user@h", options, &error), FW_EINVAL);
    options.routing_key = "{nothing}";
    assert_int_equal(broker_try_open("redis://h", options, &error), FW_EINVAL);
    options.routing_key = "faces";
    options.timeout_ms = -1;
    assert_int_equal(broker_try_open("redis://h", options, &error), FW_EINVAL);
}

static void the_reader_keeps_its_bounds(void **state)
{
    struct fw_redis_reader *reader = fw_redis_reader_create();
    char *block = calloc(1, FW_REDIS_MAX_REPLY_BYTES);
    struct fw_redis_reply reply = {0};

    (void)state;
    assert_non_null(reader);
    assert_non_null(block);
    memset(block, 'x', FW_REDIS_MAX_REPLY_BYTES);
    assert_int_equal(fw_redis_reader_feed(reader, "+a\r\n:12\r\n$-1\r\n+", 15), FW_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(fw_redis_reader_next(reader, &reply), FW_OK);
    assert_int_equal(fw_redis_reader_next(reader, &reply), FW_EAGAIN);
    assert_int_equal(fw_redis_reader_feed(reader, block, FW_REDIS_MAX_REPLY_BYTES - 3), FW_OK);
    assert_int_equal(fw_redis_reader_feed(reader, "\r\n", 2), FW_OK);
    assert_int_equal(fw_redis_reader_next(reader, &reply), FW_OK);
    assert_int_equal(strlen(reply.text), sizeof(reply.text) - 1);
    assert_int_equal(fw_redis_reader_feed(reader, block, FW_REDIS_MAX_REPLY_BYTES), FW_OK);
    assert_int_equal(fw_redis_reader_feed(reader, block, 1), FW_EFORMAT);
    free(block);
    fw_redis_reader_destroy(reader);
}

int run_sink_redis_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_tell_who_can_put_them_right),
        cmocka_unit_test(refused_logins_are_told),
        cmocka_unit_test(a_transaction_has_results_by_message),
        cmocka_unit_test(a_transaction_that_is_aborted_says_why),
        cmocka_unit_test(answers_may_come_in_pieces),
        cmocka_unit_test(silence_and_half_answers_end_the_connection),
        cmocka_unit_test(a_connection_closed_while_idle_is_made_anew),
        cmocka_unit_test(a_stop_ends_the_wait),
        cmocka_unit_test(refuses_options_that_make_no_sense),
        cmocka_unit_test(the_reader_keeps_its_bounds),
    };

    return cmocka_run_group_tests_name("sink_redis", tests, NULL, NULL);
}
