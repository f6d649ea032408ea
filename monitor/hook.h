/* hook.h - on_incident: the administrator's program, run outside of the fences, as a user without powers.
 *
 * A process of its own, started before ward gives up its powers; it runs one program at a time, never through a
 * shell, and ends it after hook_timeout. If it dies, alerts still go to syslog, and status says so. */
#ifndef MONITOR_HOOK_H
#define MONITOR_HOOK_H

#include "quarantine/store.h"

struct hook {
	pid_t pid; /* 0: none, or dead */
	int fd;
	bool wanted;
	uint32_t dropped;
};

/* Nothing happens where on_incident is empty. */
int hook_start(struct hook *, const struct conf *, struct err *e);
/* Never waits: what the process cannot take now is dropped and counted. */
void hook_tell(struct hook *, const struct incident *, const char *state);
void hook_stop(struct hook *);

#endif
