/* roles.h - ward's children: started, watched over, started again.
 *
 * watch and sift live and die as a pair: whichever ends, the other follows, and both begin anew with a full scan. */
#ifndef MONITOR_ROLES_H
#define MONITOR_ROLES_H

#include "monitor/role.h"
#include "quarantine/store.h"

struct roles {
	int exe_fd, start_fd, slot_fd;
	struct role_slot *slot;
	pid_t watch, sift; /* 0: not running */
	int cards_fd;      /* -1: not running */
	uint32_t restarts, hostile;
	int64_t started_ms, next_ms;
	int delay_ms;
	pthread_mutex_t walk_lock;
	int walk_fd;
	size_t nspools;
};

/* Before the sandbox closes: keeps this binary and the start record open. */
int roles_init(struct roles *, const struct brief *, size_t nspools, bool foreground, bool sandbox, int64_t reconcile_s,
	       struct err *e);
int roles_start(struct roles *, int64_t now_ms, struct err *e);
/* After SIGCHLD: reaps. True if the pair is down now; it is started again at next_ms. *other is another child's pid,
 * 0 when it ended. */
bool roles_reap(struct roles *, pid_t *other, int64_t now_ms);
void roles_stop(struct roles *);
/* A struct walker's run(); any thread. */
void roles_walk(void *roles, struct walk_job *jobs, size_t n);

#endif
