/* cell.h - the directory in the quarantine that holds one message.
 *
 *   QUARANTINE/cells/NNN/mID/message     the queue file, byte for byte
 *                           /log.NAME    the MTA's log of it, when there was one
 *                           /info.json   what a person needs to put it back by hand
 *
 * Nothing is durable before cells_sync(). */
#ifndef QUARANTINE_CELL_H
#define QUARANTINE_CELL_H

#include "quarantine/ledger.h"
#include "quarantine/place.h"

#define CELL_FILE "message"
#define CELL_INFO "info.json"

struct cells {
	int fd; /* QUARANTINE/cells */
};

/* Makes the directories when missing. */
int cells_open(const char *quarantine_dir, struct cells *out, struct err *e);
void cells_close(struct cells *);

/* The cell's directory, O_RDONLY; made when create is set. -1 with errno. */
int cell_dir(const struct cells *, int64_t id, bool create);
/* Stage file -> cell by rename (same mount). */
int cell_move_in(const struct cells *, struct place *, const char *staged, const struct row *, struct err *e);
/* Stage file -> cell as a copy under a temporary name; the caller syncs, compares, then cell_copy_done(). *fd: the copy. */
int cell_copy_in(const struct cells *, struct place *, const char *staged, const struct row *, int *fd, struct err *e);
int cell_copy_done(const struct cells *, int64_t id, struct err *e);
int cell_write_info(const struct cells *, const struct row *, struct err *e);
/* The MTA's logs about the message: copied into the cell, then removed from the spool. ENOENT is fine. */
int cell_take_logs(const struct cells *, struct place *, const struct row *, struct err *e);
int cell_open_file(const struct cells *, int64_t id, const char *name, struct err *e);
/* 1, 0, or -1 when nobody can say just now: not the same as no. */
int cell_has(const struct cells *, int64_t id, const char *name, struct err *e);
/* Is what lies there this row's message (its size)? An empty cell is nobody's. */
bool cell_is(const struct cells *, const struct row *);
/* Everything of the cell; a cell that is not there is fine. */
int cell_remove(const struct cells *, int64_t id, struct err *e);
int cells_sync(const struct cells *, struct err *e);

/* From info.json alone. The format's own walk fills nothing here. */
int cell_read_info(const struct cells *, int64_t id, struct row *out, struct err *e);
/* Calls each() for every cell, in no order. */
int cells_each(const struct cells *, int (*each)(void *arg, int64_t id), void *arg, struct err *e);

#endif
