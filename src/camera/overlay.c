#include "camera/overlay.h"

#include "media/draw.h"
#include "media/font.h"
#include "util/clock.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_BYTES        256
#define ELLIPSIS          "\xE2\x80\xA6"
#define MAX_REASON_LINES  5
#define MAX_COORDINATE_PX 100000.0F

static const struct fw_color panel_color = {14, 17, 22, 168};
static const struct fw_color accent_color = {64, 196, 255, 255};
static const struct fw_color warning_color = {255, 179, 0, 255};
static const struct fw_color bright_color = {255, 255, 255, 255};
static const struct fw_color soft_color = {196, 204, 214, 255};
static const struct fw_color dim_color = {128, 138, 150, 255};
static const struct fw_color shadow_color = {0, 0, 0, 120};
static const struct fw_color label_color = {12, 14, 18, 255};
static const struct fw_color background_color = {20, 24, 30, 255};

// Bright enough for dark text on them, and far enough apart to tell two people from each other.
static const struct fw_color track_colors[] = {
    {64, 196, 255, 255},  {255, 179, 0, 255},  {118, 226, 90, 255}, {255, 110, 140, 255},
    {178, 150, 255, 255}, {250, 234, 90, 255}, {60, 226, 186, 255}, {255, 142, 66, 255},
};

struct fw_overlay {
    struct fw_font *text, *title;  // of the panel; labels are in the former
    struct fw_font *body, *poster; // of the placeholder
    int height_px;                 // of the picture
    int thickness_px, padding_px;
    int panel_width_px; // the widest so far: digits that come and go must not make it twitch
    int64_t time_s;     // what TIME says
    char time[TEXT_BYTES];
};

static int clamp_int(int value, int low, int high)
{
    if (value < low)
        return low;
    return value > high ? high : value;
}

static int max_int(int a, int b)
{
    return a > b ? a : b;
}

int fw_overlay_create(struct fw_overlay **out, int picture_height_px, struct fw_error *error)
{
    struct fw_overlay *overlay;
    int height = clamp_int(picture_height_px, 16, 8192);
    int text_px = clamp_int(height / 46, 12, 96);
    int status;

    *out = NULL;
    overlay = calloc(1, sizeof(*overlay));
    if (!overlay)
        return fw_fail(error, FW_ENOMEM, "no memory for an overlay; free some");
    overlay->height_px = height;
    overlay->thickness_px = clamp_int((height + 180) / 360, 2, 4);
    overlay->padding_px = text_px * 2 / 3;
    overlay->time_s = INT64_MIN;
    status = fw_font_open(&overlay->text, NULL, text_px, error);
    if (!status)
        status = fw_font_open_bold(&overlay->title, text_px * 5 / 4, error);
    if (!status)
        status = fw_font_open(&overlay->body, NULL, clamp_int(height / 26, 12, 160), error);
    if (!status)
        status = fw_font_open_bold(&overlay->poster, clamp_int(height / 11, 16, 400), error);
    if (status) {
        fw_overlay_destroy(overlay);
        return status;
    }
    *out = overlay;
    return FW_OK;
}

void fw_overlay_destroy(struct fw_overlay *overlay)
{
    if (!overlay)
        return;
    fw_font_close(overlay->text);
    fw_font_close(overlay->title);
    fw_font_close(overlay->body);
    fw_font_close(overlay->poster);
    free(overlay);
}

static int line_height(const struct fw_font *font)
{
    return fw_font_ascent_px(font) + fw_font_descent_px(font);
}

// Bytes of the longest start of TEXT that is at most WIDTH px wide.
static size_t fitting_bytes(struct fw_font *font, const char *text, int width)
{
    const char *next = text;
    const char *end = text;
    uint32_t code_point;

    while ((code_point = fw_utf8_next(&next))) {
        const struct fw_glyph *glyph = fw_font_glyph(font, code_point);

        width -= glyph ? glyph->advance : 0;
        if (width < 0)
            break;
        end = next;
    }
    return (size_t)(end - text);
}

// TEXT, or as much of it as fits with an ellipsis after it.
static void fit(struct fw_font *font, const char *text, int width, char out[TEXT_BYTES])
{
    size_t bytes = fitting_bytes(font, text, width);
    const size_t room = TEXT_BYTES - sizeof(ELLIPSIS);
    bool is_whole = bytes <= room && text[bytes] == '\0';

    if (!is_whole)
        bytes = fitting_bytes(font, text, width - fw_font_text_width(font, ELLIPSIS));
    if (bytes > room) {
        bytes = room;
        while (bytes > 0 && ((unsigned char)text[bytes] & 0xC0U) == 0x80U)
            bytes--;
    }
    memcpy(out, text, bytes);
    out[bytes] = '\0';
    if (!is_whole)
        memcpy(out + bytes, ELLIPSIS, sizeof(ELLIPSIS));
}

