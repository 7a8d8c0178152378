// Runs the quantised network depth first, as yunet_net.c does for fp32. What differs is what flows:
// rows are bytes in blocks of channels, and between its two steps a unit keeps pairs of rows.
#include "nn/quant_net.h"

#include "nn/aligned.h"
#include "nn/profile.h"
#include "nn/quant_model.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RING_PAIRS = 3, PIXEL = 3 };

struct stage {
    const struct fw_int8_unit *weights;
    int width, height;
    int padded_width;
    int16_t *ring; // RING_PAIRS pairs
    size_t pair_words;
    // The output: the whole map when it is kept, else two rows. An odd height is rounded up, for
    // the second row of the last pair, which nobody reads. A head has floats in its place.
    uint8_t *map;
    float *rows, *results; // a head's: two padded rows, and all cells
    bool kept;
    // The stage that takes this one's rows as they come, after pooling or directly.
    struct stage *next;
    bool next_pools;
    uint8_t *pooled; // two rows of the next stage's input
    // For a stage that nobody feeds: the kept maps that it reads.
    const struct stage *source, *upsampled;
    bool source_pooled;
    uint8_t *input; // two rows
};

struct fw_quant {
    struct fw_quant_model *model;
    const struct fw_int8_kernels *kernels;
    int width, height;
    uint8_t *picture;
    // Three rows of the picture as words, each with one zero pixel before it; above the picture a
    // row of zeros.
    int16_t *words[3];
    uint8_t *stem_rows;
    int16_t *zero_pair; // for above and below the map, as long as the longest
    struct stage *stem_reader;
    struct fw_profile profile;
    int stage_count;
    struct stage stages[FW_YUNET_MAX_UNITS];
};

static size_t row_bytes(const struct stage *stage)
{
    return (size_t)stage->padded_width * (size_t)stage->weights->out_channels;
}

static int16_t *ring_pair(const struct stage *stage, int pair)
{
    return stage->ring + (size_t)(pair % RING_PAIRS) * stage->pair_words;
}

static void push_pair(struct fw_quant *net, struct stage *stage, int pair, const uint8_t *row0,
                      const uint8_t *row1);

static void emit_head(struct fw_quant *net, struct stage *stage, int y,
                      const int16_t *const pairs[3])
{
    size_t padded = (size_t)stage->padded_width * FW_INT8_BLOCK;
    size_t floats = (size_t)stage->width * FW_INT8_BLOCK;
    net->kernels->depthwise_head(stage->weights, pairs, stage->padded_width, stage->rows,
                                 stage->rows + padded);
    for (int i = 0; i < 2 && y + i < stage->height; i++) {
        memcpy(stage->results + (size_t)(y + i) * floats, stage->rows + (size_t)i * padded,
               floats * sizeof(float));
    }
}

// Where row Y of the next stage's input goes.
static uint8_t *pooled_row(const struct stage *stage, int y)
{
    size_t bytes = (size_t)stage->next->padded_width * (size_t)stage->weights->out_channels;
    return stage->pooled + (y % 2 == 0 ? 0 : bytes);
}

// A row of the next stage's input is there: hands it on when it is the second of a pair, or the
// last one.
static void push_pooled(struct fw_quant *net, struct stage *stage, int y)
{
    struct stage *next = stage->next;
    if (y % 2 == 1) {
        push_pair(net, next, y / 2, pooled_row(stage, 0), pooled_row(stage, 1));
    } else if (y == next->height - 1) {
        push_pair(net, next, y / 2, pooled_row(stage, 0), NULL);
    }
}

static void emit_rows(struct fw_quant *net, struct stage *stage, int pair,
                      const int16_t *const pairs[3])
{
    struct stage *next = stage->next;
    int channels = stage->weights->out_channels;
    if (!stage->kept && stage->next_pools) {
        net->kernels->depthwise_pool(stage->weights, pairs, stage->padded_width, next->padded_width,
                                     pooled_row(stage, pair));
        push_pooled(net, stage, pair);
        return;
    }
    uint8_t *out0 = stage->map + (stage->kept ? (size_t)(2 * pair) * row_bytes(stage) : 0);
    uint8_t *out1 = out0 + row_bytes(stage);
    net->kernels->depthwise(stage->weights, pairs, stage->padded_width, out0, out1);
    if (stage->next_pools) {
        net->kernels->pool(out0, out1, channels, stage->padded_width, next->padded_width,
                           pooled_row(stage, pair));
        push_pooled(net, stage, pair);
    } else if (next != NULL) {
        push_pair(net, next, pair, out0, 2 * pair + 1 < stage->height ? out1 : NULL);
    }
}

