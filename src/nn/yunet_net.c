// Runs the network depth first: two rows at a time go through a unit and straight on to the next,
// so that what one step writes is still in the first or second cache when the next reads it. Layer
// by layer, every map would go out to the third cache or to memory and come back.
//
// A unit ("stage" here, with its buffers for one input size) keeps a ring of five rows between its
// two convolutions: the two that have just come, and the three above them, since the depthwise one
// also needs the row above and the row below. A whole map is stored only where something reads it
// later: the neck and the results.
#include "nn/aligned.h"
#include "nn/profile.h"
#include "nn/yunet_model.h"
#include <stdlib.h>

enum { RING_ROWS = 5, PIXEL = 3 };

struct stage {
    const struct fw_unit_weights *weights;
    int width, height;
    float *ring; // RING_ROWS ring rows
    size_t ring_row_floats, block_stride;
    // The whole output when it is kept. An odd height is rounded up, for the second row of the last
    // pair, which nobody reads.
    float *map;
    bool kept;
    // The stage that takes this one's rows as they come, after pooling or directly.
    struct stage *next;
    bool next_pools;
    float *pooled; // two rows of the next stage's input; NULL unless next_pools
    // For a stage that nobody feeds: the kept maps that it reads.
    const struct stage *source, *upsampled;
    bool source_pooled;
};

struct fw_yunet {
    struct fw_yunet_model *model;
    const struct fw_kernels *kernels;
    int width, height;
    float *picture; // one row of zeros, then HEIGHT rows, each with one zero pixel before it
    size_t picture_stride;
    // Two rows on their way from one step to the next, as long as the longest: the pointwise step
    // has read them before the depthwise one writes again.
    float *pair;
    float *zero_row; // a ring row of zeros for above and below the map, as long as the longest
    struct stage *stem_reader;
    struct fw_profile profile;
    int stage_count;
    struct stage stages[FW_YUNET_MAX_UNITS];
};

static size_t row_floats(const struct stage *stage)
{
    return (size_t)stage->width * (size_t)stage->weights->out_channels;
}

static int part_of(const struct fw_yunet *net, const struct stage *stage)
{
    return FW_FIRST_UNIT_PART + (int)(stage - net->stages);
}

static float *ring_row(const struct stage *stage, int y)
{
    return stage->ring + (size_t)(y % RING_ROWS) * stage->ring_row_floats;
}

static void push_pair(struct fw_yunet *net, struct stage *stage, int pair, const float *row0,
                      const float *row1);

// The depthwise step for pair PAIR, once the rows around it are in the ring; its rows go on to the
// next stage as they are, or pooled to one row, which waits for a second one.
static void emit_pair(struct fw_yunet *net, struct stage *stage, int pair)
{
    int y = 2 * pair;
    bool has_second = y + 1 < stage->height;
    const float *rows[4] = {
        y > 0 ? ring_row(stage, y - 1) : net->zero_row,
        ring_row(stage, y),
        has_second ? ring_row(stage, y + 1) : net->zero_row,
        y + 2 < stage->height ? ring_row(stage, y + 2) : net->zero_row,
    };
    float *out[2] = {NULL, NULL}, *pooled = NULL;
    if (stage->kept || stage->pooled == NULL) {
        out[0] = stage->kept ? stage->map + (size_t)y * row_floats(stage) : net->pair;
        out[1] = out[0] + row_floats(stage);
    }
    if (stage->pooled != NULL) {
        pooled = stage->pooled + (pair % 2 == 0 ? 0 : row_floats(stage) / 2);
    }
    net->kernels->depthwise(stage->weights, rows, stage->block_stride, stage->width, out, pooled);
    if (stage->next == NULL) {
        return;
    }
    if (pooled == NULL) {
        push_pair(net, stage->next, pair, out[0], has_second ? out[1] : NULL);
    } else if (pair % 2 == 1) {
        push_pair(net, stage->next, pair / 2, stage->pooled, pooled);
    } else if (pair == stage->next->height - 1) {
        push_pair(net, stage->next, pair / 2, stage->pooled, NULL);
    }
}

