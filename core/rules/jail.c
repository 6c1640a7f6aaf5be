/* jail.c -- see jail.h. */
#include "jail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DATA_MIB = 2048 }; /* private memory of a worker: some twenty sandboxes that are full */

/* A sanitizer's shadow memory is terabytes. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

const char *ml_jail_name(ml_jail_wall wall)
{
    static const char *const names[ML_JAIL_WALLS] = {"limits", "privileges", "files", "calls"};
    ML_ASSERT(wall < ML_JAIL_WALLS);
    return names[wall];
}

/* ---- limits ----------------------------------------------------------------------- */

static bool set_limit(__rlimit_resource_t what, rlim_t most)
{
    struct rlimit limit = {most, most}, now;
    if (getrlimit(what, &now) == 0 && now.rlim_max < most) return true; /* stricter already */
    return setrlimit(what, &limit) == 0;
}

/* Not the address space: maps of the log take that, and cost nothing. */
static bool set_limits(const ml_jail *jail)
{
    bool good = set_limit(RLIMIT_CORE, 0);
    good &= SANITIZED || set_limit(RLIMIT_DATA, (rlim_t)DATA_MIB << 20);
    good &= set_limit(RLIMIT_FSIZE, jail->file_bytes);
    good &= set_limit(RLIMIT_MEMLOCK, 0);
    return good & set_limit(RLIMIT_MSGQUEUE, 0);
}

/* ---- files ------------------------------------------------------------------------ */

/* As the newest kernels take it; an older one is given the part that it knows. */
struct ruleset {
    uint64_t files, net, scoped;
};

enum {
    READING = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
    WRITING = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
              LANDLOCK_ACCESS_FS_REMOVE_FILE,
    SHARING = LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR
};
static const uint64_t truncating = UINT64_C(1) << 14, devices = UINT64_C(1) << 15;

/* What this kernel can forbid; false if it has no Landlock. */
static bool forbid_all(struct ruleset *all, size_t *size)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) return false;
    *all = (struct ruleset){.files = (UINT64_C(1) << 13) - 1};
    *size = sizeof all->files;
    if (version >= 2) all->files |= LANDLOCK_ACCESS_FS_REFER;
    if (version >= 3) all->files |= truncating;
    if (version >= 5) all->files |= devices;
    if (version >= 4)
        all->net = 3, *size = offsetof(struct ruleset, scoped); /* binding and connecting TCP */
    if (version >= 6)
        all->scoped = 3, *size = sizeof *all; /* abstract sockets and signals to outside */
    return true;
}

static bool allow_below(int rules, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr below = {.allowed_access = access};
    below.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (below.parent_fd < 0) return false;
    bool good = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &below, 0) == 0;
    close(below.parent_fd);
    return good;
}

static bool lock_files(const ml_jail *jail)
{
    struct ruleset all;
    size_t size;
    if (!forbid_all(&all, &size)) return false;
    long rules = syscall(SYS_landlock_create_ruleset, &all, size, 0);
    if (rules < 0) return false;
    uint64_t writing = READING | WRITING | truncating | (jail->shares ? SHARING : 0);
    bool good = allow_below((int)rules, jail->dir, READING);
    if (jail->writable != NULL)
        good = good && allow_below((int)rules, jail->writable, writing & all.files);
    good = good && syscall(SYS_landlock_restrict_self, rules, 0) == 0;
    close((int)rules);
    return good;
}

/* ---- calls ------------------------------------------------------------------------ */

/* Reading the log, answering, snapshots, the guard's timer, ending. */
static const int allowed[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(close),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(stat),
    SCMP_SYS(lstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(statx),
    SCMP_SYS(access),
    SCMP_SYS(faccessat),
    SCMP_SYS(faccessat2),
    SCMP_SYS(getdents64),
    SCMP_SYS(fcntl),
    SCMP_SYS(fadvise64),
    SCMP_SYS(readahead),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fsync),
    SCMP_SYS(fdatasync),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(mincore),
    SCMP_SYS(brk),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(futex),
    SCMP_SYS(sched_yield),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(timer_create),
    SCMP_SYS(timer_settime),
    SCMP_SYS(timer_gettime),
    SCMP_SYS(timer_delete),
    SCMP_SYS(setitimer),
    SCMP_SYS(getitimer),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getrusage),
    SCMP_SYS(uname),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(rseq),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(membarrier),
};

/* And what LMDB and SQLite need where they may write. */
static const int sharing[] = {
    SCMP_SYS(pwritev), SCMP_SYS(msync),  SCMP_SYS(mkdir),    SCMP_SYS(mkdirat),    SCMP_SYS(rmdir),
    SCMP_SYS(flock),   SCMP_SYS(getcwd), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(fallocate),
};

/* Nobody honest comes near these. */
static const int deadly[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(clone),
    SCMP_SYS(clone3),
    SCMP_SYS(socket),
    SCMP_SYS(socketpair),
    SCMP_SYS(connect),
    SCMP_SYS(bind),
    SCMP_SYS(listen),
    SCMP_SYS(accept),
    SCMP_SYS(accept4),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(bpf),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(chroot),
    SCMP_SYS(pivot_root),
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
};