// The depthwise step for pair PAIR, once the pairs around it are in the ring.
static void emit_pair(struct fw_quant *net, struct stage *stage, int pair)
{
    const int16_t *pairs[3] = {
        pair > 0 ? ring_pair(stage, pair - 1) : net->zero_pair,
        ring_pair(stage, pair),
        2 * pair + 2 < stage->height ? ring_pair(stage, pair + 1) : net->zero_pair,
    };
    if (stage->results != NULL) {
        emit_head(net, stage, 2 * pair, pairs);
    } else {
        emit_rows(net, stage, pair, pairs);
    }
}

// Takes two rows of STAGE's input (ROW1 is NULL after the last row of an odd height).
static void push_pair(struct fw_quant *net, struct stage *stage, int pair, const uint8_t *row0,
                      const uint8_t *row1)
{
    int before = fw_profile_switch(&net->profile, FW_FIRST_UNIT_PART + (int)(stage - net->stages));
    net->kernels->pointwise(stage->weights, row0, row1, row1 != NULL, stage->padded_width,
                            stage->width, ring_pair(stage, pair));
    if (pair > 0) {
        emit_pair(net, stage, pair - 1);
    }
    if (pair == (stage->height + 1) / 2 - 1) {
        emit_pair(net, stage, pair);
    }
    (void)fw_profile_switch(&net->profile, before);
}

static void widen_row(const struct fw_quant *net, int y)
{
    size_t count = (size_t)net->width * PIXEL;
    net->kernels->widen(net->picture + (size_t)y * count, count, net->words[y % 3] + PIXEL);
}

static void run_stem(struct fw_quant *net)
{
    int width = net->width / 2;
    uint8_t *out[2] = {net->stem_rows,
                       net->stem_rows + (size_t)width * (size_t)net->model->stem.channels};
    // Row -1 lies where row 2 will.
    memset(net->words[2], 0, ((size_t)net->width + 1) * PIXEL * sizeof(int16_t));
    for (int y = 0; y < net->height / 2; y++) {
        widen_row(net, 2 * y);
        widen_row(net, 2 * y + 1);
        const int16_t *rows[3] = {net->words[(2 * y + 2) % 3], net->words[2 * y % 3],
                                  net->words[(2 * y + 1) % 3]};
        net->kernels->stem(&net->model->stem, rows, width, out[y % 2]);
        if (y % 2 == 1) {
            push_pair(net, net->stem_reader, y / 2, out[0], out[1]);
        }
    }
}

// Row Y of what STAGE reads, made of kept maps; SCRATCH is there to be written.
static const uint8_t *input_row(const struct fw_quant *net, const struct stage *stage, int y,
                                uint8_t *scratch)
{
    const struct stage *source = stage->source;
    int channels = stage->weights->in_channels;
    if (stage->source_pooled) {
        const uint8_t *rows = source->map + (size_t)(2 * y) * row_bytes(source);
        net->kernels->pool(rows, rows + row_bytes(source), channels, source->padded_width,
                           stage->padded_width, scratch);
        return scratch;
    }
    const uint8_t *row = source->map + (size_t)y * row_bytes(source);
    const struct stage *upsampled = stage->upsampled;
    if (upsampled == NULL) {
        return row;
    }
    const uint8_t *half = upsampled->map + (size_t)(y / 2) * row_bytes(upsampled);
    net->kernels->add_doubled(row, half, channels, stage->padded_width, upsampled->padded_width,
                              scratch);
    return scratch;
}

static void run_from_maps(struct fw_quant *net, struct stage *stage)
{
    int before = fw_profile_switch(&net->profile, FW_FIRST_UNIT_PART + (int)(stage - net->stages));
    uint8_t *second =
        stage->input + (size_t)stage->padded_width * (size_t)stage->weights->in_channels;
    for (int y = 0; y < stage->height; y += 2) {
        const uint8_t *row0 = input_row(net, stage, y, stage->input);
        const uint8_t *row1 = y + 1 < stage->height ? input_row(net, stage, y + 1, second) : NULL;
        push_pair(net, stage, y / 2, row0, row1);
    }
    (void)fw_profile_switch(&net->profile, before);
}

