/* take.h - from the stage into the cells: waits until a claimed file is still, has it walked,
 * writes the ledger, moves it, writes the ledger.
 *
 * It also finishes what a release or a purge had to leave half (store.unfinished).
 * One thread calls take_step(); take_add() may be called from any. Nothing is lost when a step
 * fails: the file stays in the stage and is tried again, later and later. */
#ifndef QUARANTINE_TAKE_H
#define QUARANTINE_TAKE_H

#include "quarantine/store.h"

struct taker;

int taker_new(struct store *, const struct walker *, struct taker **out, struct err *e);
void taker_free(struct taker *);

/* A file that was claimed. origin "": found in the stage, its own facts tell. row: 0, or the row it has. */
int take_add(struct taker *, uint16_t spool, const char *staged, unsigned dir, unsigned depth, struct slice id,
	     int64_t incident, const char *origin, int64_t row);
/* Works on what is due, a batch at most. Milliseconds until there is more to do: 0 now, -1 nothing waits. */
int take_step(struct taker *, int64_t now_ms);
size_t take_waiting(struct taker *);
/* What went wrong last, "" while all is well. */
void take_trouble(struct taker *, char *out, size_t cap);

#endif
