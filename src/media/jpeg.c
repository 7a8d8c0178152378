#include "media/jpeg.h"

#include "media/ycc.h"
#include "util/queue.h"
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#define MAX_SIDE_PX      16384
#define MAX_SCANS        200
#define MAX_MEMORY_BYTES (1024L * 1024 * 1024)
#define MCU_PX           16 // luma rows and columns of one 4:2:0 unit
#define CHROMA_ROWS      (MCU_PX / 2)
#define FIRST_OUT_BYTES  65536

// libjpeg reports through its structs: this one is reached by a cast from its first member.
struct failure {
    struct jpeg_error_mgr manager;
    jmp_buf back;
    char message[JMSG_LENGTH_MAX];
    bool is_no_memory;
};

// A growing output. `bytes` are malloc'd and stay reachable whatever libjpeg does.
struct output {
    struct jpeg_destination_mgr manager;
    uint8_t *bytes;
    size_t capacity;
};

// All that lives across a jump: no local variable needs to survive one.
struct encoder {
    struct jpeg_compress_struct jpeg;
    struct failure failure;
    struct output output;
    const struct fw_frame *frame;
    struct fw_ycc ycc;
    uint8_t *scratch; // MCU_PX rows of luma, then CHROMA_ROWS of U and as many of V
    int padded_width; // of luma: whole units
    bool is_direct;   // the planes' own rows go in
};

struct decoder {
    struct jpeg_decompress_struct jpeg;
    struct failure failure;
    struct jpeg_progress_mgr progress;
    struct fw_frame *frame;
    uint8_t *row; // CMYK, on its way to BGR
};

static _Noreturn void fail_and_jump(j_common_ptr jpeg)
{
    struct failure *failure = (struct failure *)(void *)jpeg->err;

    jpeg->err->format_message(jpeg, failure->message);
    failure->is_no_memory = jpeg->err->msg_code == JERR_OUT_OF_MEMORY;
    longjmp(failure->back, 1);
}

// Warnings are damage that libjpeg papered over. A picture whose pixels end too early is no
// picture; the others (bytes between markers, a missing end marker) do no harm to the pixels.
static void count_warning(j_common_ptr jpeg, int level)
{
    if (level >= 0)
        return;
    jpeg->err->num_warnings++;
    if (jpeg->err->msg_code == JWRN_HIT_MARKER)
        fail_and_jump(jpeg);
}

static struct jpeg_error_mgr *init_failure(struct failure *failure)
{
    struct jpeg_error_mgr *manager = jpeg_std_error(&failure->manager);

    manager->error_exit = fail_and_jump;
    manager->emit_message = count_warning;
    return manager;
}

static void grow_output(j_compress_ptr jpeg, size_t used)
{
    struct output *output = (struct output *)(void *)jpeg->dest;
    size_t capacity = output->capacity ? output->capacity * 2 : FIRST_OUT_BYTES;
    uint8_t *bytes = realloc(output->bytes, capacity);

    if (!bytes)
        ERREXIT1(jpeg, JERR_OUT_OF_MEMORY, 0);
    output->bytes = bytes;
    output->capacity = capacity;
    output->manager.next_output_byte = bytes + used;
    output->manager.free_in_buffer = capacity - used;
}

static void init_output(j_compress_ptr jpeg)
{
    grow_output(jpeg, 0);
}

static boolean empty_output(j_compress_ptr jpeg)
{
    // libjpeg calls this with the buffer full, whatever free_in_buffer says.
    grow_output(jpeg, ((struct output *)(void *)jpeg->dest)->capacity);
    return TRUE;
}

static void end_output(j_compress_ptr jpeg)
{
    (void)jpeg;
}

// The last row again where a unit reaches below the picture.
static const uint8_t *source_row(const struct fw_frame *frame, int plane, int row)
{
    int last = fw_frame_row_count(frame, plane) - 1;

    return frame->planes[plane] + (ptrdiff_t)(row < last ? row : last) * frame->strides[plane];
}