static float sigmoid(float value)
{
    return 1.0f / (1.0f + expf(-value));
}

static void fill_level(const struct fw_quant *net, int level, struct fw_yunet_level *result)
{
    const struct stage *head = &net->stages[net->model->heads[level]];
    size_t cells = (size_t)head->width * (size_t)head->height;
    for (size_t i = 0; i < cells; i++) {
        float *row = head->results + i * FW_YUNET_HEAD_CHANNELS;
        row[0] = sigmoid(row[0]);
        row[1] = sigmoid(row[1]);
    }
    *result = (struct fw_yunet_level){8 << level, head->width, head->height, head->results};
}

void fw_quant_run(struct fw_quant *net, struct fw_yunet_level levels[3])
{
    int rest = fw_quant_part_count(net) - 1;
    fw_profile_begin(&net->profile);
    run_stem(net);
    (void)fw_profile_switch(&net->profile, rest);
    // A unit's sources come before it, and what streams into it is run along with them.
    for (int i = 0; i < net->stage_count; i++) {
        if (net->stages[i].source != NULL) {
            run_from_maps(net, &net->stages[i]);
        }
    }
    for (int level = 0; level < FW_YUNET_LEVELS; level++) {
        fill_level(net, level, &levels[level]);
    }
    (void)fw_profile_switch(&net->profile, rest);
}

int fw_quant_part_count(const struct fw_quant *net)
{
    return FW_FIRST_UNIT_PART + net->stage_count + 1;
}

void fw_quant_part_name(const struct fw_quant *net, int part, char name[48])
{
    int index = part - FW_FIRST_UNIT_PART;
    if (part == FW_STEM_PART) {
        fw_profile_name_stem(name, net->width / 2, net->height / 2);
    } else if (index < net->stage_count) {
        const struct stage *stage = &net->stages[index];
        const int channels[2] = {stage->weights->in_channels, stage->weights->out_channels};
        fw_profile_name_unit(name, index, channels, stage->width, stage->height);
    } else {
        fw_profile_name_rest(name);
    }
}

void fw_quant_profile(struct fw_quant *net, int64_t *part_ns)
{
    net->profile.part_ns = part_ns;
}

// Decides for each stage who feeds it: the first reader of a stage takes its rows as they come,
// any further one reads the stored map.
static void connect(struct fw_quant *net)
{
    for (int i = 0; i < net->stage_count; i++) {
        const struct fw_quant_unit *unit = &net->model->units[i];
        struct stage *stage = &net->stages[i];
        if (unit->source == FW_YUNET_STEM) {
            net->stem_reader = stage;
            continue;
        }
        struct stage *source = &net->stages[unit->source];
        if (unit->upsampled == FW_YUNET_NONE && source->next == NULL) {
            source->next = stage;
            source->next_pools = unit->pooled;
            continue;
        }
        stage->source = source;
        stage->source_pooled = unit->pooled;
        source->kept = true;
        if (unit->upsampled != FW_YUNET_NONE) {
            net->stages[unit->upsampled].kept = true;
            stage->upsampled = &net->stages[unit->upsampled];
        }
    }
}

static uint8_t *create_rows(size_t rows, size_t bytes)
{
    return fw_aligned_create(rows * bytes + FW_INT8_SLACK_BYTES, 1);
}

static int alloc_output(struct stage *stage, bool is_head)
{
    if (is_head) {
        size_t floats = (size_t)stage->padded_width * FW_INT8_BLOCK;
        stage->rows = fw_aligned_create(2 * floats, sizeof(float));
        stage->results = fw_aligned_create((size_t)stage->height * (size_t)stage->width,
                                           FW_INT8_BLOCK * sizeof(float));
        return stage->rows != NULL && stage->results != NULL ? FW_OK : FW_ENOMEM;
    }
    size_t rows = stage->kept ? (size_t)(stage->height + stage->height % 2) : 2;
    stage->map = create_rows(rows, row_bytes(stage));
    return stage->map != NULL ? FW_OK : FW_ENOMEM;
}

