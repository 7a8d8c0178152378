#include "alert/mqtt_client.h"
#include "alert/tls.h"
#include "util/log.h"
#include "util/resolve.h"
#include "util/secret.h"
#include "util/text.h"
#include "util/url.h"
#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { PORT = 1883, PORT_TLS = 8883, QOS = 1 };
// A broker takes us for dead, and publishes the will, after one and a half times this.
enum { KEEPALIVE_S = 15 };

// What a broker of 3.1.1 may say to CONNECT (MQTT 3.1.1 §3.2.2.3); MQTT 5's codes begin at 128.
enum {
    V3_BAD_VERSION = 1,
    V3_BAD_CLIENT_ID = 2,
    V3_BAD_PASSWORD = 4,
    V3_NOT_AUTHORIZED = 5,
};

struct pending {
    int mid; // libmosquitto's number for the publication
    struct fw_mqtt_ticket *ticket;
};

struct fw_mqtt_client {
    struct mosquitto *mosq;
    SSL_CTX *tls;   // NULL without TLS
    int version;    // MQTT_PROTOCOL_...
    char name[300]; // "host:port", for messages
    char *host, *client_id;
    // Of the connection under way; the callbacks set them.
    bool is_accepted;        // CONNACK said yes
    int refusal;             // CONNACK's or DISCONNECT's code; 0: none
    unsigned long tls_code;  // OpenSSL's latest error, which libmosquitto takes off its queue
    long verify_result;      // X509_V_..., of the broker's certificate
    bool was_asked;          // for our certificate
    struct pending *pending; // the oldest first
    size_t count, capacity;
};

// Callbacks, all on the caller's thread

static void on_connect(struct mosquitto *mosq, void *opaque, int code, int flags,
                       const mosquitto_property *properties)
{
    struct fw_mqtt_client *client = opaque;

    (void)mosq;
    (void)flags;
    (void)properties;
    client->is_accepted = code == 0;
    client->refusal = code;
}

static void on_disconnect(struct mosquitto *mosq, void *opaque, int code,
                          const mosquitto_property *properties)
{
    struct fw_mqtt_client *client = opaque;

    (void)mosq;
    (void)properties;
    // Below it are libmosquitto's own codes, which its calls return, too.
    if (code >= MQTT_RC_UNSPECIFIED)
        client->refusal = code;
}

static int publication_status(int code)
{
    switch (code) {
    case MQTT_RC_SUCCESS:
    case MQTT_RC_NO_MATCHING_SUBSCRIBERS:
        return FW_OK;
    case MQTT_RC_NOT_AUTHORIZED:
    case MQTT_RC_TOPIC_NAME_INVALID:
        return FW_EAUTH;
    case MQTT_RC_PAYLOAD_FORMAT_INVALID:
    case MQTT_RC_PACKET_TOO_LARGE:
        return FW_EREJECTED;
    default:
        return FW_EIO;
    }
}

static void on_publish(struct mosquitto *mosq, void *opaque, int mid, int code,
                       const mosquitto_property *properties)
{
    struct fw_mqtt_client *client = opaque;
    size_t i = 0;

    (void)mosq;
    (void)properties;
    while (i < client->count && client->pending[i].mid != mid)
        i++;
    if (i == client->count)
        return;
    client->pending[i].ticket->unanswered--;
    if (publication_status(code) != FW_OK)
        client->pending[i].ticket->status = publication_status(code);
    client->count--;
    memmove(&client->pending[i], &client->pending[i + 1],
            (client->count - i) * sizeof(client->pending[0]));
}

static void on_log(struct mosquitto *mosq, void *opaque, int level, const char *line)
{
    static const char mark[] = "OpenSSL Error[0]: error:";
    struct fw_mqtt_client *client = opaque;

    (void)mosq;
    (void)level;
    if (fw_starts_with(line, mark))
        client->tls_code = strtoul(line + sizeof(mark) - 1, NULL, 16);
}

// OpenSSL's callbacks: libmosquitto frees its SSL object as soon as something fails, so that what
// went wrong has to be noted when it happens.

// libmosquitto names to the peer the host that it was given, which is an address.
static void on_tls_info(const SSL *ssl, int where, int result)
{
    const struct fw_mqtt_client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    (void)result;
    if (where & SSL_CB_HANDSHAKE_START)
        (void)fw_tls_name_host(mosquitto_ssl_get(client->mosq), client->host);
}