static void extend_row(uint8_t *row, int width, int padded_width)
{
    memset(row + width, row[width - 1], (size_t)(padded_width - width));
}

// Luma rows and chroma rows of unit row TOP (in luma rows), converted and padded, into scratch.
static void fill_scratch(struct encoder *encoder, int top)
{
    const struct fw_frame *frame = encoder->frame;
    int width = encoder->padded_width;
    uint8_t *u = encoder->scratch + (size_t)width * MCU_PX;
    uint8_t *v = u + (size_t)(width / 2) * CHROMA_ROWS;
    bool is_nv12 = frame->format == FW_PIXEL_NV12;

    for (int i = 0; i < CHROMA_ROWS; i++) {
        uint8_t *luma = encoder->scratch + (size_t)width * (size_t)(2 * i);
        const uint8_t *chroma = source_row(frame, 1, top / 2 + i);
        struct fw_ycc_rows rows = {
            .luma = {source_row(frame, 0, top + 2 * i), source_row(frame, 0, top + 2 * i + 1)},
            .u = chroma,
            .v = is_nv12 ? chroma + 1 : source_row(frame, 2, top / 2 + i),
            .chroma_step = is_nv12 ? 2 : 1,
            .width = frame->width,
            .out_luma = {luma, luma + width},
            .out_u = u + (size_t)(width / 2) * (size_t)i,
            .out_v = v + (size_t)(width / 2) * (size_t)i,
        };

        fw_ycc_convert(&encoder->ycc, &rows);
        extend_row(rows.out_luma[0], frame->width, width);
        extend_row(rows.out_luma[1], frame->width, width);
        extend_row(rows.out_u, (frame->width + 1) / 2, width / 2);
        extend_row(rows.out_v, (frame->width + 1) / 2, width / 2);
    }
}

// libjpeg's interface takes rows without const, and only reads them.
static JSAMPROW as_sample_row(const uint8_t *row)
{
    union {
        const uint8_t *in;
        JSAMPROW out;
    } pointer = {.in = row};

    return pointer.out;
}

static void write_unit_row(struct encoder *encoder, int top)
{
    JSAMPROW luma[MCU_PX], u[CHROMA_ROWS], v[CHROMA_ROWS];
    JSAMPARRAY planes[3] = {luma, u, v};
    size_t width = (size_t)encoder->padded_width;
    uint8_t *scratch_u = encoder->scratch + width * MCU_PX;

    if (!encoder->is_direct)
        fill_scratch(encoder, top);
    for (int i = 0; i < MCU_PX; i++)
        luma[i] = encoder->is_direct ? as_sample_row(source_row(encoder->frame, 0, top + i))
                                     : encoder->scratch + width * (size_t)i;
    for (size_t i = 0; i < CHROMA_ROWS; i++) {
        int row = top / 2 + (int)i;
        u[i] = encoder->is_direct ? as_sample_row(source_row(encoder->frame, 1, row))
                                  : scratch_u + width / 2 * i;
        v[i] = encoder->is_direct ? as_sample_row(source_row(encoder->frame, 2, row))
                                  : scratch_u + width / 2 * (CHROMA_ROWS + i);
    }
    jpeg_write_raw_data(&encoder->jpeg, planes, MCU_PX);
}

static void encode_yuv(struct encoder *encoder)
{
    encoder->jpeg.raw_data_in = TRUE;
    jpeg_start_compress(&encoder->jpeg, TRUE);
    for (int top = 0; top < encoder->frame->height; top += MCU_PX)
        write_unit_row(encoder, top);
}

static void encode_bgr(struct encoder *encoder)
{
    jpeg_start_compress(&encoder->jpeg, TRUE);
    for (int y = 0; y < encoder->frame->height; y++) {
        JSAMPROW row = as_sample_row(source_row(encoder->frame, 0, y));
        jpeg_write_scanlines(&encoder->jpeg, &row, 1);
    }
}

