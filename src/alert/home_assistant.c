#include "alert/home_assistant.h"
#include "alert/json.h"
#include "util/error.h"
#include "util/text.h"
#include <stdlib.h>

struct entity {
    const char *component, *object, *name, *device_class, *category, *template;
    bool is_about_faces;
};

static const struct entity entities[FW_HOME_ASSISTANT_ENTITIES] = {
    {"binary_sensor", "connectivity", "Connectivity", "connectivity", "diagnostic",
     "{{ 'ON' if value == 'online' else 'OFF' }}", false},
    {"binary_sensor", "face", "Face", "occupancy", NULL, "{{ value_json.present }}", true},
    {"sensor", "last_face", "Last face", "timestamp", NULL, "{{ value_json.last }}", true},
};

// Discovery topics take [A-Za-z0-9_-] only, ids also '.'. '_' begins what stands for another: "__"
// is '_', "_d" is '.', and "_-" stands between two ids, so that no two cameras share a topic.
static void append_id(struct fw_text *out, const char *id)
{
    for (; *id != '\0'; id++) {
        if (*id == '_')
            fw_text_append(out, "__");
        else if (*id == '.')
            fw_text_append(out, "_d");
        else
            fw_text_append_n(out, id, 1);
    }
}

static char *topic_of(const struct fw_home_assistant_camera *camera, const struct entity *entity)
{
    struct fw_text topic = FW_TEXT_INIT;

    fw_text_appendf(&topic, "%s/%s/faceworker_-", camera->discovery_prefix, entity->component);
    append_id(&topic, camera->worker_id);
    fw_text_append(&topic, "_-");
    append_id(&topic, camera->camera_id);
    fw_text_appendf(&topic, "/%s/config", entity->object);
    return fw_text_steal(&topic);
}

// "faceworker:WORKER:CAMERA", and ":OBJECT" where there is one.
static json_t *identifier(const struct fw_home_assistant_camera *camera, const char *object)
{
    struct fw_text text = FW_TEXT_INIT;
    json_t *value;

    fw_text_appendf(&text, "faceworker:%s:%s", camera->worker_id, camera->camera_id);
    if (object != NULL)
        fw_text_appendf(&text, ":%s", object);
    value = text.failed ? NULL : fw_json_text(fw_text_get(&text));
    fw_text_free(&text);
    return value;
}

static json_t *device_of(struct fw_json_builder *builder,
                         const struct fw_home_assistant_camera *camera)
{
    json_t *device = json_object(), *identifiers = json_array();

    fw_json_push(builder, identifiers, identifier(camera, NULL));
    fw_json_put(builder, device, "identifiers", identifiers);
    fw_json_put(builder, device, "name", fw_json_text(camera->camera_name));
    fw_json_put(builder, device, "manufacturer", json_string("faceworker"));
    fw_json_put(builder, device, "model", json_string("camera"));
    fw_json_put(builder, device, "sw_version", json_string(FW_VERSION));
    return device;
}

static json_t *origin_of(struct fw_json_builder *builder)
{
    json_t *origin = json_object();

    fw_json_put(builder, origin, "name", json_string("faceworker"));
    fw_json_put(builder, origin, "sw_version", json_string(FW_VERSION));
    return origin;
}

static json_t *config_of(struct fw_json_builder *builder,
                         const struct fw_home_assistant_camera *camera, const struct entity *entity)
{
    json_t *config = json_object();

    fw_json_put(builder, config, "name", json_string(entity->name));
    fw_json_put(builder, config, "unique_id", identifier(camera, entity->object));
    fw_json_put(builder, config, "device_class", json_string(entity->device_class));
    if (entity->category != NULL)
        fw_json_put(builder, config, "entity_category", json_string(entity->category));
    fw_json_put(builder, config, "state_topic",
                fw_json_text(entity->is_about_faces ? camera->face_topic : camera->state_topic));
    fw_json_put(builder, config, "value_template", json_string(entity->template));
    fw_json_put(builder, config, "availability_topic", fw_json_text(camera->availability_topic));
    fw_json_put(builder, config, "qos", json_integer(1));
    fw_json_put(builder, config, "device", device_of(builder, camera));
    fw_json_put(builder, config, "origin", origin_of(builder));
    return config;
}

int fw_home_assistant_announce(const struct fw_home_assistant_camera *camera, int index,
                               char **topic, char **payload)
{
    struct fw_json_builder builder = {false};
    json_t *config = config_of(&builder, camera, &entities[index]);

    *topic = topic_of(camera, &entities[index]);
    *payload = builder.failed ? NULL : fw_json_line(config);
    json_decref(config);
    if (*topic != NULL && *payload != NULL)
        return FW_OK;
    free(*topic);
    free(*payload);
    *topic = NULL;
    *payload = NULL;
    return FW_ENOMEM;
}