static int on_tls_verify(int is_good, X509_STORE_CTX *chain)
{
    const SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct fw_mqtt_client *client = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    if (is_good != 1)
        client->verify_result = X509_STORE_CTX_get_error(chain);
    return is_good;
}

static int on_tls_certificate_wish(SSL *ssl, void *opaque)
{
    struct fw_mqtt_client *client = opaque;

    (void)ssl;
    client->was_asked = true;
    return 1;
}

// What went wrong, in words

static int refused(const struct fw_mqtt_client *client, struct fw_error *error)
{
    const char *name = client->name;

    switch (client->refusal) {
    case V3_BAD_PASSWORD:
    case MQTT_RC_BAD_USERNAME_OR_PASSWORD:
        return fw_fail(error, FW_EAUTH,
                       "%s refuses our user name or password; check username and password", name);
    case V3_NOT_AUTHORIZED:
    case MQTT_RC_NOT_AUTHORIZED:
    case MQTT_RC_BANNED:
        return fw_fail(error, FW_EAUTH,
                       "%s does not let us in; check username, password and the user's rights",
                       name);
    case V3_BAD_CLIENT_ID:
    case MQTT_RC_CLIENTID_NOT_VALID:
        return fw_fail(error, FW_EAUTH, "%s refuses the client id '%s'; change worker.id", name,
                       client->client_id);
    case V3_BAD_VERSION:
    case MQTT_RC_UNSUPPORTED_PROTOCOL_VERSION:
        return fw_fail(error, FW_ENOTSUP, "%s speaks neither MQTT 5 nor 3.1.1; use another broker",
                       name);
    case MQTT_RC_RETAIN_NOT_SUPPORTED:
        return fw_fail(error, FW_EAUTH,
                       "%s keeps no messages; turn retain_state and home_assistant off", name);
    case MQTT_RC_USE_ANOTHER_SERVER:
    case MQTT_RC_SERVER_MOVED:
        return fw_fail(error, FW_EAUTH, "%s sends us to another broker; change the URL", name);
    case MQTT_RC_SESSION_TAKEN_OVER:
        return fw_fail(error, FW_ECONNECT,
                       "another client of %s calls itself '%s'; give each worker an id of its own",
                       name, client->client_id);
    default:
        return fw_fail(error, FW_ECONNECT, "%s can't serve us now (%s); it is asked again later",
                       name, mosquitto_reason_string(client->refusal));
    }
}

static int hung_up(const struct fw_mqtt_client *client, struct fw_error *error)
{
    if (!client->is_accepted && client->was_asked)
        return fw_tls_hung_up(client->name, error);
    return fw_fail(error, FW_ECONNECT, "%s hung up; its log says why", client->name);
}

static int tls_failed(const struct fw_mqtt_client *client, struct fw_error *error)
{
    if (client->verify_result != X509_V_OK)
        return fw_tls_not_trusted(client->name, client->verify_result, error);
    if (fw_tls_is_end(client->tls_code))
        return hung_up(client, error);
    return fw_tls_failed(client->name, client->tls_code, error);
}

// What libmosquitto's failure CODE comes to.
static int failed(const struct fw_mqtt_client *client, int code, struct fw_error *error)
{
    if (client->refusal != 0)
        return refused(client, error);
    if (code == MOSQ_ERR_TLS || client->tls_code != 0)
        return tls_failed(client, error);
    switch (code) {
    case MOSQ_ERR_NOMEM:
        return fw_fail(error, FW_ENOMEM, "no memory to talk to %s", client->name);
    case MOSQ_ERR_KEEPALIVE:
        return fw_fail(error, FW_ETIMEDOUT, "%s does not answer; check that it is well",
                       client->name);
    case MOSQ_ERR_PROTOCOL:
    case MOSQ_ERR_MALFORMED_PACKET:
        return fw_fail(error, FW_EFORMAT, "%s does not talk as an MQTT broker does; check the port",
                       client->name);
    default:
        return hung_up(client, error);
    }
}

// Waiting

