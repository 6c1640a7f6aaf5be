/* workload.c -- what is done, in which order: the list of workloads. */
#include "workload.h"

#include <string.h>

static ml_durability any_level(ml_play *play)
{
    unsigned die = ml_dice_below(&play->dice, play->faults ? 4 : 5);
    return die < 2 ? ML_OS : die < 4 ? ML_DISK : ML_MEMORY;
}

static ml_durability disk_or_os(ml_play *play)
{
    return ml_dice_one_in(&play->dice, 2) ? ML_OS : ML_DISK;
}

static void steps_single(ml_play *play)
{
    for (unsigned n = 0; n < 24; n++)
        ml_play_append(play, &(ml_plan){.size_min = 20, .size_max = 300});
    ml_play_retry(play, 0);
}

static void steps_levels(ml_play *play)
{
    for (unsigned n = 0; n < 24; n++) {
        ml_play_append(
            play, &(ml_plan){
                      .events = 3, .size_min = 20, .size_max = 300, .durability = any_level(play)});
        if (ml_dice_one_in(&play->dice, 8)) ml_play_flush(play);
    }
}

static void steps_batch(ml_play *play)
{
    for (unsigned n = 0; n < 10; n++)
        ml_play_append(play, &(ml_plan){.events = 16,
                                        .size_min = 20,
                                        .size_max = 200,
                                        .durability = n % 3 == 1 ? ML_OS : ML_DISK});
}

static void steps_streams(ml_play *play)
{
    for (unsigned n = 0; n < 14; n++)
        ml_play_append(play, &(ml_plan){.writes = 4,
                                        .events = 3,
                                        .size_min = 20,
                                        .size_max = 200,
                                        .durability = n % 4 == 1 ? ML_OS : ML_DISK,
                                        .expected = n % 2 ? ML_PLAN_RIGHT : 0});
    ml_play_look(play);
}

static void steps_conditional(ml_play *play)
{
    for (unsigned n = 0; n < 30; n++) {
        unsigned kind = ml_dice_below(&play->dice, 6);
        ml_play_append(play, &(ml_plan){.writes = 2,
                                        .events = 2,
                                        .size_min = 20,
                                        .size_max = 120,
                                        .durability = kind == 0 ? ML_OS : ML_DISK,
                                        .expected = kind < 3    ? ML_PLAN_RIGHT
                                                    : kind == 3 ? ML_PLAN_WRONG
                                                                : 0,
                                        .condition = kind == 4  ? ML_PLAN_WRONG
                                                     : kind > 1 ? ML_PLAN_RIGHT
                                                                : 0});
    }
    ml_play_look(play);
}

static void steps_roll(ml_play *play)
{
    for (unsigned n = 0; n < 26; n++)
        ml_play_append(play,
                       &(ml_plan){.events = 2,
                                  .size_min = 500,
                                  .size_max = 2500,
                                  .durability = ml_dice_one_in(&play->dice, 3) ? ML_DISK : ML_OS});
    ml_play_flush(play);
    ml_play_look(play);
}

static void steps_index(ml_play *play)
{
    for (unsigned n = 0; n < 30; n++)
        ml_play_append(play,
                       &(ml_plan){.events = 8,
                                  .size_min = 10,
                                  .size_max = 60,
                                  .durability = ml_dice_one_in(&play->dice, 4) ? ML_DISK : ML_OS});
    ml_play_look(play);
}

static void steps_import(ml_play *play)
{
    for (unsigned n = 0; n < 5; n++)
        ml_play_append(play,
                       &(ml_plan){.writes = 6, .events = 20, .size_min = 20, .size_max = 300});
    ml_play_retry(play, 3);
}