static int prepare_scratch(struct encoder *encoder)
{
    const struct fw_frame *frame = encoder->frame;

    encoder->padded_width = (frame->width + MCU_PX - 1) / MCU_PX * MCU_PX;
    fw_ycc_init(&encoder->ycc, frame->matrix, frame->full_range);
    encoder->is_direct = frame->format == FW_PIXEL_I420 && frame->matrix == FW_MATRIX_BT601 &&
                         frame->full_range && encoder->padded_width == frame->width;
    if (encoder->is_direct || frame->format == FW_PIXEL_BGR24)
        return FW_OK;
    encoder->scratch = malloc((size_t)encoder->padded_width * (MCU_PX + CHROMA_ROWS));
    return encoder->scratch ? FW_OK : FW_ENOMEM;
}

// All that may jump. What it changes lies in ENCODER, not in locals.
static int run_encoder(struct encoder *encoder, int quality)
{
    struct jpeg_compress_struct *jpeg = &encoder->jpeg;
    bool is_bgr = encoder->frame->format == FW_PIXEL_BGR24;

    jpeg->err = init_failure(&encoder->failure);
    if (setjmp(encoder->failure.back))
        return encoder->failure.is_no_memory ? FW_ENOMEM : FW_EIO;
    jpeg_create_compress(jpeg);
    encoder->output.manager.init_destination = init_output;
    encoder->output.manager.empty_output_buffer = empty_output;
    encoder->output.manager.term_destination = end_output;
    jpeg->dest = &encoder->output.manager;
    jpeg->image_width = (JDIMENSION)encoder->frame->width;
    jpeg->image_height = (JDIMENSION)encoder->frame->height;
    jpeg->input_components = 3;
    jpeg->in_color_space = is_bgr ? JCS_EXT_BGR : JCS_YCbCr;
    jpeg_set_defaults(jpeg);
    jpeg_set_quality(jpeg, quality, TRUE);
    if (is_bgr)
        encode_bgr(encoder);
    else
        encode_yuv(encoder);
    jpeg_finish_compress(jpeg);
    return FW_OK;
}

int fw_jpeg_encode(const struct fw_frame *frame, int quality, struct fw_bytes **out,
                   struct fw_error *error)
{
    struct encoder *encoder;
    int status;

    *out = NULL;
    if (quality < 1 || quality > 100)
        return fw_fail(error, FW_EINVAL, "JPEG quality of %d; use 1 to 100", quality);
    encoder = calloc(1, sizeof(*encoder));
    if (!encoder)
        return fw_fail(error, FW_ENOMEM, "no memory for a JPEG; free some");
    encoder->frame = frame;
    status = prepare_scratch(encoder);
    if (!status)
        status = run_encoder(encoder, quality);
    if (!status) {
        *out = fw_bytes_create(encoder->output.bytes,
                               encoder->output.capacity - encoder->output.manager.free_in_buffer);
        encoder->output.bytes = NULL;
        if (!*out)
            status = FW_ENOMEM;
    }
    if (status == FW_ENOMEM)
        (void)fw_fail(error, status, "no memory for a JPEG; free some");
    else if (status)
        (void)fw_fail(error, status, "JPEG compression failed: %s; report this",
                      encoder->failure.message);
    jpeg_destroy_compress(&encoder->jpeg);
    free(encoder->output.bytes);
    free(encoder->scratch);
    free(encoder);
    return status;
}

// Thousands of scans over one picture cost hours, and no camera makes them.
static void limit_scans(j_common_ptr common)
{
    j_decompress_ptr jpeg = (j_decompress_ptr)common;

    if (jpeg->input_scan_number > MAX_SCANS)
        ERREXIT(common, JERR_BAD_PROGRESSION);
}