static int service(struct fw_mqtt_client *client)
{
    int code = mosquitto_loop_read(client->mosq, 1);

    if (code == MOSQ_ERR_SUCCESS && mosquitto_want_write(client->mosq))
        code = mosquitto_loop_write(client->mosq, 1);
    if (code == MOSQ_ERR_SUCCESS)
        code = mosquitto_loop_misc(client->mosq);
    if (code == MOSQ_ERR_SUCCESS && mosquitto_socket(client->mosq) < 0)
        code = MOSQ_ERR_CONN_LOST; // the broker took its leave
    return code;
}

int fw_mqtt_service(struct fw_mqtt_client *client, struct fw_error *error)
{
    int code = service(client);

    return code == MOSQ_ERR_SUCCESS ? FW_OK : failed(client, code, error);
}

// Whether bytes wait inside OpenSSL, where poll(2) does not see them.
static bool has_buffered(const struct fw_mqtt_client *client)
{
    const SSL *ssl = mosquitto_ssl_get(client->mosq);

    return ssl != NULL && SSL_pending(ssl) > 0;
}

// What the socket must become for things to go on. During a handshake mosquitto_want_write() says
// yes from beginning to end, which would have us spin.
static short wanted_events(const struct fw_mqtt_client *client)
{
    const SSL *ssl = mosquitto_ssl_get(client->mosq);

    if (ssl != NULL && !SSL_is_init_finished(ssl))
        return SSL_want_write(ssl) ? POLLOUT : POLLIN;
    return mosquitto_want_write(client->mosq) ? POLLIN | POLLOUT : POLLIN;
}

// Brokers write a packet for each acknowledgement, and as a rule (Nagle's) none before we have
// confirmed the last one, which our kernel puts off by 40 ms. The option lasts until the next
// packets; a kernel without it is only slower.
static void confirm_at_once(const struct fw_mqtt_client *client)
{
    const int on = 1;

    (void)setsockopt(mosquitto_socket(client->mosq), IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
}

static int wait_and_service(struct fw_mqtt_client *client, struct fw_deadline *deadline,
                            struct fw_error *error)
{
    int status;

    confirm_at_once(client);
    if (has_buffered(client)) // a broker that never stops talking must not keep us
        status = fw_deadline_passed(deadline) ? deadline->interrupted : FW_OK;
    else
        status = fw_deadline_poll(deadline, mosquitto_socket(client->mosq), wanted_events(client));
    if (status != FW_OK)
        return fw_fail(error, status, "%s: %s; check that it is well and the network", client->name,
                       fw_status_text(status));
    return fw_mqtt_service(client, error);
}

int fw_mqtt_wait(struct fw_mqtt_client *client, struct fw_deadline *deadline,
                 struct fw_error *error)
{
    int status = FW_OK;

    while (status == FW_OK && client->count > 0)
        status = wait_and_service(client, deadline, error);
    return status;
}

// Connecting

static int wait_connected(struct fw_mqtt_client *client, struct fw_deadline *deadline,
                          struct fw_error *error)
{
    const int fd = mosquitto_socket(client->mosq);
    int error_number = 0, status = fw_deadline_poll(deadline, fd, POLLOUT);
    socklen_t length = sizeof(error_number);

    if (status != FW_OK)
        return fw_fail(error, status, "connecting to %s: %s; check that it is up and the address",
                       client->name, fw_status_text(status));
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error_number, &length) != 0)
        error_number = errno;
    if (error_number != 0)
        return fw_fail(error, FW_ECONNECT, "can't connect to %s: %s; check that it is up",
                       client->name, strerror(error_number));
    return FW_OK;
}

static int wait_accepted(struct fw_mqtt_client *client, struct fw_deadline *deadline,
                         struct fw_error *error)
{
    int status = wait_connected(client, deadline, error);

    while (status == FW_OK && !client->is_accepted)
        status = wait_and_service(client, deadline, error);
    return status;
}

static int set_tls(struct fw_mqtt_client *client, const struct fw_peer_options *options,
                   struct fw_error *error)
{
    int status = fw_tls_context(&client->tls, options, error);