static int alloc_stage(struct stage *stage)
{
    size_t out = (size_t)stage->weights->out_channels;
    stage->pair_words = ((size_t)stage->padded_width + 2) * out * 2;
    stage->ring = (int16_t *)(void *)create_rows(RING_PAIRS, stage->pair_words * sizeof(int16_t));
    bool failed =
        stage->ring == NULL || alloc_output(stage, stage->weights->scale != NULL) != FW_OK;
    if (stage->next != NULL && stage->next_pools) {
        stage->pooled = create_rows(2, (size_t)stage->next->padded_width * out);
        failed = failed || stage->pooled == NULL;
    }
    if (stage->source != NULL) {
        size_t in = (size_t)stage->weights->in_channels;
        stage->input = create_rows(2, (size_t)stage->padded_width * in);
        failed = failed || stage->input == NULL;
    }
    return failed ? FW_ENOMEM : FW_OK;
}

static int alloc_net(struct fw_quant *net)
{
    size_t longest = 0, width = (size_t)net->width;
    for (int i = 0; i < net->stage_count; i++) {
        struct stage *stage = &net->stages[i];
        if (alloc_stage(stage) != FW_OK) {
            return FW_ENOMEM;
        }
        longest = stage->pair_words > longest ? stage->pair_words : longest;
    }
    bool failed = false;
    for (int i = 0; i < 3; i++) {
        // One word more than the pixels have: the loops take them in twos.
        net->words[i] = fw_aligned_create((width + 1) * PIXEL + 1, sizeof(int16_t));
        failed = failed || net->words[i] == NULL;
    }
    net->picture = fw_aligned_create((size_t)net->height, width * PIXEL);
    net->stem_rows = create_rows(2, width / 2 * (size_t)net->model->stem.channels);
    net->zero_pair = (int16_t *)(void *)create_rows(1, longest * sizeof(int16_t));
    failed = failed || net->picture == NULL || net->stem_rows == NULL || net->zero_pair == NULL;
    return failed ? FW_ENOMEM : FW_OK;
}

static bool is_valid_size(int size)
{
    return size >= 32 && size <= 8192 && size % 32 == 0;
}

static int padded(int width)
{
    return (width + FW_INT8_PIXELS - 1) / FW_INT8_PIXELS * FW_INT8_PIXELS;
}

int fw_quant_create(struct fw_quant **net, struct fw_quant_model *model, int width, int height,
                    struct fw_error *error)
{
    *net = NULL;
    if (!is_valid_size(width) || !is_valid_size(height)) {
        return fw_fail(error, FW_EINVAL,
                       "a network input of %dx%d px is not possible; use multiples of 32 from 32 "
                       "to 8192",
                       width, height);
    }
    struct fw_quant *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return fw_fail(error, FW_ENOMEM, "out of memory for the network's buffers");
    }
    made->model = fw_quant_model_ref(model);
    made->kernels = model->kernels;
    made->width = width;
    made->height = height;
    made->stage_count = model->unit_count;
    for (int i = 0; i < made->stage_count; i++) {
        struct stage *stage = &made->stages[i];
        stage->weights = &model->units[i].weights;
        stage->width = width >> model->units[i].shift;
        stage->height = height >> model->units[i].shift;
        stage->padded_width = padded(stage->width);
    }
    connect(made);
    if (alloc_net(made) != FW_OK) {
        fw_quant_destroy(made);
        return fw_fail(error, FW_ENOMEM,
                       "out of memory for a network input of %dx%d px; use a smaller input_size",
                       width, height);
    }
    *net = made;
    return FW_OK;
}

void fw_quant_destroy(struct fw_quant *net)
{
    if (net == NULL) {
        return;
    }
    for (int i = 0; i < net->stage_count; i++) {
        struct stage *stage = &net->stages[i];
        free(stage->ring);
        free(stage->map);
        free(stage->rows);
        free(stage->results);
        free(stage->pooled);
        free(stage->input);
    }
    for (int i = 0; i < 3; i++) {
        free(net->words[i]);
    }
    free(net->picture);
    free(net->stem_rows);
    free(net->zero_pair);
    fw_quant_model_unref(net->model);
    free(net);
}

uint8_t *fw_quant_input(struct fw_quant *net, size_t *stride_bytes)
{
    *stride_bytes = (size_t)net->width * PIXEL;
    return net->picture;
}
