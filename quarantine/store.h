/* store.h - everything at rest: configuration, ledger, cells, and the spools' directories.
 *
 * One process owns the store (a lock file in state_dir); the daemon, or a CLI while no daemon
 * runs. Inside the daemon several threads use one store: the ledger locks itself, a place
 * locks itself, the counters are atomic. */
#ifndef QUARANTINE_STORE_H
#define QUARANTINE_STORE_H

#include <jansson.h>
#include <stdatomic.h>

#include "conf/conf.h"
#include "quarantine/cell.h"

/* What the daemon wants to hear; every member may be NULL. Called from any thread. */
struct store_hooks {
	void *arg;
	/* A message is about to come back under this id: neither count nor take it, nor what is made of it (a content filter
	 * names the old id). */
	void (*returning)(void *arg, uint16_t spool, struct slice id, uint64_t ino, const struct row *was);
	/* A taken message reached a state (ROW_HELD, ROW_GONE). */
	void (*settled)(void *arg, const struct row *);
	/* Somebody changed an origin (hold, lift, trust) or closed an incident. */
	void (*origin_changed)(void *arg, const struct origin_row *);
	/* The live part of the status row. */
	json_t *(*status)(void *arg);
};

enum walk_result { WALK_AGAIN, WALK_OK, WALK_UNREADABLE };
/* One file to be read by the role that may read: descriptors go out, facts come back. */
struct walk_job {
	uint16_t spool;
	int fd;
	bool digest_only; /* only sha256 and size are filled */
	enum walk_result result;
	struct card *card;
	struct walk *walk;
};
struct walker {
	void *arg;
	void (*run)(void *arg, struct walk_job *jobs, size_t n);
};
#define WALK_BATCH 16

struct store {
	const struct conf *conf;
	struct ledger *ledger;
	struct cells cells;
	struct place *places;
	size_t nplaces;
	int lock_fd;
	char boot_id[40];
	atomic_uint_least64_t held_messages, held_bytes;
	struct store_hooks hooks;
	pthread_mutex_t moving; /* releases, purges and their recovery: one at a time */
	bool on_ram;  /* the quarantine: a power cut loses what is held */
	atomic_bool unfinished; /* rows stay RELEASING or PURGING after a failure: recover_place() is due again */
};

/* ERR_EXISTS: another process has the lock. ERR_DENIED: not permitted. briefs: from brief_make(), or NULL to make
 * them here. Places are not up yet. */
int store_open(const struct conf *conf, struct store **out, struct err *e);
int store_open_briefs(const struct conf *conf, const struct brief *briefs, struct store **out, struct err *e);
/* Every place that can be, and its recovery. What cannot is told to say(). */
void store_up(struct store *, void (*say)(const char *text));
void store_close(struct store *); /* NULL is welcome */

struct place *store_place(struct store *, const char *name);
/* No place comes or goes while they are held. Not over a walk: the loop would wait for us, we for the reader, and the reader
 * for the loop. */
void store_hold_places(struct store *, bool hold);

/* Is there room for one more message, beside those that are on their way to their cells? false: why says what is full. */
bool store_room(struct store *, uint64_t coming, uint64_t coming_bytes, char *why, size_t cap);
void store_count(struct store *, int64_t messages, int64_t bytes);

#endif
