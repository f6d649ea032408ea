/* keeper.h - the thread of ward that may wait: takes, ledger writes, expiry.
 *
 * The loop never touches the ledger; it posts what is to be written. Posts are done in order. A post that cannot be
 * written (disk full) is tried again; the loop goes on meanwhile. */
#ifndef MONITOR_KEEPER_H
#define MONITOR_KEEPER_H

#include "quarantine/take.h"

struct keeper;

/* A snapshot of the running windows: name and blob pairs, owned by the keeper from the post on. */
struct trails_post {
	size_t n;
	int64_t saved_at;
	struct { char *origin; char *blob; size_t size; } *row;
};

int keeper_new(struct store *, struct taker *, struct keeper **out, struct err *e);
int keeper_start(struct keeper *, struct err *e);
/* Writes what was posted, then ends the thread. */
void keeper_stop(struct keeper *);

void keeper_incident(struct keeper *, const struct incident *);
void keeper_origin(struct keeper *, const struct origin_row *);
/* Both in one transaction: an incident that is quarantined, and the hold that it means (or their end). */
void keeper_hold(struct keeper *, const struct incident *, const struct origin_row *);
void keeper_trails(struct keeper *, struct trails_post *); /* dropped when the last one is not written yet */
/* There is something to take. */
void keeper_wake(struct keeper *);
/* The last failure of a write, "" while all is well. */
void keeper_trouble(struct keeper *, char *out, size_t cap);

#endif
