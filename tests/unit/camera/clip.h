// For tests: makes a clip with the product's own encoder and muxers, and reads what was published.
#ifndef FW_TEST_CLIP_H
#define FW_TEST_CLIP_H

#include <stdint.h>

// The clip that clip_set_up() makes.
#define CLIP_WIDTH  320
#define CLIP_HEIGHT 240
#define CLIP_FRAMES 30
#define CLIP_FPS    25

// What libavformat finds in a published file.
struct clip_info {
    int packets, keyframes;
    int falling_dts, reordered; // packets whose dts does not rise; whose pts is not their dts
    int width, height;
    int64_t longest_keyframe_interval_ms, duration_ms;
};

// Writes FRAMES pictures of a moving square to PATH, FPS a second.
void clip_make(const char *path, int width, int height, int frames, int fps);
// Appends a copy of FROM to TO, both MPEG-TS, with times SHIFT_MS later.
void clip_append(const char *from, const char *to, int64_t shift_ms);
void clip_inspect(const char *path, struct clip_info *info);
// A path for a file of this test alone; to be unlink()ed and free()d.
char *clip_path(const char *name);
// A group's fixture: STATE is the path of an MP4 clip, made once for all its tests.
int clip_set_up(void **state);
int clip_tear_down(void **state);

#endif
