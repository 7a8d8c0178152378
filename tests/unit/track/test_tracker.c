// The tracker on random scenes: what must hold whatever people do.
#include "track/tracker.h"
#include "track_tests.h"
#include "util/clock.h"
#include "util/error.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_IDS = 4096, MAX_WALKERS = 12 };

static const struct fw_tracker_options defaults = {.high_score = 0.7F,
                                                   .low_score = 0.3F,
                                                   .confirm_hits = 2,
                                                   .confirm_window = 3,
                                                   .lost_us = 1500000};

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

static float uniform(uint32_t *state, float from, float to)
{
    return from + (to - from) * (float)(next_random(state) % 10000) / 10000.0F;
}

// What is known of each track number.
struct ledger {
    unsigned char seen[MAX_IDS], confirmed[MAX_IDS], ended[MAX_IDS], present[MAX_IDS];
    uint64_t highest;
};

static void note(struct ledger *ledger, const struct fw_track *tracks, size_t count)
{
    unsigned char present[MAX_IDS] = {0};

    for (size_t i = 0; i < count; i++) {
        const struct fw_track *track = &tracks[i];
        assert_true(track->id > 0 && track->id < MAX_IDS);
        assert_false(present[track->id]);
        present[track->id] = 1;
        if (!ledger->seen[track->id]) {
            assert_true(track->id > ledger->highest); // never used twice
            ledger->highest = track->id;
        } else {
            assert_true(ledger->present[track->id]); // what is gone does not come back
        }
        ledger->seen[track->id] = 1;
        assert_int_equal(ledger->ended[track->id], 0);
        if (track->is_new) {
            assert_int_equal(ledger->confirmed[track->id], 0);
            ledger->confirmed[track->id] = 1;
        }
        assert_int_equal(track->state != FW_TRACK_TENTATIVE, ledger->confirmed[track->id]);
        ledger->ended[track->id] = track->state == FW_TRACK_ENDED;
        assert_true(isfinite(track->face.box.x) && track->face.box.w > 0 && track->face.box.h > 0);
    }
    for (uint64_t id = 1; id <= ledger->highest; id++)
        if (ledger->present[id] && !present[id]) // confirmed ones leave by way of their end
            assert_int_equal(ledger->confirmed[id], ledger->ended[id]);
    memcpy(ledger->present, present, sizeof(present));
}

struct walker {
    float x, y, size, vx, vy; // px, px/s
};

static void place(struct walker *walkers, int count, uint32_t *random)
{
    for (int i = 0; i < count; i++) {
        float size = uniform(random, 20, 80);
        walkers[i] = (struct walker){uniform(random, 0, 1280), uniform(random, 0, 720), size,
                                     uniform(random, -6, 6) * size, uniform(random, -1, 1) * size};
    }
}

static size_t look(struct walker *walkers, int count, float dt_s, uint32_t *random,
                   struct fw_face *faces)
{
    size_t seen = 0;

    for (int i = 0; i < count; i++) {
        struct walker *w = &walkers[i];
        w->x += w->vx * dt_s;
        w->y += w->vy * dt_s;
        if (w->x < 0 || w->x > 1280)
            w->vx = -w->vx;
        if (w->y < 0 || w->y > 720)
            w->vy = -w->vy;
        if (next_random(random) % 5 == 0)
            continue; // missed
        faces[seen++] =
            (struct fw_face){.box = {w->x + uniform(random, -1, 1), w->y + uniform(random, -1, 1),
                                     w->size, w->size * 1.2F},
                             .score = next_random(random) % 4 == 0 ? 0.5F : 0.9F};
    }
    return seen;
}

// A scene of 30 s; returns a sum over all that was told, to compare runs.
static double play(uint32_t seed)
{
    struct fw_tracker *tracker = fw_tracker_create(&defaults);
    struct ledger *ledger = calloc(1, sizeof(*ledger));
    struct walker walkers[MAX_WALKERS];
    uint32_t random = seed;
    int count = 1 + (int)(next_random(&random) % MAX_WALKERS);
    const struct fw_track *tracks;
    size_t track_count;
    int64_t time_us = 0;
    double sum = 0;

    assert_non_null(tracker);
    assert_non_null(ledger);
    place(walkers, count, &random);
    for (int i = 0; i < 300; i++) {
        struct fw_face faces[MAX_WALKERS];
        int64_t step_us = 50000 + next_random(&random) % 150000;
        size_t seen = look(walkers, count, (float)step_us / 1e6F, &random, faces);
        time_us += step_us;
        if (next_random(&random) % 20 == 0)
            assert_int_equal(fw_tracker_advance(tracker, time_us += 500000, &tracks, &track_count),
                             FW_OK);
        else
            assert_int_equal(
                fw_tracker_update(tracker, time_us, faces, seen, &tracks, &track_count), FW_OK);
        note(ledger, tracks, track_count);
        for (size_t t = 0; t < track_count; t++)
            sum += (double)tracks[t].id * (double)tracks[t].face.box.x + (double)tracks[t].state;
    }
    assert_int_equal(fw_tracker_advance(tracker, time_us + 60000000, &tracks, &track_count), FW_OK);
    note(ledger, tracks, track_count);
    assert_true(ledger->highest >= 1);
    for (uint64_t id = 1; id <= ledger->highest; id++)
        assert_int_equal(ledger->confirmed[id], ledger->ended[id]);
    free(ledger);
    fw_tracker_destroy(tracker);
    return sum;
}