// Takes two rows of STAGE's input (ROW1 is NULL after the last row of an odd height).
static void push_pair(struct fw_yunet *net, struct stage *stage, int pair, const float *row0,
                      const float *row1)
{
    int before = fw_profile_switch(&net->profile, part_of(net, stage));
    // In place of a second row that is missing the first one does: nobody reads what it gives.
    const float *rows[2] = {row0, row1 == NULL ? row0 : row1};
    float *out[2] = {ring_row(stage, 2 * pair) + FW_BLOCK,
                     ring_row(stage, 2 * pair + 1) + FW_BLOCK};
    net->kernels->pointwise(stage->weights, rows, stage->width, out, stage->block_stride);
    if (pair > 0) {
        emit_pair(net, stage, pair - 1);
    }
    if (pair == (stage->height + 1) / 2 - 1) {
        emit_pair(net, stage, pair);
    }
    (void)fw_profile_switch(&net->profile, before);
}

static void run_stem(struct fw_yunet *net)
{
    const struct fw_yunet_model *model = net->model;
    int width = net->width / 2;
    float *out[2] = {net->pair, net->pair + (size_t)width * (size_t)model->stem_channels};
    for (int y = 0; y < net->height / 2; y++) {
        const float *above = net->picture + (size_t)(2 * y) * net->picture_stride;
        // The last two are read next: the kernel may fetch them ahead.
        const float *below = above + 2 * net->picture_stride;
        size_t ahead = y + 1 < net->height / 2 ? net->picture_stride : 0;
        const float *rows[5] = {above, above + net->picture_stride, below, below + ahead,
                                below + 2 * ahead};
        net->kernels->stem(rows, model->stem, model->stem_bias, model->stem_channels, width,
                           out[y % 2]);
        if (y % 2 == 1) {
            push_pair(net, net->stem_reader, y / 2, out[0], out[1]);
        }
    }
}

// Row Y of what STAGE reads, made of kept maps; SCRATCH is there to be written.
static const float *input_row(const struct fw_yunet *net, const struct stage *stage, int y,
                              float *scratch)
{
    const struct stage *source = stage->source;
    int channels = stage->weights->in_channels;
    if (stage->source_pooled) {
        const float *rows = source->map + (size_t)(2 * y) * row_floats(source);
        net->kernels->pool(rows, rows + row_floats(source), channels, stage->width, scratch);
        return scratch;
    }
    const float *row = source->map + (size_t)y * row_floats(source);
    if (stage->upsampled == NULL) {
        return row;
    }
    const float *half = stage->upsampled->map + (size_t)(y / 2) * row_floats(stage->upsampled);
    net->kernels->add_doubled(row, half, channels, stage->width, scratch);
    return scratch;
}

static void run_from_maps(struct fw_yunet *net, struct stage *stage)
{
    int before = fw_profile_switch(&net->profile, part_of(net, stage));
    float *second = net->pair + (size_t)stage->width * (size_t)stage->weights->in_channels;
    for (int y = 0; y < stage->height; y += 2) {
        const float *row0 = input_row(net, stage, y, net->pair);
        const float *row1 = y + 1 < stage->height ? input_row(net, stage, y + 1, second) : NULL;
        push_pair(net, stage, y / 2, row0, row1);
    }
    (void)fw_profile_switch(&net->profile, before);
}

static void fill_level(const struct fw_yunet *net, int level, struct fw_yunet_level *result)
{
    const struct stage *head = &net->stages[net->model->heads[level]];
    size_t cells = (size_t)head->width * (size_t)head->height;
    net->kernels->probabilities(head->map, cells);
    *result = (struct fw_yunet_level){8 << level, head->width, head->height, head->map};
}

