/* disk_map.c -- maps, the list of them, and the SIGBUS handler that reads the list.
 *
 *     reader touches a page ──▶ kernel: cut off, or unreadable ──▶ SIGBUS ──▶ on_fault
 *                                                                               │
 *     in a map of ours: a page of zeros is put there, the reader goes on ◀──────┤
 *     anywhere else:    the handler that was there before, or death  ◀──────────┘
 *
 * The zeros then fail the reader's checksum, which is how damage is reported everywhere. */
#include "disk_map.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    /* Two stores with every segment mapped (ML_SEGMENTS_MAPPED_MAX); 128 KiB, looked
     * through only on a fault. */
    MAPS_MAX = 8192,
    TAKEN = 1 /* `begin` of a place being filled in: no map begins there */
};

/* The kernel keeps one handler a process, so this list is the process's too. A place is free
 * when `begin` is 0; `end` is written before `begin` and read after it. */
static struct {
    atomic_uintptr_t begin, end;
} maps[MAPS_MAX];
static atomic_size_t maps_top; /* no place from here on was ever taken */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct sigaction before;
static uintptr_t page_size;

static bool is_mapped(uintptr_t at)
{
    size_t top = atomic_load(&maps_top);
    for (size_t i = 0; i < top; i++) {
        uintptr_t begin = atomic_load(&maps[i].begin);
        uintptr_t end = atomic_load(&maps[i].end);
        if (begin > TAKEN && at >= begin && at < end) return true;
    }
    return false;
}

static void pass_on(int number, siginfo_t *info, void *context)
{
    if (before.sa_flags & SA_SIGINFO) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler == SIG_IGN && info->si_code <= 0) {
        return; /* sent by a process, and ignored; a fault cannot be */
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
    } else {
        signal(number, SIG_DFL);
        raise(number); /* held back until we return */
    }
}

/* Only calls that are safe in a handler: atomics, mmap, sigaction, raise. */
static void on_fault(int number, siginfo_t *info, void *context)
{
    int error = errno;
    uintptr_t at = (uintptr_t)info->si_addr;
    bool healed = false;
    if (info->si_code > 0 && is_mapped(at)) {
        void *page = (void *)(at & ~(page_size - 1));
        healed = mmap(page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
                 MAP_FAILED;
    }
    if (!healed) pass_on(number, info, context);
    errno = error;
}

static void install(void)
{
    page_size = (uintptr_t)sysconf(_SC_PAGESIZE);
    struct sigaction ours = {.sa_sigaction = on_fault,
                             .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};
    sigemptyset(&ours.sa_mask);
    /* Read before it is replaced: a fault may come as soon as ours is in place. */
    int error = sigaction(SIGBUS, NULL, &before);
    if (error == 0) error = sigaction(SIGBUS, &ours, NULL);
    ML_ASSERT(error == 0);
}

/* False if every place is taken. */
static bool enlist(uintptr_t begin, uintptr_t end)
{
    for (size_t i = 0; i < MAPS_MAX; i++) {
        uintptr_t none = 0;
        if (!atomic_compare_exchange_strong(&maps[i].begin, &none, TAKEN)) continue;
        atomic_store(&maps[i].end, end);
        atomic_store(&maps[i].begin, begin);
        size_t top = atomic_load(&maps_top);
        while (top <= i && !atomic_compare_exchange_weak(&maps_top, &top, i + 1))
            continue;
        return true;
    }
    return false;
}

static void strike(uintptr_t begin)
{
    size_t top = atomic_load(&maps_top), i = 0;
    while (i < top && atomic_load(&maps[i].begin) != begin)
        i++;
    ML_ASSERT(i < top);
    atomic_store(&maps[i].begin, 0);
}

int ml_disk_map_new(int file, uint64_t size, const uint8_t **map)
{
    if (size == 0 || size > SIZE_MAX / 2) return -EINVAL;
    pthread_once(&once, install);
    void *at = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, file, 0);
    if (at == MAP_FAILED) return -errno;
    /* To the end of its last page: the kernel faults on pages. */
    uintptr_t end = ((uintptr_t)at + (size_t)size + page_size - 1) & ~(page_size - 1);
    if (!enlist((uintptr_t)at, end)) {
        munmap(at, (size_t)size);
        return -ENOMEM;
    }
    *map = at;
    return 0;
}

void ml_disk_map_free(const uint8_t *map, uint64_t size)
{
    /* Off the list first: once unmapped, the addresses may be given to anybody. */
    strike((uintptr_t)map);
    int error = munmap((void *)(uintptr_t)map, (size_t)size);
    ML_ASSERT(error == 0);
}