// Local time with its zone, made once a second.
static const char *time_text(struct fw_overlay *overlay, int64_t utc_us)
{
    int64_t seconds = utc_us / FW_US_PER_S - (utc_us % FW_US_PER_S < 0);
    time_t moment = (time_t)seconds;
    struct tm local;

    if (seconds == overlay->time_s)
        return overlay->time;
    if (!localtime_r(&moment, &local) ||
        strftime(overlay->time, sizeof(overlay->time), "%Y-%m-%d %H:%M:%S %Z", &local) == 0)
        overlay->time[0] = '\0';
    overlay->time_s = seconds;
    return overlay->time;
}

static void count_text(const struct fw_overlay_info *info, char text[TEXT_BYTES])
{
    double fps = isfinite(info->fps) && info->fps > 0.0 ? fmin(info->fps, 9999.0) : 0.0;

    if (info->face_count == 0)
        (void)snprintf(text, TEXT_BYTES, "%.1f fps   no faces", fps);
    else
        (void)snprintf(text, TEXT_BYTES, "%.1f fps   %d face%s", fps, info->face_count,
                       info->face_count == 1 ? "" : "s");
}

// The panel's words and where they go, in px from its upper left corner.
struct panel {
    char name[TEXT_BYTES], location[TEXT_BYTES], time[TEXT_BYTES], counts[TEXT_BYTES];
    int text_left, location_left, counts_left;
    int title_baseline, text_baseline;
    int width, height;
};

static void lay_out_panel(struct fw_overlay *overlay, const struct fw_overlay_info *info,
                          int picture_width, struct panel *panel)
{
    int padding = overlay->padding_px;
    int gap = padding * 3 / 2;
    int room = max_int(1, picture_width - 4 * padding - overlay->thickness_px);
    int title_end, text_end;
    char counts[TEXT_BYTES];

    panel->text_left = overlay->thickness_px + padding;
    fit(overlay->title, info->camera_name ? info->camera_name : "", room, panel->name);
    panel->location_left = panel->text_left + fw_font_text_width(overlay->title, panel->name) + gap;
    panel->location[0] = '\0';
    // A few letters and an ellipsis would say less than nothing.
    if (info->location && panel->location_left - panel->text_left < room * 3 / 4)
        fit(overlay->text, info->location, room - (panel->location_left - panel->text_left),
            panel->location);
    title_end = panel->location[0]
                    ? panel->location_left + fw_font_text_width(overlay->text, panel->location)
                    : panel->location_left - gap;
    fit(overlay->text, time_text(overlay, info->utc_us), room, panel->time);
    panel->counts_left = panel->text_left + fw_font_text_width(overlay->text, panel->time) + gap;
    count_text(info, counts);
    fit(overlay->text, counts, max_int(0, room - (panel->counts_left - panel->text_left)),
        panel->counts);
    text_end = panel->counts_left + fw_font_text_width(overlay->text, panel->counts);
    panel->title_baseline = padding / 2 + fw_font_ascent_px(overlay->title);
    panel->text_baseline = panel->title_baseline + fw_font_descent_px(overlay->title) +
                           padding / 4 + fw_font_ascent_px(overlay->text);
    panel->height = panel->text_baseline + fw_font_descent_px(overlay->text) + padding / 2;
    overlay->panel_width_px =
        max_int(overlay->panel_width_px, max_int(title_end, text_end) + padding);
    panel->width = overlay->panel_width_px;
}

static void draw_panel(struct fw_overlay *overlay, struct fw_frame *frame,
                       const struct fw_overlay_info *info)
{
    int left = overlay->padding_px & ~1;
    int top = left;
    struct panel panel;

    lay_out_panel(overlay, info, frame->width, &panel);
    fw_draw_fill(frame, left, top, panel.width, panel.height, panel_color);
    fw_draw_fill(frame, left, top, overlay->thickness_px, panel.height, accent_color);
    fw_draw_text(frame, overlay->title, left + panel.text_left, top + panel.title_baseline,
                 panel.name, bright_color);
    fw_draw_text(frame, overlay->text, left + panel.location_left, top + panel.title_baseline,
                 panel.location, soft_color);
    fw_draw_text(frame, overlay->text, left + panel.text_left, top + panel.text_baseline,
                 panel.time, bright_color);
    fw_draw_text(frame, overlay->text, left + panel.counts_left, top + panel.text_baseline,
                 panel.counts, soft_color);
}

// A face's box in whole pixels.
struct rectangle {
    int x, y, w, h;
};

