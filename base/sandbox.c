#include "base/sandbox.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "base/own.h"
#include "base/sys.h"

/* linux/landlock.h of Debian 12 ends at ABI 2 */
#define FS_TRUNCATE (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)

static char missing[64];

const char *sandbox_missing(void)
{
	return missing;
}

static void miss(const char *what)
{
	size_t n = strlen(missing);

	(void)snprintf(missing + n, sizeof missing - n, "%s%s", n ? " " : "", what);
}

static const struct {
	capng_type_t type;
	int caps[8];
} caps[] = {
	[SANDBOX_WARD] = { CAPNG_EFFECTIVE | CAPNG_PERMITTED,
			   { CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_CHOWN, CAP_FOWNER, CAP_LEASE, -1 } },
	[SANDBOX_WATCH] = { CAPNG_EFFECTIVE | CAPNG_PERMITTED, { CAP_DAC_READ_SEARCH, CAP_FOWNER, -1 } },
	[SANDBOX_SIFT] = { CAPNG_EFFECTIVE | CAPNG_PERMITTED, { -1 } },
	[SANDBOX_REVIEW] = { CAPNG_EFFECTIVE | CAPNG_PERMITTED, { -1 } },
};

static int drop_capabilities(enum sandbox_fence fence, struct err *e)
{
	if (capng_get_caps_process() != 0)
		return err_set(e, ERR_BUG, "read the capabilities");
	uint64_t had = 0;
	for (int i = 0; caps[fence].caps[i] != -1; i++)
		if (capng_have_capability(CAPNG_PERMITTED, (unsigned)caps[fence].caps[i]))
			had |= 1ULL << i;
	bool bound = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP) != 0;
	capng_clear(bound ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS);
	for (int i = 0; caps[fence].caps[i] != -1; i++)
		if (had & 1ULL << i)
			(void)capng_update(CAPNG_ADD, (bound ? CAPNG_BOUNDING_SET : 0) | caps[fence].type,
					   (unsigned)caps[fence].caps[i]);
	if (capng_apply(bound ? CAPNG_SELECT_BOTH : CAPNG_SELECT_CAPS) != 0)
		return err_set(e, ERR_BUG, "drop capabilities");
	return 0;
}

static uint64_t landlock_rights(unsigned access, bool directory)
{
	uint64_t file = 0, dir = 0;

	if (access & SANDBOX_READ) {
		file |= LANDLOCK_ACCESS_FS_READ_FILE;
		dir |= LANDLOCK_ACCESS_FS_READ_DIR;
	}
	if (access & SANDBOX_WRITE) {
		file |= LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
		dir |= LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_DIR |
		       LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_REFER;
	}
	if (access & SANDBOX_EXEC)
		file |= LANDLOCK_ACCESS_FS_EXECUTE;
	return directory ? file | dir : file;
}

static uint64_t landlock_handled(long abi)
{
	uint64_t all = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;

	if (abi >= 2)
		all |= LANDLOCK_ACCESS_FS_REFER;
	if (abi >= 3)
		all |= FS_TRUNCATE;
	if (abi >= 5)
		all |= FS_IOCTL_DEV;
	return all;
}

static int landlock_allow(int ruleset, const struct sandbox_tree *tree, uint64_t handled, struct err *e)
{
	struct landlock_path_beneath_attr rule = { 0 };
	struct stat st;
	own_fd fd = open(tree->path, O_PATH | O_CLOEXEC);

	if (fd < 0 && (errno == ENOENT || errno == EACCES))
		return 0;
	if (fd < 0 || fstat(fd, &st) != 0)
		return err_sys(e, "open %s", tree->path);
	rule.parent_fd = fd;
	rule.allowed_access = landlock_rights(tree->access, S_ISDIR(st.st_mode)) & handled;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
		return err_sys(e, "landlock rule for %s", tree->path);
	return 0;
}