    if (status != FW_OK)
        return status;
    SSL_CTX_set_app_data(client->tls, client);
    SSL_CTX_set_info_callback(client->tls, on_tls_info);
    if (options->tls_verify)
        SSL_CTX_set_verify(client->tls, SSL_VERIFY_PEER, on_tls_verify);
    SSL_CTX_set_cert_cb(client->tls, on_tls_certificate_wish, client);
    // libmosquitto takes a reference of its own; without the second option it adds its settings.
    if (mosquitto_void_option(client->mosq, MOSQ_OPT_SSL_CTX, client->tls) != MOSQ_ERR_SUCCESS ||
        mosquitto_int_option(client->mosq, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0) != MOSQ_ERR_SUCCESS)
        return fw_fail(error, FW_ENOTSUP,
                       "this libmosquitto has no TLS; install one that has, or use mqtt://");
    return FW_OK;
}

static int set_up(struct fw_mqtt_client *client, const struct fw_mqtt_options *options,
                  struct fw_error *error)
{
    const struct fw_url *url = options->peer.url;
    const char *password = fw_secret_is_set(url->password) ? fw_secret_reveal(url->password) : NULL;
    struct mosquitto *mosq = client->mosq;
    int code = mosquitto_int_option(mosq, MOSQ_OPT_PROTOCOL_VERSION, client->version);

    mosquitto_connect_v5_callback_set(mosq, on_connect);
    mosquitto_disconnect_v5_callback_set(mosq, on_disconnect);
    mosquitto_publish_v5_callback_set(mosq, on_publish);
    mosquitto_log_callback_set(mosq, on_log);
    if (code == MOSQ_ERR_SUCCESS)
        code = mosquitto_int_option(mosq, MOSQ_OPT_TCP_NODELAY, 1);
    if (code == MOSQ_ERR_SUCCESS && url->username != NULL && url->username[0] != '\0')
        code = mosquitto_username_pw_set(mosq, url->username, password);
    if (code == MOSQ_ERR_SUCCESS && options->will_topic != NULL)
        code = mosquitto_will_set(mosq, options->will_topic, (int)strlen(options->will_payload),
                                  options->will_payload, QOS, true);
    if (code != MOSQ_ERR_SUCCESS)
        return fw_fail(error, code == MOSQ_ERR_NOMEM ? FW_ENOMEM : FW_EINVAL,
                       "can't talk MQTT to %s: %s", client->name, mosquitto_strerror(code));
    return options->peer.is_tls ? set_tls(client, &options->peer, error) : FW_OK;
}

static int start_connecting(struct fw_mqtt_client *client, const char *address, int port,
                            struct fw_error *error)
{
    int code;

    errno = 0;
    code = mosquitto_connect_async(client->mosq, address, port, KEEPALIVE_S);
    if (code == MOSQ_ERR_SUCCESS)
        return FW_OK;
    // EPROTO stands for all that goes wrong inside TLS.
    if (code == MOSQ_ERR_ERRNO && errno != 0 && errno != EPROTO)
        return fw_fail(error, FW_ECONNECT, "can't connect to %s: %s; check that it is up",
                       client->name, strerror(errno));
    return failed(client, code, error);
}

static int port_of(const struct fw_peer_options *options)
{
    if (options->url->port != 0)
        return options->url->port;
    return options->is_tls ? PORT_TLS : PORT;
}

static struct fw_mqtt_client *create(const struct fw_mqtt_options *options, int version)
{
    struct fw_mqtt_client *client = calloc(1, sizeof(*client));

    if (client == NULL)
        return NULL;
    client->version = version;
    (void)snprintf(client->name, sizeof(client->name), "%s:%d", options->peer.url->host,
                   port_of(&options->peer));
    client->host = fw_strdup(options->peer.url->host);
    client->client_id = fw_strdup(options->client_id);
    // Nothing is kept for us between connections: what is not acknowledged, the outbox has.
    if (client->host != NULL && client->client_id != NULL)
        client->mosq = mosquitto_new(options->client_id, true, client);
    if (client->mosq == NULL) {
        fw_mqtt_close(client);
        return NULL;
    }
    return client;
}

static int connect_as(struct fw_mqtt_client **client, const struct fw_mqtt_options *options,
                      int version, struct fw_deadline *deadline, struct fw_error *error)
{
    char address[FW_ADDRESS_SIZE];
    int status =
        fw_resolve(options->peer.resolver, options->peer.url->host, deadline, address, error);

    *client = NULL;
    if (status != FW_OK)
        return status;
    *client = create(options, version);
    if (*client == NULL)
        return fw_fail(error, FW_ENOMEM, "no memory to connect to %s", options->peer.url->host);
    status = set_up(*client, options, error);
    if (status == FW_OK)
        status = start_connecting(*client, address, port_of(&options->peer), error);
    if (status == FW_OK)
        status = wait_accepted(*client, deadline, error);
    return status;
}