static int to_px(float value)
{
    if (!(value > -MAX_COORDINATE_PX))
        return (int)-MAX_COORDINATE_PX;
    return value > MAX_COORDINATE_PX ? (int)MAX_COORDINATE_PX : (int)lroundf(value);
}

static struct rectangle to_rectangle(const struct fw_box *box)
{
    struct rectangle rectangle = {to_px(box->x), to_px(box->y), 0, 0};

    rectangle.w = to_px(box->x + box->w) - rectangle.x;
    rectangle.h = to_px(box->y + box->h) - rectangle.y;
    return rectangle;
}

static bool is_visible(const struct rectangle *box, const struct fw_frame *frame)
{
    return box->w > 0 && box->h > 0 && box->x < frame->width && box->y < frame->height &&
           box->x + box->w > 0 && box->y + box->h > 0;
}

// Corners of twice the thickness, a quarter of the shorter side long.
static void draw_corners(struct fw_frame *frame, const struct rectangle *box, int thickness,
                         struct fw_color color)
{
    int shorter = box->w < box->h ? box->w : box->h;
    int length = shorter / 4;
    int right = box->x + box->w;
    int bottom = box->y + box->h;
    int bold = 2 * thickness;

    if (length < 2 * bold)
        return;
    for (int i = 0; i < 4; i++) {
        bool is_right = i % 2;
        bool is_low = i / 2;

        fw_draw_fill(frame, is_right ? right - length : box->x, is_low ? bottom - bold : box->y,
                     length, bold, color);
        fw_draw_fill(frame, is_right ? right - bold : box->x, is_low ? bottom - length : box->y,
                     bold, length, color);
    }
}

static void draw_seen(struct fw_frame *frame, const struct rectangle *box, int thickness,
                      struct fw_color color)
{
    fw_draw_box(frame, box->x - 1, box->y - 1, box->w + 2, box->h + 2, 1, shadow_color);
    fw_draw_box(frame, box->x, box->y, box->w, box->h, thickness, color);
    draw_corners(frame, box, thickness, color);
}

// Starts and ends with a dash, so that the corners are closed: COUNT dashes, COUNT - 1 gaps.
static void draw_dashes(struct fw_frame *frame, const struct rectangle *box, bool is_vertical,
                        int offset, int thickness, struct fw_color color)
{
    int length = is_vertical ? box->h : box->w;
    int count = max_int(1, length / (8 * thickness));
    double period = (double)length / (2 * count - 1);

    for (int i = 0; i < count; i++) {
        int start = (int)(2 * i * period);
        int end = (int)ceil((2 * i + 1) * period);

        if (is_vertical)
            fw_draw_fill(frame, box->x + offset, box->y + start, thickness, end - start, color);
        else
            fw_draw_fill(frame, box->x + start, box->y + offset, end - start, thickness, color);
    }
}

static void draw_coasted(struct fw_frame *frame, const struct rectangle *box, int thickness,
                         struct fw_color color)
{
    int thin = max_int(2, thickness - 1);

    // A box much larger than the picture would have dashes without end.
    if (box->w > 4 * frame->width || box->h > 4 * frame->height) {
        fw_draw_box(frame, box->x, box->y, box->w, box->h, thin, color);
        return;
    }
    draw_dashes(frame, box, false, 0, thin, color);
    draw_dashes(frame, box, false, box->h - thin, thin, color);
    draw_dashes(frame, box, true, 0, thin, color);
    draw_dashes(frame, box, true, box->w - thin, thin, color);
}

// Above the box, below it where there is no room, else inside at its top.
static int label_top(const struct rectangle *box, int height, int picture_height)
{
    if (box->y - 1 - height >= 0)
        return box->y - 1 - height;
    if (box->y + box->h + 1 + height <= picture_height)
        return box->y + box->h + 1;
    return max_int(0, box->y);
}

static void draw_label(struct fw_overlay *overlay, struct fw_frame *frame,
                       const struct fw_overlay_face *face, const struct rectangle *box,
                       struct fw_color color)
{
    int padding = overlay->padding_px / 3;
    int height = line_height(overlay->text) + padding;
    char text[64];
    int width, left, top;

    (void)snprintf(text, sizeof(text), "#%" PRIu64 " %.2f", face->track,
                   (double)fminf(1.0F, fmaxf(0.0F, face->face.score)));
    width = fw_font_text_width(overlay->text, text) + 4 * padding;
    left = max_int(0, box->x + width > frame->width ? frame->width - width : box->x);
    top = label_top(box, height, frame->height);
    color.a = 232;
    fw_draw_fill(frame, left, top, width, height, color);
    fw_draw_text(frame, overlay->text, left + 2 * padding,
                 top + padding / 2 + fw_font_ascent_px(overlay->text), text, label_color);
}

