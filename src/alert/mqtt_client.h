// One connection to an MQTT broker that only publishes, with QoS 1.
//
// libmosquitto speaks the protocol (5, or 3.1.1 where the broker knows no better) in the caller's
// thread. Three things it does not do well are done here: it gets addresses, never names, because
// its look-up can't be interrupted; it gets our TLS context, which checks the certificate against
// the name; and the waiting is ours, with deadline and cancel object.
#ifndef FW_ALERT_MQTT_CLIENT_H
#define FW_ALERT_MQTT_CLIENT_H

#include "alert/peer.h"
#include "util/cancel.h"
#include "util/error.h"
#include <stdbool.h>
#include <stddef.h>

struct fw_log;

// Borrowed for the call.
struct fw_mqtt_options {
    struct fw_peer_options peer;
    const char *client_id;
    // What the broker publishes, retained, once we are gone without a word; NULL: nothing.
    const char *will_topic, *will_payload;
    const struct fw_log *log;
};

// What became of publications that belong together. Zero-initialise; it outlives the client or the
// next fw_mqtt_wait() that returns FW_OK.
struct fw_mqtt_ticket {
    size_t unanswered;
    // FW_OK until the broker refused one: FW_EAUTH (it does not let us), FW_EREJECTED (this very
    // one), FW_EIO (not now).
    int status;
};

struct fw_mqtt_publication {
    const char *topic;
    const void *payload;
    size_t length;
    bool is_retained;
    const char *content_type; // NULL: none
};

// One thread at a time. After a failure it is only of use for fw_mqtt_close().
struct fw_mqtt_client;

// FW_OK with *CLIENT the caller's, the broker having accepted us; else it is NULL: FW_EAUTH,
// FW_ECONNECT, FW_ENOENT, FW_EFORMAT, FW_ETIMEDOUT, FW_ECANCELED, FW_EIO, FW_ENOMEM.
int fw_mqtt_connect(struct fw_mqtt_client **client, const struct fw_mqtt_options *options,
                    struct fw_deadline *deadline, struct fw_error *error);
// Sends or queues; does not wait. FW_OK, also when this publication can't be (TICKET says so);
// FW_ECONNECT, FW_ENOMEM.
int fw_mqtt_publish(struct fw_mqtt_client *client, const struct fw_mqtt_publication *publication,
                    struct fw_mqtt_ticket *ticket, struct fw_error *error);
// Waits until the broker has answered for everything. FW_OK (look at the tickets), or as
// fw_mqtt_connect().
int fw_mqtt_wait(struct fw_mqtt_client *client, struct fw_deadline *deadline,
                 struct fw_error *error);
// Takes what the broker sent and keeps the connection alive; never waits. FW_OK or as above. To be
// called every few seconds.
int fw_mqtt_service(struct fw_mqtt_client *client, struct fw_error *error);
// Takes leave and closes, without waiting. The broker publishes the will. NULL is allowed.
void fw_mqtt_close(struct fw_mqtt_client *client);

#endif