void fw_yunet_run(struct fw_yunet *net, struct fw_yunet_level levels[3])
{
    int rest = fw_yunet_part_count(net) - 1;
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

int fw_yunet_part_count(const struct fw_yunet *net)
{
    return FW_FIRST_UNIT_PART + net->stage_count + 1;
}

void fw_yunet_part_name(const struct fw_yunet *net, int part, char name[48])
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

void fw_yunet_profile(struct fw_yunet *net, int64_t *part_ns)
{
    net->profile.part_ns = part_ns;
}

// Decides for each stage who feeds it: the first reader of a stage takes its rows as they come,
// any further one reads the stored map.
static void connect(struct fw_yunet *net)
{
    for (int i = 0; i < net->stage_count; i++) {
        const struct fw_yunet_unit *unit = &net->model->units[i];
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
    for (int level = 0; level < FW_YUNET_LEVELS; level++) {
        net->stages[net->model->heads[level]].kept = true;
    }
}

static int alloc_stage(struct stage *stage)
{
    size_t width = (size_t)stage->width, channels = (size_t)stage->weights->out_channels;
    stage->block_stride = (width + 2) * FW_BLOCK;
    stage->ring_row_floats = (width + 2) * channels;
    stage->ring = fw_floats_create(RING_ROWS, stage->ring_row_floats);
    bool failed = stage->ring == NULL;
    if (stage->next_pools) {
        stage->pooled = fw_floats_create(2, row_floats(stage) / 2);
        failed = failed || stage->pooled == NULL;
    }
    if (stage->kept) {
        size_t rows = ((size_t)stage->height + 1) / 2 * 2;
        stage->map = fw_floats_create(rows, row_floats(stage));
        failed = failed || stage->map == NULL;
    }
    return failed ? FW_ENOMEM : FW_OK;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static int alloc_net(struct fw_yunet *net)
{
    size_t longest = 0, pair = (size_t)(net->width / 2) * (size_t)net->model->stem_channels;
    for (int i = 0; i < net->stage_count; i++) {
        struct stage *stage = &net->stages[i];
        if (alloc_stage(stage) != FW_OK) {
            return FW_ENOMEM;
        }
        longest = max_size(longest, stage->ring_row_floats);
        pair = max_size(pair, max_size(row_floats(stage),
                                       (size_t)stage->width * (size_t)stage->weights->in_channels));
    }
    net->picture_stride = (size_t)(net->width + 1) * PIXEL;
    net->picture = fw_floats_create((size_t)net->height + 1, net->picture_stride);
    net->pair = fw_floats_create(2, pair);
    net->zero_row = fw_floats_create(1, longest);
    return net->picture != NULL && net->pair != NULL && net->zero_row != NULL ? FW_OK : FW_ENOMEM;
}

static bool is_valid_size(int size)
{
    return size >= 32 && size <= 8192 && size % 32 == 0;
}

int fw_yunet_create(struct fw_yunet **net, struct fw_yunet_model *model, int width, int height,
                    struct fw_error *error)
{
    *net = NULL;
    if (!is_valid_size(width) || !is_valid_size(height)) {
        return fw_fail(error, FW_EINVAL,
                       "a network input of %dx%d px is not possible; use multiples of 32 from 32 "
                       "to 8192",
                       width, height);
    }
    struct fw_yunet *made = calloc(1, sizeof(*made));
    if (made == NULL) {
        return fw_fail(error, FW_ENOMEM, "out of memory for the network's buffers");
    }
    made->model = fw_yunet_model_ref(model);
    made->kernels = model->kernels;
    made->width = width;
    made->height = height;
    made->stage_count = model->unit_count;
    for (int i = 0; i < made->stage_count; i++) {
        made->stages[i].weights = &model->units[i].weights;
        made->stages[i].width = width >> model->units[i].shift;
        made->stages[i].height = height >> model->units[i].shift;
    }
    connect(made);
    if (alloc_net(made) != FW_OK) {
        fw_yunet_destroy(made);
        return fw_fail(error, FW_ENOMEM,
                       "out of memory for a network input of %dx%d px; use a smaller input_size",
                       width, height);
    }
    *net = made;
    return FW_OK;
}

void fw_yunet_destroy(struct fw_yunet *net)
{
    if (net == NULL) {
        return;
    }
    for (int i = 0; i < net->stage_count; i++) {
        free(net->stages[i].ring);
        free(net->stages[i].map);
        free(net->stages[i].pooled);
    }
    free(net->picture);
    free(net->pair);
    free(net->zero_row);
    fw_yunet_model_unref(net->model);
    free(net);
}

float *fw_yunet_input(struct fw_yunet *net, size_t *stride_floats)
{
    *stride_floats = net->picture_stride;
    return net->picture + net->picture_stride + PIXEL;
}