static int landlock_enter(const struct sandbox_tree *trees, struct err *e)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 2) { /* without REFER no rename between directories would be left */
		miss("landlock");
		return 0;
	}
	struct landlock_ruleset_attr attr = { .handled_access_fs = landlock_handled(abi) };
	own_fd ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
	if (ruleset < 0)
		return err_sys(e, "make a landlock ruleset");
	for (const struct sandbox_tree *t = trees; t != NULL && t->path != NULL; t++)
		if (landlock_allow(ruleset, t, attr.handled_access_fs, e) != 0)
			return -1;
	if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
		return err_sys(e, "enter landlock");
	return 0;
}

/* What every program needs to live, log and die. */
static const char *const calls_base[] = {
	"read", "write", "writev", "pread64", "close", "fstat", "newfstatat", "lseek", "brk", "mmap", "munmap", "mremap",
	"mprotect", "madvise", "futex", "exit", "exit_group", "rt_sigreturn", "rt_sigprocmask", "rt_sigaction", "sigaltstack",
	"getrandom", "clock_gettime", "gettimeofday", "clock_nanosleep", "nanosleep", "restart_syscall", "getpid", "gettid",
	"tgkill", "recvmsg", "sendmsg", "recvfrom", "sendto", "poll", "ppoll", "sched_yield", "sched_getaffinity",
	"rseq", "set_robust_list", "statx", NULL,
};
static const char *const calls_watch[] = {
	"inotify_init1", "inotify_add_watch", "inotify_rm_watch", "openat", "openat2", "open", "getdents64", "fcntl", "ioctl",
	"select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "lstat", "stat", "readlinkat",
	"readlink", "statfs", "fstatfs", "timerfd_create", "timerfd_settime", "ioprio_set", "setpriority", "kill",
	"signalfd4", "fadvise64", "access", "faccessat", "faccessat2", "dup", "getuid", "geteuid", "getgid", "getegid", NULL,
};
/* ward starts the other roles again: what they need must pass its own filter too */
static const char *const calls_ward[] = {
	"renameat2", "linkat", "unlinkat", "unlink", "mkdirat", "mkdir", "rmdir", "openat", "openat2", "open", "pwrite64",
	"sendfile", "copy_file_range", "fsync", "fdatasync", "syncfs", "fchown", "fchmod", "utimensat", "ftruncate",
	"fallocate", "flock", "fcntl", "getdents64", "socket", "connect", "bind", "listen", "accept4", "getsockopt",
	"setsockopt", "getsockname", "getpeername", "socketpair", "shutdown", "epoll_create1", "epoll_ctl", "epoll_wait",
	"epoll_pwait", "eventfd2", "timerfd_create", "timerfd_settime", "signalfd4", "memfd_create", "clone", "clone3",
	"fork", "vfork", "execve", "execveat", "wait4", "waitid", "kill", "prctl", "capget", "capset", "seccomp",
	"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self", "arch_prctl", "set_tid_address",
	"prlimit64", "getrlimit", "setrlimit", "dup", "dup2", "dup3", "pipe2", "lstat", "stat", "access", "faccessat",
	"faccessat2", "readlink", "readlinkat", "getcwd", "statfs", "fstatfs", "getuid", "geteuid", "getgid", "getegid",
	"getppid", "getgroups", "setgroups", "setresuid", "setresgid", "chmod", "fchmodat", "fchownat", "ioctl", "uname",
	"sysinfo", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "select", "pselect6", "umask", "pread64",
	"preadv", "pwritev", "getsid", "setsid", "tkill", "sched_getparam", "sched_getscheduler", "ioprio_set", "setpriority",
	"getpriority", "getrusage", "times", "fadvise64", "membarrier", "rt_sigtimedwait", "sync_file_range", "chdir", NULL,
};
static const char *const calls_none[] = { NULL };
/* Refused with EPERM and not with death, so that the self-test can try them. */
static const char *const calls_tried[] = { "openat", "open", "socket", "execve", "unlinkat", "renameat2", "ptrace", "kill",
					   "mkdirat", NULL };

