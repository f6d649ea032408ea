/* recover.h - after a crash: every message whole, on exactly one side.
 *
 * The stage directory and the rows that are not at rest are compared, and each is finished or undone. */
#ifndef QUARANTINE_RECOVER_H
#define QUARANTINE_RECOVER_H

#include "quarantine/store.h"
#include "quarantine/take.h"

/* Releases and purges that were under way in this spool. Needs the place up. */
int recover_place(struct store *, struct place *, struct err *e);
/* Takes that were under way: gives them to the taker again. */
int recover_takes(struct store *, struct place *, struct taker *, struct err *e);
/* A ledger that is new: every cell tells its own row. */
int recover_rebuild(struct store *, struct err *e);

/* Each start: no new row gets the id of a cell, and the cells of messages that are finished go. */
int recover_cells(struct store *, struct err *e);

/* What does not fit together. safe: repairing it loses nothing. */
struct finding {
	const char *what;
	int64_t id;
	char path[512];
	bool safe, repaired;
};
int fsck(struct store *, bool repair, int (*each)(void *arg, const struct finding *), void *arg, struct err *e);

#endif
