#ifndef FW_TESTS_BROKER_TESTS_H
#define FW_TESTS_BROKER_TESTS_H

// clang-format off
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
// clang-format on

#include "alert/sink.h"
#include "broker_peer.h"

// A scripted broker and a sink that delivers to it, with a time limit of 300 ms.
struct broker_fixture {
    struct broker_peer peer;
    struct fw_secrets *secrets;
    struct fw_url *url;
    struct fw_resolver *resolver;
    struct fw_sink *sink;
    struct fw_error error; // of the latest call
};

// FORMAT makes the URL from the port. OPTIONS holds what is not standard; its URL is ours.
void broker_open(struct broker_fixture *f, const char *format, struct fw_sink_options options,
                 const struct broker_script *scripts, int count);
void broker_close(struct broker_fixture *f);
// Delivers COUNT small messages of CAMERAS (a letter each).
int broker_deliver(struct broker_fixture *f, const char *cameras, int *results,
                   struct fw_cancel *cancel);
// What fw_sink_open() says of OPTIONS with URL.
int broker_try_open(const char *url, struct fw_sink_options options, struct fw_error *error);
// Delivers to a silent broker until another thread says stop, and checks how soon that was.
void broker_check_cancel(struct broker_fixture *f);

int run_routing_tests(void);
int run_sink_redis_tests(void);
int run_sink_mqtt_tests(void);
int run_sink_rabbitmq_tests(void);

#endif