// Whether a broker that knows only MQTT 3.1.1 may have ended the connection like this: by saying
// so, or by hanging up (MQTT 3.1.1 §3.1.2.2) without a reason.
static bool may_be_old(const struct fw_mqtt_client *client, int status)
{
    if (status == FW_ENOTSUP)
        return true;
    return status == FW_ECONNECT && client != NULL && client->refusal == 0 &&
           client->tls_code == 0 && mosquitto_socket(client->mosq) < 0;
}

int fw_mqtt_connect(struct fw_mqtt_client **client, const struct fw_mqtt_options *options,
                    struct fw_deadline *deadline, struct fw_error *error)
{
    int status = connect_as(client, options, MQTT_PROTOCOL_V5, deadline, error);

    if (may_be_old(*client, status)) {
        fw_mqtt_close(*client);
        status = connect_as(client, options, MQTT_PROTOCOL_V311, deadline, error);
        if (status == FW_OK)
            fw_log_info(options->log,
                        "%s speaks MQTT 3.1.1 only and can't tell us of publications that its "
                        "access list refuses; check that they arrive",
                        (*client)->name);
    }
    if (status != FW_OK) {
        fw_mqtt_close(*client);
        *client = NULL;
    }
    return status == FW_ENOTSUP ? FW_EAUTH : status;
}

// Publishing

static bool reserve(struct fw_mqtt_client *client)
{
    size_t capacity = client->capacity > 0 ? 2 * client->capacity : 64;
    struct pending *grown;

    if (client->count < client->capacity)
        return true;
    grown = realloc(client->pending, capacity * sizeof(*grown));
    if (grown == NULL)
        return false;
    client->pending = grown;
    client->capacity = capacity;
    return true;
}

static int send_publication(struct fw_mqtt_client *client,
                            const struct fw_mqtt_publication *publication, int *mid)
{
    mosquitto_property *properties = NULL;
    int code = MOSQ_ERR_SUCCESS;

    if (publication->content_type != NULL && client->version == MQTT_PROTOCOL_V5)
        code = mosquitto_property_add_string(&properties, MQTT_PROP_CONTENT_TYPE,
                                             publication->content_type);
    if (code == MOSQ_ERR_SUCCESS)
        code =
            mosquitto_publish_v5(client->mosq, mid, publication->topic, (int)publication->length,
                                 publication->payload, QOS, publication->is_retained, properties);
    mosquitto_property_free_all(&properties);
    return code;
}

int fw_mqtt_publish(struct fw_mqtt_client *client, const struct fw_mqtt_publication *publication,
                    struct fw_mqtt_ticket *ticket, struct fw_error *error)
{
    int mid = 0, code;

    if (!reserve(client))
        return fw_fail(error, FW_ENOMEM, "no memory to publish to %s", client->name);
    code = send_publication(client, publication, &mid);
    switch (code) {
    case MOSQ_ERR_SUCCESS:
        client->pending[client->count++] = (struct pending){mid, ticket};
        ticket->unanswered++;
        return FW_OK;
    case MOSQ_ERR_PAYLOAD_SIZE:
    case MOSQ_ERR_OVERSIZE_PACKET:
        ticket->status = FW_EREJECTED;
        return FW_OK;
    case MOSQ_ERR_INVAL: // a topic that is none
    case MOSQ_ERR_MALFORMED_UTF8:
    case MOSQ_ERR_QOS_NOT_SUPPORTED:
        ticket->status = FW_EAUTH;
        return FW_OK;
    default:
        return failed(client, code, error);
    }
}

// MQTT 5 has a code that asks for the will; in 3.1.1 only a connection that ends without a word
// has it published.
void fw_mqtt_close(struct fw_mqtt_client *client)
{
    if (client == NULL)
        return;
    if (client->is_accepted && client->version == MQTT_PROTOCOL_V5)
        (void)mosquitto_disconnect_v5(client->mosq, MQTT_RC_DISCONNECT_WITH_WILL_MSG, NULL);
    mosquitto_destroy(client->mosq);
    SSL_CTX_free(client->tls);
    free(client->pending);
    free(client->client_id);
    free(client->host);
    free(client);
}
