/* trail.h - what one origin sent, and when: any sliding window can be read from it.
 *
 * Exact for the last TRAIL_MOST entries. When they are full the two neighbours that lie closest
 * together in proportion to their age become one, at the older one's time: such mail leaves a
 * window a little early, never late, so nobody is held for mail that is out of the window.
 * An origin that sent one message costs one entry. Times are milliseconds of the caller's clock. */
#ifndef MONITOR_TRAIL_H
#define MONITOR_TRAIL_H

#include "base/slice.h"

#define TRAIL_MOST 256

struct tally {
	uint64_t bytes;
	uint32_t messages, recipients;
};

struct trail {
	struct trail_entry *entry; /* oldest first */
	uint16_t n, cap;
};

/* False: no memory; nothing was added. when may lie in the past. */
bool trail_add(struct trail *, int64_t when_ms, const struct tally *);
/* Everything after since_ms. */
struct tally trail_since(const struct trail *, int64_t since_ms);
/* Forgets what is older than the longest window. */
void trail_trim(struct trail *, int64_t before_ms);
void trail_clear(struct trail *);

/* As bytes for the ledger, ages relative to now_ms; the buffer must hold TRAIL_BLOB_MOST. */
#define TRAIL_BLOB_MOST (TRAIL_MOST * 24)
size_t trail_save(const struct trail *, int64_t now_ms, char *out);
bool trail_load(struct trail *, int64_t now_ms, struct slice blob);

#endif
