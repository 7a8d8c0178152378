// For tests: makes a clip with the product's own encoder and muxers, and reads what was published.
#ifndef FW_TEST_CLIP_H
#define FW_TEST_CLIP_H

#include <stdint.h>

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

#endif
