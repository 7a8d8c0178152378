// The client's side of an AMQP 0-9-1 connection that publishes with confirms: bytes from the broker
// go in, bytes for it come out. No socket, no clock: the caller moves the bytes and tells the time,
// so that nothing here can block.
//
// librabbitmq writes and reads the methods. Its own connections are no use to us: they wait without
// looking at a cancel object, a blocked broker holds their sends up for ever, and it has no
// confirms (0.11).
//
// What was published is remembered by its id until the broker's answer has been looked at.
#ifndef FW_ALERT_AMQP_CLIENT_H
#define FW_ALERT_AMQP_CLIENT_H

#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fw_message;

#define FW_AMQP_MAX_PENDING 64
#define FW_AMQP_MAX_NAME    255 // bytes of a short string: names, routing keys

// Borrowed, outlive the connection.
struct fw_amqp_options {
    const char *client_name; // how the broker's operator finds us
    const char *vhost;
    const char *username; // NULL: by the certificate that TLS showed (EXTERNAL)
    const char *password;
    const char *exchange; // "": the default one
    bool declare;         // makes the exchange, unless it is the default one: durable, topic
    const char *queue;    // what `declare` makes, too: durable; NULL: none
    const char *binding;  // binds the queue to an exchange with a name
    int heartbeat_s;      // at most; both sides send one when they were silent for half as long
};

struct fw_amqp;

// A connection whose first bytes wait to be sent. NULL when memory is out.
struct fw_amqp *fw_amqp_create(const struct fw_amqp_options *options, int64_t now_us);
void fw_amqp_destroy(struct fw_amqp *amqp); // NULL is allowed

// Takes LENGTH bytes that the broker sent at NOW_US (monotonic); they stay as they are. FW_OK; or
// the connection is over: FW_EAUTH (the broker refuses us: credentials, rights, a missing
// exchange), FW_ECONNECT (it ends the connection, or talks nonsense), FW_ENOMEM. What is left to
// send then is a polite end.
int fw_amqp_input(struct fw_amqp *amqp, void *data, size_t length, int64_t now_us,
                  struct fw_error *error);
// What is to be sent, *LENGTH bytes, 0 if nothing; valid until the next call of another function.
const void *fw_amqp_output(const struct fw_amqp *amqp, size_t *length);
// LENGTH bytes of it were sent at NOW_US.
void fw_amqp_sent(struct fw_amqp *amqp, size_t length, int64_t now_us);
// Queues a heartbeat if one is due. FW_OK, FW_ENOMEM, or FW_ETIMEDOUT: the broker has been silent
// for two heartbeats. To be called once a second.
int fw_amqp_tick(struct fw_amqp *amqp, int64_t now_us, struct fw_error *error);
// Queues the request to end the connection; nothing may follow. The answer need not be waited for.
void fw_amqp_say_goodbye(struct fw_amqp *amqp);

// Whether login and declarations are done.
bool fw_amqp_is_ready(const struct fw_amqp *amqp);
// Why the broker takes nothing from anybody now ("low on memory"), NULL while it does.
const char *fw_amqp_blocked(const struct fw_amqp *amqp);

// Queues MESSAGE, persistent and mandatory. FW_OK; FW_EAGAIN (FW_AMQP_MAX_PENDING are pending),
// FW_EREJECTED (ROUTING_KEY is too long), FW_ENOMEM (the connection is over). Only when ready.
int fw_amqp_publish(struct fw_amqp *amqp, const struct fw_message *message, const char *routing_key,
                    int64_t now_us, struct fw_error *error);

enum fw_amqp_fate {
    FW_AMQP_UNKNOWN, // not published, or already looked at
    FW_AMQP_IN_FLIGHT,
    FW_AMQP_CONFIRMED,
    FW_AMQP_NACKED,    // the broker could not take it
    FW_AMQP_RETURNED,  // no queue is bound for it
    FW_AMQP_TOO_LARGE, // for this broker's limit, for which it has ended the connection
};

// What has become of the message ID; after the connection's end, too. Any fate but IN_FLIGHT is
// told once.
enum fw_amqp_fate fw_amqp_take_fate(struct fw_amqp *amqp, const char *id);
// Forgets every message that is not in flight.
void fw_amqp_forget_settled(struct fw_amqp *amqp);
// When the oldest message in flight was sent, or the last block ended if that is later.
// INT64_MAX when none is.
int64_t fw_amqp_oldest_us(const struct fw_amqp *amqp);

#endif
