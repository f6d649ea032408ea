#include "monitor/roles.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/wire.h"
#include "monitor/sighting.h"

#define DELAY_FIRST_MS 100
#define DELAY_MOST_MS 30000
#define STEADY_MS 60000 /* a pair that lived so long starts again without delay */
#define WALK_WAIT_S 60

int roles_init(struct roles *r, const struct brief *briefs, size_t nspools, bool foreground, bool sandbox,
	       int64_t reconcile_s, struct err *e)
{
	struct role_start head = { .nspools = (uint32_t)nspools, .foreground = foreground, .sandbox = sandbox,
				   .reconcile_s = (uint32_t)reconcile_s };

	memset(r, 0, sizeof *r);
	r->cards_fd = r->walk_fd = -1;
	r->delay_ms = DELAY_FIRST_MS;
	r->nspools = nspools;
	(void)pthread_mutex_init(&r->walk_lock, NULL);
	r->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	r->start_fd = memfd_create("spoolward.start", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	r->slot_fd = memfd_create("spoolward.slot", MFD_CLOEXEC);
	if (r->exe_fd < 0 || r->start_fd < 0 || r->slot_fd < 0 || sys_truncate(r->slot_fd, sizeof *r->slot) != 0 ||
	    sys_write(r->start_fd, &head, sizeof head) != 0 ||
	    sys_write(r->start_fd, briefs, nspools * sizeof *briefs) != 0 ||
	    fcntl(r->start_fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
		return err_sys(e, "prepare the roles");
	r->slot = mmap(NULL, sizeof *r->slot, PROT_READ | PROT_WRITE, MAP_SHARED, r->slot_fd, 0);
	return r->slot == MAP_FAILED ? err_sys(e, "prepare the roles") : 0;
}

/* Between fork and exec of a process with threads: system calls only. */
static void become(const struct roles *r, const char *name, int in, int out, int walk)
{
	static const int high = ROLE_FDS + 8;
	const int from[ROLE_FDS] = { [ROLE_FD_START] = r->start_fd, [ROLE_FD_IN] = in, [ROLE_FD_OUT] = out,
				     [ROLE_FD_WALK] = walk, [ROLE_FD_SLOT] = walk >= 0 ? r->slot_fd : -1 };
	char *argv[] = { (char *)(size_t) "spoolwardd", (char *)(size_t) "--role", (char *)(size_t)name, NULL };
	int exe = fcntl(r->exe_fd, F_DUPFD_CLOEXEC, 4 * high), moved[ROLE_FDS];

	for (int i = ROLE_FD_START; i < ROLE_FDS; i++)
		moved[i] = from[i] < 0 ? -1 : fcntl(from[i], F_DUPFD_CLOEXEC, high);
	for (int i = ROLE_FD_START; i < ROLE_FDS; i++) {
		(void)close(i);
		if (moved[i] >= 0 && dup2(moved[i], i) < 0)
			_exit(127);
	}
	sigset_t none;
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)syscall(SYS_execveat, exe, "", argv, environ, AT_EMPTY_PATH);
	_exit(127);
}

static pid_t spawn(const struct roles *r, const char *name, int in, int out, int walk)
{
	pid_t pid = fork();

	if (pid == 0)
		become(r, name, in, out, walk);
	return pid;
}

int roles_start(struct roles *r, int64_t now_ms, struct err *e)
{
	int sight[2] = { -1, -1 }, cards[2] = { -1, -1 }, walk[2] = { -1, -1 };
	struct timeval wait = { WALK_WAIT_S, 0 };

	if (wire_pair(sight) != 0 || wire_pair(cards) != 0 || wire_pair(walk) != 0) {
		(void)err_sys(e, "connect the roles");
		for (int i = 0; i < 2; i++) {
			(void)close(sight[i]);
			(void)close(cards[i]);
			(void)close(walk[i]);
		}
		r->next_ms = now_ms + r->delay_ms;
		return -1;
	}
	r->sift = spawn(r, "sift", sight[1], cards[1], walk[1]);
	r->watch = spawn(r, "watch", -1, sight[0], -1);
	(void)close(sight[0]);
	(void)close(sight[1]);
	(void)close(cards[1]);
	(void)close(walk[1]);
	(void)setsockopt(walk[0], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	(void)setsockopt(walk[0], SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
	(void)pthread_mutex_lock(&r->walk_lock);
	r->walk_fd = walk[0];
	(void)pthread_mutex_unlock(&r->walk_lock);
	atomic_store(&r->slot->now_ino, 0);
	r->cards_fd = cards[0];
	r->started_ms = now_ms;
	if (r->sift > 0 && r->watch > 0)
		return 0;
	(void)err_sys(e, "start the roles");
	roles_stop(r);
	r->next_ms = now_ms + r->delay_ms;
	return -1;
}

static void down(struct roles *r)
{
	if (r->cards_fd >= 0)
		(void)close(r->cards_fd);
	r->cards_fd = -1;
	/* a walk under way holds the lock: shutting its socket down lets it go */
	if (r->walk_fd >= 0)
		(void)shutdown(r->walk_fd, SHUT_RDWR);
	(void)pthread_mutex_lock(&r->walk_lock);
	if (r->walk_fd >= 0)
		(void)close(r->walk_fd);
	r->walk_fd = -1;
	(void)pthread_mutex_unlock(&r->walk_lock);
}

/* The file that sift had open when a signal killed it is never opened again. */
static void blame(struct roles *r)
{
	/* the slot belongs to a role that may lie: it can only keep files from being read */
	uint64_t ino = atomic_load(&r->slot->now_ino), dev = atomic_load(&r->slot->now_dev);

	if (ino == 0)
		return;
	uint32_t at = r->hostile++ % POISON_MOST;
	r->slot->poison[at].dev = dev;
	r->slot->poison[at].ino = ino;
	if (r->slot->npoison < POISON_MOST)
		r->slot->npoison++;
	atomic_store(&r->slot->now_ino, 0);
	log_error("the reader died over inode %llu: that file will not be read again", (unsigned long long)ino);
}

static void ended(struct roles *r, pid_t pid, int status)
{
	const char *name = pid == r->watch ? "watch" : pid == r->sift ? "sift" : NULL;

	if (name == NULL)
		return;
	if (WIFSIGNALED(status))
		log_warn("role %s (pid %ld) was killed by signal %d", name, (long)pid, WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		log_warn("role %s (pid %ld) ended with status %d", name, (long)pid, WEXITSTATUS(status));
	/* what a file can do to its reader; SIGKILL and SIGTERM come from people and from the kernel's need for memory */
	if (pid == r->sift && WIFSIGNALED(status) && WTERMSIG(status) != SIGKILL && WTERMSIG(status) != SIGTERM)
		blame(r);
	if (pid == r->watch)
		r->watch = 0;
	else
		r->sift = 0;
}

bool roles_reap(struct roles *r, pid_t *other, int64_t now_ms)
{
	bool any = false;
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		any = any || pid == r->watch || pid == r->sift;
		if (pid == *other)
			*other = 0;
		ended(r, pid, status);
	}
	if (!any)
		return false;
	if (r->watch > 0)
		(void)kill(r->watch, SIGKILL);
	if (r->sift > 0)
		(void)kill(r->sift, SIGKILL);
	if (r->watch > 0 || r->sift > 0)
		return false; /* the other one's end comes with the next signal */
	down(r);
	r->restarts++;
	if (now_ms - r->started_ms > STEADY_MS)
		r->delay_ms = DELAY_FIRST_MS;
	r->next_ms = now_ms + r->delay_ms;
	r->delay_ms = r->delay_ms * 2 < DELAY_MOST_MS ? r->delay_ms * 2 : DELAY_MOST_MS;
	return true;
}

void roles_stop(struct roles *r)
{
	pid_t pids[2] = { r->watch, r->sift };

	r->watch = r->sift = 0;
	for (int i = 0; i < 2; i++)
		if (pids[i] > 0)
			(void)kill(pids[i], SIGKILL);
	for (int i = 0; i < 2; i++)
		if (pids[i] > 0)
			while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR)
				;
	down(r);
}

/* One answer, checked. */
static void take_answer(struct walk_job *job, const char *p, size_t n)
{
	struct walk_answer a;

	if (n < sizeof a)
		return;
	memcpy(&a, p, sizeof a);
	if (a.result > WALK_UNREADABLE || a.card_size > sizeof *job->card || a.walk_size > sizeof *job->walk ||
	    n != sizeof a + ALIGN8(a.card_size) + a.walk_size)
		return;
	memset(job->card, 0, sizeof *job->card);
	memcpy(job->card, p + sizeof a, a.card_size);
	memcpy(job->walk, p + sizeof a + ALIGN8(a.card_size), a.walk_size);
	if (card_check(job->card, a.card_size) && walk_check(job->walk, a.walk_size))
		job->result = (enum walk_result)a.result;
	else
		log_error("the reader sent an answer that breaks the rules");
}

void roles_walk(void *arg, struct walk_job *jobs, size_t n)
{
	static char answer[WALK_ANSWER_MAX]; /* under walk_lock */
	struct roles *r = arg;
	struct stat st;
	size_t sent = 0;

	(void)pthread_mutex_lock(&r->walk_lock);
	for (size_t i = 0; i < n; i++)
		jobs[i].result = WALK_AGAIN;
	for (; r->walk_fd >= 0 && sent < n; sent++) {
		struct walk_ask ask = { .spool = jobs[sent].spool, .digest_only = jobs[sent].digest_only };
		if (fstat(jobs[sent].fd, &st) != 0)
			break;
		ask.size = (uint64_t)st.st_size;
		ask.uid = st.st_uid;
		if (wire_send(r->walk_fd, &ask, sizeof ask, &jobs[sent].fd, 1) != 0)
			break;
	}
	for (size_t i = 0; i < sent; i++) {
		ssize_t got = wire_recv(r->walk_fd, answer, sizeof answer, NULL, 0, NULL);
		if (got <= 0) { /* sift died, or hangs: what it might still answer must not meet the next question */
			if (got < 0 && errno == EAGAIN && r->sift > 0)
				(void)kill(r->sift, SIGABRT);
			(void)shutdown(r->walk_fd, SHUT_RDWR);
			break;
		}
		take_answer(&jobs[i], answer, (size_t)got);
	}
	(void)pthread_mutex_unlock(&r->walk_lock);
}