// Adobe's inverted CMYK, 255 meaning no ink.
static void convert_cmyk(const uint8_t *cmyk, uint8_t *bgr, int width)
{
    for (int x = 0; x < width; x++, cmyk += 4, bgr += 3) {
        int key = cmyk[3];

        for (int i = 0; i < 3; i++)
            bgr[2 - i] = (uint8_t)(key - ((255 - cmyk[i]) * key >> 8));
    }
}

static void read_rows(struct decoder *decoder)
{
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    struct fw_frame *frame = decoder->frame;

    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *to =
            frame->planes[0] + (ptrdiff_t)jpeg->output_scanline * (ptrdiff_t)frame->strides[0];
        JSAMPROW row = decoder->row ? decoder->row : to;

        if (jpeg_read_scanlines(jpeg, &row, 1) == 1 && decoder->row)
            convert_cmyk(decoder->row, to, frame->width);
    }
}

static int prepare_output(struct decoder *decoder)
{
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    bool is_cmyk = jpeg->num_components == 4;

    if (jpeg->image_width > MAX_SIDE_PX || jpeg->image_height > MAX_SIDE_PX)
        return FW_EFULL;
    jpeg->out_color_space = is_cmyk ? JCS_CMYK : JCS_EXT_BGR;
    decoder->frame =
        fw_frame_create(FW_PIXEL_BGR24, (int)jpeg->image_width, (int)jpeg->image_height);
    if (is_cmyk)
        decoder->row = malloc((size_t)jpeg->image_width * 4);
    return decoder->frame && (decoder->row || !is_cmyk) ? FW_OK : FW_ENOMEM;
}

// All that may jump. What it changes lies in DECODER, not in locals.
static int run_decoder(struct decoder *decoder, const uint8_t *data, size_t length)
{
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    int status;

    jpeg->err = init_failure(&decoder->failure);
    if (setjmp(decoder->failure.back))
        return decoder->failure.is_no_memory ? FW_ENOMEM : FW_EFORMAT;
    jpeg_create_decompress(jpeg);
    jpeg->mem->max_memory_to_use = MAX_MEMORY_BYTES;
    decoder->progress.progress_monitor = limit_scans;
    jpeg->progress = &decoder->progress;
    jpeg_mem_src(jpeg, data, (unsigned long)length);
    (void)jpeg_read_header(jpeg, TRUE);
    status = prepare_output(decoder);
    if (status)
        return status;
    jpeg->dct_method = JDCT_ISLOW;
    jpeg->do_fancy_upsampling = TRUE;
    (void)jpeg_start_decompress(jpeg);
    read_rows(decoder);
    return FW_OK;
}

static void explain(const struct decoder *decoder, int status, struct fw_error *error)
{
    if (status == FW_ENOMEM)
        (void)fw_fail(error, status, "no memory for a JPEG picture; free some");
    else if (status == FW_EFULL)
        (void)fw_fail(error, status, "the JPEG is %u x %u pixels; %d a side are the most",
                      decoder->jpeg.image_width, decoder->jpeg.image_height, MAX_SIDE_PX);
    else if (status)
        (void)fw_fail(error, status, "not a whole JPEG (%s); get the picture again",
                      decoder->failure.message);
}

int fw_jpeg_decode(const uint8_t *data, size_t length, struct fw_frame **out,
                   struct fw_error *error)
{
    struct decoder *decoder;
    int status;

    *out = NULL;
    if (length == 0)
        return fw_fail(error, FW_EFORMAT, "the JPEG is empty; get the picture again");
    decoder = calloc(1, sizeof(*decoder));
    if (!decoder)
        return fw_fail(error, FW_ENOMEM, "no memory for a JPEG picture; free some");
    status = run_decoder(decoder, data, length);
    explain(decoder, status, error);
    if (!status) {
        *out = decoder->frame;
        decoder->frame = NULL;
    }
    jpeg_destroy_decompress(&decoder->jpeg);
    fw_frame_unref(decoder->frame);
    free(decoder->row);
    free(decoder);
    return status;
}
