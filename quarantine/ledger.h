/* ledger.h - what happened to every taken message, every incident, every held origin: SQLite,
 * WAL, full sync. The one door to SQLite.
 *
 * A row changes state only from the state that it is expected in: of two who want to release
 * and to purge, one wins. Calls between ledger_begin() and ledger_commit() are one
 * transaction, durable when ledger_commit() returns 0. The ledger locks itself; a
 * transaction belongs to the thread that began it. Times are unix seconds. */
#ifndef QUARANTINE_LEDGER_H
#define QUARANTINE_LEDGER_H

#include <sys/types.h>

#include "base/err.h"
#include "spool/card.h"

#define ORIGIN_TEXT 384 /* "kind:value", NUL included */

/* free -> TAKING -> STAGED -> HELD -> RELEASING -> RELEASED
 *                             HELD -> PURGING -> PURGED
 * TAKING -> GONE: the MTA had delivered it before it was still. */
enum row_state {
	ROW_TAKING = 1,    /* in the stage, not yet still */
	ROW_STAGED = 2,    /* in the stage, still, walked; or in its cell already */
	ROW_HELD = 3,      /* in its cell */
	ROW_RELEASING = 4, /* new_id empty: nothing happened yet. Set: in the stage, or in the spool again */
	ROW_RELEASED = 5,
	ROW_PURGING = 6,
	ROW_PURGED = 7,
	ROW_GONE = 8,
	ROW_UNCERTAIN = 9, /* released to a RAM disk that a reboot emptied: a person decides */
	ROW_STATES
};
extern const char *const row_state_names[ROW_STATES];

struct row {
	int64_t id; /* the m in m12 */
	enum row_state state;
	char spool[40], format[24];
	struct queue_id queue_id, new_id;
	uint64_t dev, ino, size;
	unsigned dir, depth;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	int64_t mtime;
	int64_t incident; /* 0: by hand */
	char origin[ORIGIN_TEXT];
	char sender[ADDRESS_MAX + 1], login[LOGIN_MAX + 1], client[64], subject[400], from[400], message_id[400];
	uint32_t recipients, done; /* still to deliver; delivered before it was taken */
	char *rcpts;               /* owned: addresses, a newline behind each; NULL for none */
	int64_t arrived, taken, changed;
	unsigned char sha256[SHA256_SIZE];
	uint32_t nstamps;
	struct stamp stamps[WALK_STAMPS];
	char boot_id[40];
	bool readable; /* a walk understood it */
};

struct incident {
	int64_t id, since, updated, closed, per_s;
	char origin[ORIGIN_TEXT], rule[64], mode[16], state[24], reason[400];
	uint64_t recipients, messages, limit, would_take, missed, clients;
	/* computed from the rows when read */
	uint64_t taken, gone, held, released, purged;
};

enum origin_hold { HOLD_NONE, HOLD_HELD, HOLD_TRUSTED };
struct origin_row {
	char origin[ORIGIN_TEXT], by[64], reason[200];
	enum origin_hold state;
	int64_t since, until, incident; /* until 0: no end */
};

struct audit_row {
	int64_t time, count;
	char who[64], tty[64], action[32], what[ORIGIN_TEXT], detail[400];
};

/* SELECT of the command line; strings are patterns (*, ?) or NULL; times 0: any. */
struct selection {
	int64_t incident; /* 0: any */
	const char *origin, *sender, *recipient, *subject, *spool;
	uint64_t larger;
	int64_t before, since;
	const int64_t *ids;
	size_t nids;
	unsigned states; /* bits by enum row_state */
};

struct ledger;

/* path: the database file; made when missing. *fresh: it was never completed: what the cells know belongs into it. */
int ledger_open(const char *path, struct ledger **out, bool *fresh, struct err *e);
/* Inside a transaction: from now on it is not fresh, and no new row gets an id up to last_id. */
int ledger_complete(struct ledger *, int64_t last_id, struct err *e);
/* "ok", or what is wrong with the database itself. */
int ledger_check(struct ledger *, char *finding, size_t cap, struct err *e);
void ledger_close(struct ledger *); /* NULL is welcome */

