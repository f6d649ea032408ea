/* release.h - back to the MTA, or destroyed; a batch at a time.
 *
 * Each message of a batch succeeds or fails by itself; why[] is "" for those that succeeded.
 * What failed is still held when a call returns. Only what fails behind its commit, or while the ledger cannot be
 * written, stays RELEASING or PURGING: store.unfinished is set, and take_step() finishes it. */
#ifndef QUARANTINE_RELEASE_H
#define QUARANTINE_RELEASE_H

#include "quarantine/store.h"

#define MOVE_BATCH 128

struct move_result {
	char why[400];
	uint64_t bytes;
};

/* Returns the number that succeeded; -1 when the ledger cannot be written at all. */
int release_batch(struct store *, const int64_t *ids, size_t n, struct move_result *results, struct err *e);
int purge_batch(struct store *, const int64_t *ids, size_t n, struct move_result *results, struct err *e);

/* For recovery: the steps from a committed new id on. */
int release_forward(struct store *, struct place *, struct row *, struct err *e);
int purge_forward(struct store *, struct row *, struct err *e);

#endif