static void numbers_are_unique_and_every_confirmed_track_ends_once(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 200; seed++)
        play(seed);
}

static void the_same_calls_give_the_same_tracks(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++)
        assert_true(play(seed) == play(seed));
}

// The number of the active track that lies nearest to X.
static uint64_t id_near(const struct fw_track *tracks, size_t count, float x)
{
    uint64_t id = 0;
    float best = 1e9F;

    for (size_t i = 0; i < count; i++) {
        float distance = fabsf(tracks[i].face.box.x - x);
        if (tracks[i].state == FW_TRACK_ACTIVE && distance < best) {
            best = distance;
            id = tracks[i].id;
        }
    }
    return id;
}

// Two people pass each other, detections jittering and now and then missing.
static int crossing_keeps_ids(uint32_t seed)
{
    struct fw_tracker *tracker = fw_tracker_create(&defaults);
    uint32_t random = seed;
    float speed = uniform(&random, 80, 240), lane = uniform(&random, 10, 40);
    const struct fw_track *tracks = NULL;
    size_t count = 0;
    uint64_t left = 0, right = 0;
    int kept;

    assert_non_null(tracker);
    for (int i = 0; i <= 40; i++) {
        float t = (float)i * 0.1F, a = 100 + speed * t, b = 100 + speed * (4 - t);
        struct fw_face faces[2] = {
            {.box = {a + uniform(&random, -1, 1), 100, 50, 60}, .score = 0.9F},
            {.box = {b + uniform(&random, -1, 1), 100 + lane, 50, 60}, .score = 0.9F}};
        int misses = i > 4 && i < 38 ? (int)(next_random(&random) % 10) : 9;
        size_t first = misses == 0 ? 1 : 0, seen = misses <= 1 ? 1 : 2;
        assert_int_equal(
            fw_tracker_update(tracker, i * INT64_C(100000), faces + first, seen, &tracks, &count),
            FW_OK);
        if (i == 4) {
            left = id_near(tracks, count, a);
            right = id_near(tracks, count, b);
        }
    }
    kept = id_near(tracks, count, 100 + 4 * speed) == left && id_near(tracks, count, 100) == right;
    assert_true(left != right && left != 0 && right != 0);
    fw_tracker_destroy(tracker);
    return kept;
}

static void people_who_cross_keep_their_numbers(void **state)
{
    int kept = 0;
    (void)state;

    for (uint32_t seed = 1; seed <= 500; seed++)
        kept += crossing_keeps_ids(seed);
    print_message("%d of 500 crossings kept both numbers\n", kept);
    assert_true(kept >= 490);
}

static void five_hundred_faces_are_quick(void **state)
{
    struct fw_tracker *tracker = fw_tracker_create(&defaults);
    static struct fw_face faces[500];
    const struct fw_track *tracks;
    size_t count = 0;
    uint32_t random = 3;
    int64_t began_us = fw_monotonic_us(), took_us;
    (void)state;

    assert_non_null(tracker);
    for (int i = 0; i < 10; i++) {
        for (int j = 0; j < 500; j++)
            faces[j] =
                (struct fw_face){.box = {(float)(j % 25 * 50) + uniform(&random, -8, 8),
                                         (float)(j / 25 * 50) + uniform(&random, -8, 8), 45, 45},
                                 .score = 0.9F};
        assert_int_equal(
            fw_tracker_update(tracker, i * INT64_C(100000), faces, 500, &tracks, &count), FW_OK);
    }
    took_us = (fw_monotonic_us() - began_us) / 10;
    print_message("500 faces: %lld us an analysis\n", (long long)took_us);
    assert_int_equal(count, 500);
    assert_true(took_us < 500000); // some 10 ms; sanitizers and a busy machine take their share
    fw_tracker_destroy(tracker);
}

int run_tracker_tests(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_unique_and_every_confirmed_track_ends_once),
        cmocka_unit_test(the_same_calls_give_the_same_tracks),
        cmocka_unit_test(people_who_cross_keep_their_numbers),
        cmocka_unit_test(five_hundred_faces_are_quick),
    };

    return cmocka_run_group_tests_name("tracker, random scenes", tests, NULL, NULL);
}
