// Where in a broker a message goes: a template with the message's own words filled in.
#ifndef FW_ALERT_ROUTING_H
#define FW_ALERT_ROUTING_H

#include "alert/message.h"
#include "util/error.h"

struct fw_text;

// What stands for {camera_id} in events of the worker.
#define FW_ROUTING_NO_CAMERA "_worker"

// FW_OK, or FW_EINVAL when TEMPLATE is empty or has a "{" that begins none of {camera_id}, {type}
// and {worker_id}.
int fw_routing_check(const char *template, struct fw_error *error);
// Appends TEMPLATE with its words filled in: {type} by the last two words of MESSAGE's type
// ("face.appeared"). FW_OK or FW_ENOMEM. Any thread.
int fw_routing_fill(struct fw_text *out, const char *template, const char *worker_id,
                    const struct fw_message *message);

#endif