/* Those that are good with some arguments only. */
static int allow_partly(scmp_filter_ctx filter, bool writing)
{
    unsigned data = SCMP_ACT_ALLOW, opens = O_ACCMODE | O_CREAT | O_TRUNC | O_APPEND;
    int failed = seccomp_rule_add(filter, data, SCMP_SYS(mmap), 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (!failed)
        failed = seccomp_rule_add(filter, data, SCMP_SYS(mprotect), 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    /* abort() signals the process itself. */
    struct scmp_arg_cmp itself = {.arg = 0, .op = SCMP_CMP_EQ, .datum_a = (scmp_datum_t)getpid()};
    if (!failed) failed = seccomp_rule_add(filter, data, SCMP_SYS(tgkill), 1, itself);
    if (!failed && writing)
        failed = seccomp_rule_add(filter, data, SCMP_SYS(openat), 0);
    else if (!failed)
        failed = seccomp_rule_add(filter, data, SCMP_SYS(openat), 1,
                                  SCMP_A2(SCMP_CMP_MASKED_EQ, opens, O_RDONLY));
    return failed;
}

static int add_all(scmp_filter_ctx filter, uint32_t what, const int *calls, size_t count)
{
    int failed = 0;
    for (size_t n = 0; !failed && n < count; n++)
        failed = seccomp_rule_add(filter, what, calls[n], 0);
    return failed;
}

static bool lock_calls(const ml_jail *jail, bool writing)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL) return false;
    int failed = allow_partly(filter, writing);
    if (!failed)
        failed = add_all(filter, SCMP_ACT_ALLOW, allowed, sizeof allowed / sizeof *allowed);
    if (!failed && jail->shares)
        failed = add_all(filter, SCMP_ACT_ALLOW, sharing, sizeof sharing / sizeof *sharing);
    if (!failed)
        failed = add_all(filter, SCMP_ACT_KILL_PROCESS, deadly, sizeof deadly / sizeof *deadly);
    if (!failed) failed = seccomp_load(filter);
    seccomp_release(filter);
    return failed == 0;
}

unsigned ml_jail_enter(const ml_jail *jail)
{
    unsigned standing = 0;
    if (set_limits(jail)) standing |= 1U << ML_JAIL_LIMITS;
    bool alone =
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
    if (alone) standing |= 1U << ML_JAIL_PRIVILEGES;
    bool files = alone && lock_files(jail);
    if (files) standing |= 1U << ML_JAIL_FILES;
    /* Snapshots can be done without; a view cannot, and Lua opens no files. */
    bool writing = jail->writable != NULL && (files || jail->shares);
    if (alone && lock_calls(jail, writing)) standing |= 1U << ML_JAIL_CALLS;
    return standing;
}

/* ---- trying ----------------------------------------------------------------------- */

/* Each is true if it could be done. */
static bool read_elsewhere(const char *dir)
{
    (void)dir;
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0;
}

static bool write_beside(const char *dir)
{
    char path[4096];
    int size = snprintf(path, sizeof path, "%s/escaped", dir);
    int file = size < (int)sizeof path ? open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file >= 0) unlink(path);
    return file >= 0;
}

static bool read_inside(const char *dir)
{
    return open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) < 0;
}

static bool make_socket(const char *dir)
{
    (void)dir;
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0;
}

static bool run_program(const char *dir)
{
    char *const none[] = {NULL};
    (void)dir;
    execve("/proc/self/exe", none, none);
    return errno == ENOENT || errno == ENOEXEC;
}

static bool make_process(const char *dir)
{
    (void)dir;
    pid_t child = fork();
    if (child == 0) _exit(0);
    return child > 0;
}

static bool watch_parent(const char *dir)
{
    (void)dir;
    return ptrace(PTRACE_ATTACH, getppid(), NULL, NULL) == 0;
}

static bool signal_parent(const char *dir)
{
    (void)dir;
    return kill(getppid(), 0) == 0;
}

static bool run_data(const char *dir)
{
    (void)dir;
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
           MAP_FAILED;
}

static const struct {
    const char *what;
    bool (*done)(const char *dir);
} tries[] = {
    {"reads the data directory", read_inside}, {"reads no file outside of it", read_elsewhere},
    {"writes no file in it", write_beside},    {"opens no socket", make_socket},
    {"runs no program", run_program},          {"starts no process", make_process},
    {"traces no process", watch_parent},       {"signals no process", signal_parent},
    {"runs no data as code", run_data},
};

/* -1 if no child could be started. */
static int holds(bool (*done)(const char *dir), const char *dir)
{
    int status = 0;
    pid_t child = fork();
    if (child < 0) return -1;
    if (child == 0) {
        ML_IGNORE(ml_jail_enter(&(ml_jail){.dir = dir}) == 0); /* what is missing shows */
        _exit(done(dir) ? 0 : 1);
    }
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

ml_code ml_jail_try(const char *dir, void (*each)(void *context, const char *what, bool held),
                    void *context, ml_error *why)
{
    for (size_t n = 0; n < sizeof tries / sizeof *tries; n++) {
        int held = holds(tries[n].done, dir);
        if (held < 0)
            return ml_error_set(why, ML_IO, "no child process can be started: %s", strerror(errno));
        each(context, tries[n].what, held == 1);
    }
    return ML_OK;
}