static void steps_pipeline(ml_play *play)
{
    for (unsigned n = 0; n < 10; n++) {
        unsigned group = 1 + ml_dice_below(&play->dice, 4);
        for (unsigned i = 0; i < group; i++) {
            unsigned kind = ml_dice_below(&play->dice, 6);
            ml_play_submit(play, &(ml_plan){.writes = 2,
                                            .events = 3,
                                            .size_min = 20,
                                            .size_max = 300,
                                            .durability = kind % 2 ? ML_OS : ML_DISK,
                                            .expected = kind < 3    ? ML_PLAN_RIGHT
                                                        : kind == 3 ? ML_PLAN_WRONG
                                                                    : 0,
                                            .condition = kind == 4 ? ML_PLAN_WRONG : 0});
        }
        ml_play_peek(play);
        ml_play_settle(play);
    }
    ml_play_look(play);
}

static void steps_reopen(ml_play *play)
{
    for (unsigned n = 0; n < 4; n++) {
        for (unsigned i = 0; i < 6; i++)
            ml_play_append(play, &(ml_plan){.events = 3,
                                            .size_min = 20,
                                            .size_max = 900,
                                            .durability = any_level(play)});
        ml_play_reopen(play);
        ml_play_lock_out(play);
        /* As far back as the window promises, and the newest. */
        ml_play_retry(play, play->workload->window_events - 1);
        ml_play_retry(play, ml_dice_below(&play->dice, 4));
    }
    ml_play_look(play);
}

static void steps_retry(ml_play *play)
{
    for (unsigned n = 0; n < 40; n++) {
        ml_play_append(play, &(ml_plan){.size_min = 10, .size_max = 40, .durability = ML_OS});
        if (n % 2) ml_play_retry(play, play->workload->window_events - 1);
        if (n % 10 == 9) ml_play_reopen(play);
    }
}

static void steps_full(ml_play *play)
{
    for (unsigned n = 0; n < 3; n++) {
        for (unsigned i = 0; i < 5; i++)
            ml_play_append(play, &(ml_plan){.events = 3,
                                            .size_min = 100,
                                            .size_max = 1200,
                                            .durability = disk_or_os(play)});
        ml_play_set_space(play, ml_dice_below(&play->dice, 2) * ml_dice_below(&play->dice, 9000));
        for (unsigned i = 0; i < 8; i++) {
            if (i % 3 == 2) {
                ml_play_submit(play, &(ml_plan){.events = 2, .size_min = 100, .size_max = 1200});
                ml_play_submit(play, &(ml_plan){.events = 2,
                                                .size_min = 100,
                                                .size_max = 1200,
                                                .expected = ML_PLAN_RIGHT});
                ml_play_settle(play);
            } else {
                ml_play_append(play, &(ml_plan){.events = 3,
                                                .size_min = 100,
                                                .size_max = 2400,
                                                .expected = ML_PLAN_RIGHT});
            }
        }
        if (n == 1) ml_play_reopen(play);
        ml_play_set_space(play, UINT64_MAX);
    }
    ml_play_look(play);
}

const ml_workload ml_workloads[] = {
    {"single", steps_single, 16384, 64, 16, false, false},
    {"levels", steps_levels, 16384, 64, 16, false, false},
    {"batch", steps_batch, 16384, 32, 32, false, false},
    {"streams", steps_streams, 16384, 32, 16, false, false},
    {"conditional", steps_conditional, 16384, 16, 16, false, false},
    {"roll", steps_roll, 16384, 16, 16, false, false},
    {"index", steps_index, 16384, 8, 16, false, false},
    {"import", steps_import, 16384, 32, 64, false, false},
    {"pipeline", steps_pipeline, 16384, 16, 16, false, false},
    {"reopen", steps_reopen, 16384, 16, 16, false, false},
    {"retry", steps_retry, 16384, 8, 8, false, false},
    {"full", steps_full, 16384, 8, 16, false, true},
    {"crash", steps_levels, 16384, 16, 16, true, false},
    {"crash-roll", steps_roll, 16384, 16, 16, true, false},
};
const size_t ml_workload_count = sizeof ml_workloads / sizeof *ml_workloads;

const ml_workload *ml_workload_find(const char *name)
{
    for (size_t n = 0; n < ml_workload_count; n++)
        if (strcmp(ml_workloads[n].name, name) == 0) return &ml_workloads[n];
    return NULL;
}