static const struct {
	const char *const *calls;
	uint32_t otherwise;
} seccomp_rows[] = {
	[SANDBOX_WARD] = { calls_ward, SCMP_ACT_ERRNO(EPERM) },
	[SANDBOX_WATCH] = { calls_watch, SCMP_ACT_ERRNO(EPERM) },
	[SANDBOX_SIFT] = { calls_none, SCMP_ACT_KILL_PROCESS },
	[SANDBOX_REVIEW] = { calls_none, SCMP_ACT_KILL_PROCESS },
};

static int allow(scmp_filter_ctx ctx, uint32_t action, const char *const *names)
{
	for (; *names != NULL; names++) {
		int nr = seccomp_syscall_resolve_name(*names);
		if (nr == __NR_SCMP_ERROR)
			continue; /* this machine has no such call */
		int rc = seccomp_rule_add(ctx, action, nr, 0);
		if (rc != 0 && rc != -EEXIST && rc != -EACCES)
			return rc;
	}
	return 0;
}

static int seccomp_enter(enum sandbox_fence fence, struct err *e)
{
	scmp_filter_ctx ctx = seccomp_init(seccomp_rows[fence].otherwise);

	if (ctx == NULL)
		return err_set(e, ERR_BUG, "make a seccomp filter");
	int rc = allow(ctx, SCMP_ACT_ALLOW, calls_base);
	if (rc == 0)
		rc = allow(ctx, SCMP_ACT_ALLOW, seccomp_rows[fence].calls);
	if (rc == 0 && seccomp_rows[fence].otherwise == SCMP_ACT_KILL_PROCESS)
		rc = allow(ctx, SCMP_ACT_ERRNO(EPERM), calls_tried);
	if (rc == 0)
		rc = seccomp_load(ctx);
	seccomp_release(ctx);
	if (rc != 0)
		return err_set(e, ERR_BUG, "load the seccomp filter: %s", strerrordesc_np(-rc));
	return 0;
}

/* A sanitizer's runtime makes calls of its own, at any time: with one the fences stay open, and status says so. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

bool sandbox_possible(void)
{
	return !SANITIZED;
}

int sandbox_enter(enum sandbox_fence fence, const struct sandbox_tree *trees, struct err *e)
{
	missing[0] = '\0';
	if (SANITIZED) {
		miss("all (sanitizer build)");
		return 0;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
		return err_sys(e, "give up new privileges");
	if (landlock_enter(trees, e) != 0)
		return -1;
	if (drop_capabilities(fence, e) != 0)
		return -1;
	return seccomp_enter(fence, e);
}

/* A thing is tried only where the fence must stop it; success is the failure. */
int sandbox_self_test(enum sandbox_fence fence, struct err *e)
{
	bool shut = fence == SANDBOX_SIFT || fence == SANDBOX_REVIEW;

	if (SANITIZED)
		return 0;
	bool fs = strstr(missing, "landlock") == NULL || shut;
	own_fd fd = -1;

	if (fs && (fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC)) >= 0 && fence != SANDBOX_WARD)
		return err_set(e, ERR_BUG, "the fence leaks: opened /etc/passwd");
	if (fs && sys_mkdir(AT_FDCWD, "/spoolward-self-test", 0700) == 0) {
		(void)sys_rmdir(AT_FDCWD, "/spoolward-self-test");
		return err_set(e, ERR_BUG, "the fence leaks: made a directory in /");
	}
	if (fence != SANDBOX_WARD) {
		own_fd sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (sock >= 0)
			return err_set(e, ERR_BUG, "the fence leaks: got a socket");
		char name[] = "/spoolward-self-test";
		char *const argv[] = { name, NULL };
		(void)execve(name, argv, argv);
		if (errno != EPERM && errno != EACCES)
			return err_sys(e, "the fence leaks: execve was tried");
	}
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0)
		return err_set(e, ERR_BUG, "the fence leaks: ptrace");
	return 0;
}