int ledger_begin(struct ledger *, struct err *e);
int ledger_commit(struct ledger *, struct err *e); /* on failure everything since begin is undone */
void ledger_undo(struct ledger *);

/* row->id 0: a new id is given. */
int ledger_put(struct ledger *, struct row *row, struct err *e);
/* From -> to, 1 when it was in from, 0 when it was not, -1. Sets changed. */
int ledger_move(struct ledger *, int64_t id, enum row_state from, enum row_state to, int64_t now, struct err *e);
int ledger_set_new_id(struct ledger *, int64_t id, struct slice new_id, const char *boot_id, struct err *e);
/* Numbers by name that outlive a restart; 0 where there is none. */
int ledger_meta_put(struct ledger *, const char *name, int64_t value, struct err *e);
int ledger_meta_get(struct ledger *, const char *name, int64_t *value, struct err *e);
int ledger_forget(struct ledger *, int64_t id, struct err *e); /* the row of a take that never happened */
/* 1 found, 0 not, -1. Rows are given back with row_free(). */
int ledger_get(struct ledger *, int64_t id, struct row *out, struct err *e);
int ledger_find(struct ledger *, const char *spool, struct slice queue_id, uint64_t ino, struct row *out, struct err *e);
void row_free(struct row *);

/* Calls each() for every row of the selection, oldest first, until it returns non-zero, which is returned. Rows are
 * read in pages outside of any transaction: each() may call the ledger. */
int ledger_each(struct ledger *, const struct selection *, int (*each)(void *arg, struct row *), void *arg, struct err *e);
struct ledger_sum {
	uint64_t messages, bytes, origins;
	int64_t last; /* highest id */
};
int ledger_sum(struct ledger *, const struct selection *, struct ledger_sum *out, struct err *e);

int ledger_incident_put(struct ledger *, const struct incident *, struct err *e);
int ledger_incident_get(struct ledger *, int64_t id, struct incident *out, struct err *e);
int ledger_incidents(struct ledger *, bool all, int (*each)(void *arg, const struct incident *), void *arg, struct err *e);
/* The highest number that an incident ever had here; -1 when it cannot be read. */
int64_t ledger_incident_last(struct ledger *, struct err *e);
/* Counts of one text column among an incident's rows, most first: "sender", "subject", "client", "size"
 * (rounded to KiB). */
int ledger_top(struct ledger *, int64_t incident, const char *column, unsigned limit,
	       int (*each)(void *arg, const char *value, uint64_t count), void *arg, struct err *e);

int ledger_origin_put(struct ledger *, const struct origin_row *, struct err *e); /* HOLD_NONE removes it */
int ledger_origins(struct ledger *, int (*each)(void *arg, const struct origin_row *), void *arg, struct err *e);

int ledger_audit(struct ledger *, const struct audit_row *, struct err *e);
/* The pattern (GLOB) is held against what and a blank behind it. */
int ledger_audits(struct ledger *, int64_t since, int64_t before, const char *what_pattern,
		  int (*each)(void *arg, const struct audit_row *), void *arg, struct err *e);

/* The running windows: an opaque blob per origin, replaced as a whole. */
int ledger_trails_replace(struct ledger *, int64_t saved_at, int (*next)(void *arg, const char **origin, struct slice *blob),
			  void *arg, struct err *e);
#define META_TRAILS_SAVED "trails_saved"
int ledger_trail_forget(struct ledger *, const char *origin, struct err *e);
int ledger_trails(struct ledger *, int (*each)(void *arg, const char *origin, struct slice blob), void *arg, struct err *e);

/* Finished rows older than that, their incidents and audit lines. */
int ledger_prune(struct ledger *, int64_t before, uint64_t *removed, struct err *e);

#endif
