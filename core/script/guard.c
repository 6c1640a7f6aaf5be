/* guard.c -- a timer that stops a rule which overstays.
 *
 * The timer counts the processor time of the thread that started it: a worker that waits is not
 * woken, and a rule is not blamed for a busy machine or a slow disk. It ticks a few times
 * within the time that a call may take. A tick that finds the call of an earlier tick, and over
 * its time, gives the state a hook: lua_sethook may be called from a signal handler. The hook
 * raises before the next instruction, and stays: when a pcall, a __close or an error handler of
 * the script runs on, its first instruction raises again.
 *
 * A process may have two copies of this file, in two shared objects, and there is one handler for
 * the signal: each timer brings along whose it is, so it does not matter which copy's handler runs.
 */
#include <lauxlib.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "sandbox_inside.h"

enum { TICK_US = 4000 }; /* processor time is looked at 250 times a second: finer is no finer */

ml_guard ml_guard_now;

/* Of the thread that started it; the handler runs there too. */
typedef struct watch {
    ml_guard *guard;
    pid_t thread; /* 0: the timer was never made */
    timer_t timer;
    bool ticking;
    atomic_llong limit_us;
    unsigned long long turn; /* the call that the last tick saw … */
    int64_t since_us;        /* … for the first time */
} watch;

static watch own = {.guard = &ml_guard_now};

static int64_t spent_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now); /* cannot fail for this clock */
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* ---- the hook --------------------------------------------------------------------------- */

void ml_guard_raise(lua_State *L)
{
    ml_sandbox *sandbox = ml_sandbox_of(L);
    if (sandbox->ending == ML_FAULT_NONE) {
        sandbox->ending = ML_FAULT_OVERSTAY;
        ml_fault_locate(sandbox, &sandbox->place);
    }
    lua_pushliteral(L, ML_SANDBOX_OVERSTAY);
    lua_error(L);
    ML_ASSERT(false);
    __builtin_unreachable();
}

static void stop(lua_State *L, lua_Debug *about)
{
    (void)about;
    ml_guard_raise(L);
}

static void tick(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    if (info->si_code != SI_TIMER) return; /* somebody else's signal */
    watch *w = info->si_value.sival_ptr;
    lua_State *L = atomic_load_explicit(&w->guard->running, memory_order_relaxed);
    unsigned long long turn = atomic_load_explicit(&w->guard->turn, memory_order_relaxed);
    if (L == NULL) return;
    int64_t now_us = spent_us();
    if (turn != w->turn) {
        w->turn = turn;
        w->since_us = now_us;
    } else if (now_us - w->since_us >= atomic_load_explicit(&w->limit_us, memory_order_relaxed)) {
        atomic_store_explicit(&w->guard->armed, true, memory_order_relaxed);
        lua_sethook(L, stop, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
        /* It goes through all calls that are open: of some 100,000 in one another that takes longer
         * than a tick, and at each tick it would leave no time for anything else. */
        w->since_us = spent_us();
    }
}

void ml_guard_disarm(lua_State *L)
{
    atomic_store_explicit(&ml_guard_now.armed, false, memory_order_relaxed);
    lua_sethook(L, NULL, 0, 0);
}

/* ---- the timer -------------------------------------------------------------------------- */

/* Timers do not survive a fork, and one made by a thread signals that thread. Where the system
 * has no timer to give, the outer wall alone stops a rule. */
static bool make_timer(pid_t thread)
{
    struct sigaction action = {.sa_sigaction = tick, .sa_flags = SA_RESTART | SA_SIGINFO};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN + 1,
                             .sigev_value.sival_ptr = &own};
    event._sigev_un._tid = thread;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGRTMIN + 1, &action, NULL) != 0 ||
        timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &own.timer) != 0)
        return false;
    own.thread = thread;
    own.ticking = false;
    return true;
}

static void set_timer(long interval_us)
{
    struct itimerspec every = {.it_interval.tv_nsec = interval_us * 1000,
                               .it_value.tv_nsec = interval_us * 1000};
    int failed = timer_settime(own.timer, 0, &every, NULL);
    ML_ASSERT(failed == 0);
    own.ticking = interval_us > 0;
}

void ml_guard_start(uint32_t ms)
{
    pid_t thread = gettid();
    if (own.thread != thread && !make_timer(thread)) return;
    atomic_store_explicit(&own.limit_us, (long long)ms * 1000, memory_order_relaxed);
    if (!own.ticking) set_timer(TICK_US);
}

uint32_t ml_guard_limit_ms(void)
{
    return (uint32_t)(atomic_load_explicit(&own.limit_us, memory_order_relaxed) / 1000);
}

void ml_guard_stop(void)
{
    if (own.thread == gettid() && own.ticking) set_timer(0);
}