void fw_overlay_draw_faces(struct fw_overlay *overlay, struct fw_frame *frame,
                           const struct fw_overlay_face *faces, int face_count)
{
    const size_t colors = sizeof(track_colors) / sizeof(track_colors[0]);

    for (int i = 0; i < face_count; i++) {
        struct rectangle box = to_rectangle(&faces[i].face.box);
        struct fw_color color = track_colors[faces[i].track % colors];

        if (!is_visible(&box, frame))
            continue;
        if (faces[i].is_coasted)
            draw_coasted(frame, &box, overlay->thickness_px, color);
        else
            draw_seen(frame, &box, overlay->thickness_px, color);
        draw_label(overlay, frame, &faces[i], &box, color);
    }
}

void fw_overlay_draw(struct fw_overlay *overlay, struct fw_frame *frame,
                     const struct fw_overlay_info *info)
{
    draw_panel(overlay, frame, info);
    fw_overlay_draw_faces(overlay, frame, info->faces, info->face_count);
}

// Bytes of the next line: whole words where they fit, else as much of a word as does.
static size_t next_line(struct fw_font *font, const char *text, int width)
{
    size_t bytes = fitting_bytes(font, text, width);
    size_t end = bytes;
    const char *rest = text + 1;

    if (text[bytes] == '\0' || text[bytes] == ' ')
        return bytes;
    while (end > 0 && text[end - 1] != ' ')
        end--;
    if (end > 0)
        return end;
    // At least one character, however narrow the picture.
    while (((unsigned char)*rest & 0xC0U) == 0x80U)
        rest++;
    return bytes > 0 ? bytes : (size_t)(rest - text);
}

static void draw_centered(struct fw_frame *frame, struct fw_font *font, int baseline,
                          const char *text, struct fw_color color)
{
    fw_draw_text(frame, font, (frame->width - fw_font_text_width(font, text)) / 2, baseline, text,
                 color);
}

// Lines of TEXT, centered, from TOP down. The last one that is allowed ends in an ellipsis.
static void draw_wrapped(struct fw_frame *frame, struct fw_font *font, int top, int width,
                         const char *text, struct fw_color color)
{
    int height = line_height(font) * 5 / 4;

    for (int i = 0; i < MAX_REASON_LINES && *text; i++) {
        size_t bytes = next_line(font, text, width);
        char line[TEXT_BYTES];

        if (i == MAX_REASON_LINES - 1 || bytes >= sizeof(line)) {
            fit(font, text, width, line);
        } else {
            memcpy(line, text, bytes);
            line[bytes > 0 && text[bytes - 1] == ' ' ? bytes - 1 : bytes] = '\0';
        }
        text += bytes;
        while (*text == ' ')
            text++;
        draw_centered(frame, font, top + i * height + fw_font_ascent_px(font), line, color);
    }
}

static int count_lines(struct fw_font *font, const char *text, int width)
{
    int count = 0;

    while (*text && count < MAX_REASON_LINES) {
        text += next_line(font, text, width);
        while (*text == ' ')
            text++;
        count++;
    }
    return count;
}

void fw_overlay_draw_placeholder(struct fw_overlay *overlay, struct fw_frame *frame,
                                 const struct fw_overlay_info *info, const char *reason)
{
    int width = frame->width * 5 / 6;
    int gap = line_height(overlay->body) * 2 / 3;
    int body_height = line_height(overlay->body) * 5 / 4;
    const char *why = reason && *reason ? reason : "no picture";
    bool has_location = info->location && *info->location;
    int bar = max_int(2, overlay->height_px / 180);
    int height = line_height(overlay->poster) + (has_location ? body_height : 0) + 2 * gap + bar +
                 body_height * count_lines(overlay->body, why, width);
    int top = max_int(0, (frame->height - height) / 2);
    char line[TEXT_BYTES];

    fw_draw_clear(frame, background_color);
    fit(overlay->poster, info->camera_name ? info->camera_name : "", width, line);
    draw_centered(frame, overlay->poster, top + fw_font_ascent_px(overlay->poster), line,
                  bright_color);
    top += line_height(overlay->poster);
    if (has_location) {
        fit(overlay->body, info->location, width, line);
        draw_centered(frame, overlay->body, top + fw_font_ascent_px(overlay->body), line,
                      dim_color);
        top += body_height;
    }
    top += gap;
    fw_draw_fill(frame, frame->width / 2 - body_height, top, 2 * body_height, bar, warning_color);
    top += bar + gap;
    draw_wrapped(frame, overlay->body, top, width, why, soft_color);
    fit(overlay->text, time_text(overlay, info->utc_us), width, line);
    draw_centered(frame, overlay->text, frame->height - 2 * overlay->padding_px, line, dim_color);
}
