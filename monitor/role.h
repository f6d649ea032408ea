/* role.h - how ward starts the other roles, and what they are told.
 *
 * A role is this binary again with "--role NAME". Its descriptors have fixed numbers. */
#ifndef MONITOR_ROLE_H
#define MONITOR_ROLE_H

#include <stdatomic.h>

#include "quarantine/place.h"

enum role_fd {
	ROLE_FD_START = 3, /* struct role_start, read only */
	ROLE_FD_IN = 4,    /* sift: sightings */
	ROLE_FD_OUT = 5,   /* watch: sightings; sift: cards */
	ROLE_FD_WALK = 6,  /* sift: files to walk, and the answers */
	ROLE_FD_SLOT = 7,  /* sift: struct role_slot, shared */
	ROLE_FDS
};

struct role_start {
	uint32_t nspools, foreground, sandbox, reconcile_s;
	struct brief spool[];
};

/* The file that sift is reading: if it dies, that file is why, and the next one passes it by. */
#define POISON_MOST 64
struct role_slot {
	atomic_uint_least64_t now_dev, now_ino; /* written by sift; 0: none */
	uint32_t npoison;                       /* written by ward while no sift runs */
	struct { uint64_t dev, ino; } poison[POISON_MOST];
};

/* mains of the roles; they return an exit code */
int watch_main(const struct role_start *);
int sift_main(const struct role_start *);

#endif
