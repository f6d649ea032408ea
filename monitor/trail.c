#include "monitor/trail.h"

#include <stdlib.h>

struct trail_entry {
	int64_t when_ms;
	struct tally tally;
};

_Static_assert(sizeof(struct trail_entry) == 24, "the saved form is 24 bytes an entry");

static void tally_add(struct tally *to, const struct tally *t)
{
	to->bytes += t->bytes;
	to->messages = to->messages > UINT32_MAX - t->messages ? UINT32_MAX : to->messages + t->messages;
	to->recipients = to->recipients > UINT32_MAX - t->recipients ? UINT32_MAX : to->recipients + t->recipients;
}

/* The pair whose gap is smallest against its age becomes one. */
static void merge_one(struct trail *t)
{
	int64_t now = t->entry[t->n - 1].when_ms;
	unsigned best = 0;
	double least = 0;

	for (unsigned i = 0; i + 1 < t->n; i++) {
		double gap = (double)(t->entry[i + 1].when_ms - t->entry[i].when_ms);
		double cost = gap / (double)(now - t->entry[i].when_ms + 1);
		if (i == 0 || cost < least) {
			least = cost;
			best = i;
		}
	}
	tally_add(&t->entry[best].tally, &t->entry[best + 1].tally);
	memmove(&t->entry[best + 1], &t->entry[best + 2], (size_t)(t->n - best - 2) * sizeof *t->entry);
	t->n--;
}

static bool grow(struct trail *t)
{
	unsigned cap = t->cap == 0 ? 1 : t->cap * 2u;

	if (cap > TRAIL_MOST)
		cap = TRAIL_MOST;
	struct trail_entry *more = realloc(t->entry, cap * sizeof *more);
	if (more == NULL)
		return false;
	t->entry = more;
	t->cap = (uint16_t)cap;
	return true;
}

bool trail_add(struct trail *t, int64_t when_ms, const struct tally *add)
{
	unsigned at = t->n;

	while (at > 0 && t->entry[at - 1].when_ms > when_ms)
		at--;
	if (at > 0 && t->entry[at - 1].when_ms == when_ms) {
		tally_add(&t->entry[at - 1].tally, add);
		return true;
	}
	if (t->n == t->cap && t->n < TRAIL_MOST && !grow(t))
		return false;
	if (t->n == TRAIL_MOST) {
		merge_one(t);
		return trail_add(t, when_ms, add);
	}
	memmove(&t->entry[at + 1], &t->entry[at], (size_t)(t->n - at) * sizeof *t->entry);
	t->entry[at] = (struct trail_entry){ when_ms, *add };
	t->n++;
	return true;
}

struct tally trail_since(const struct trail *t, int64_t since_ms)
{
	struct tally sum = { 0 };

	for (unsigned i = t->n; i > 0 && t->entry[i - 1].when_ms > since_ms; i--)
		tally_add(&sum, &t->entry[i - 1].tally);
	return sum;
}

void trail_trim(struct trail *t, int64_t before_ms)
{
	unsigned old = 0;

	while (old < t->n && t->entry[old].when_ms <= before_ms)
		old++;
	if (old == t->n) {
		trail_clear(t);
	} else if (old > 0) {
		memmove(t->entry, t->entry + old, (size_t)(t->n - old) * sizeof *t->entry);
		t->n = (uint16_t)(t->n - old);
	}
}

void trail_clear(struct trail *t)
{
	free(t->entry);
	*t = (struct trail){ 0 };
}

size_t trail_save(const struct trail *t, int64_t now_ms, char *out)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct trail_entry e = t->entry[i];
		e.when_ms = now_ms - e.when_ms;
		memcpy(out + i * sizeof e, &e, sizeof e);
	}
	return t->n * sizeof *t->entry;
}

bool trail_load(struct trail *t, int64_t now_ms, struct slice blob)
{
	if (blob.n % sizeof *t->entry != 0 || blob.n > TRAIL_BLOB_MOST)
		return false;
	for (size_t at = 0; at < blob.n; at += sizeof *t->entry) {
		struct trail_entry e;
		memcpy(&e, blob.p + at, sizeof e);
		if (e.when_ms < 0 || !trail_add(t, now_ms - e.when_ms, &e.tally))
			return false;
	}
	return true;
}
