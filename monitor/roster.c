#include "monitor/roster.h"

#include <stdlib.h>

#define ORIGINS_FIRST 256
#define BUCKETS_FIRST 1024
#define EVICT_LOOK 64

bool roster_init(struct roster *r, uint64_t max_origins)
{
	memset(r, 0, sizeof *r);
	r->max_origins = max_origins < UINT32_MAX / 4 ? (uint32_t)max_origins : UINT32_MAX / 4;
	r->origins_cap = ORIGINS_FIRST;
	r->index_cap = ORIGINS_FIRST * 2;
	r->nbuckets = BUCKETS_FIRST;
	r->origins = calloc(r->origins_cap, sizeof *r->origins);
	r->index = malloc(r->index_cap * sizeof *r->index);
	r->bucket = calloc(r->nbuckets, sizeof *r->bucket);
	if (r->origins == NULL || r->index == NULL || r->bucket == NULL) {
		roster_free(r);
		return false;
	}
	memset(r->index, 0xff, r->index_cap * sizeof *r->index);
	return true;
}

static void message_free(void *arg, struct message *m)
{
	(void)arg;
	free(m);
}

void roster_free(struct roster *r)
{
	uint32_t at = 0;

	if (r->bucket != NULL)
		(void)roster_walk(r, &at, r->nbuckets, message_free, NULL);
	for (uint32_t i = 0; r->origins != NULL && i < r->origins_cap; i++) {
		trail_clear(&r->origins[i].trail);
		free(r->origins[i].name);
	}
	free(r->origins);
	free(r->index);
	free(r->bucket);
	memset(r, 0, sizeof *r);
}

/* The slot of the index that holds the name, or the free one where it would be. */
static uint32_t *index_slot(const struct roster *r, uint64_t hash, const char *name)
{
	for (uint32_t at = (uint32_t)hash & (r->index_cap - 1);; at = (at + 1) & (r->index_cap - 1)) {
		uint32_t number = r->index[at];
		if (number == ORIGIN_NONE ||
		    (r->origins[number].hash == hash && strcmp(r->origins[number].name, name) == 0))
			return &r->index[at];
	}
}

/* Linear probing without tombstones: what follows a hole moves into it if it may. */
static void index_remove(struct roster *r, const struct origin *o)
{
	uint32_t mask = r->index_cap - 1, hole = (uint32_t)(index_slot(r, o->hash, o->name) - r->index);

	for (uint32_t at = (hole + 1) & mask; r->index[at] != ORIGIN_NONE; at = (at + 1) & mask) {
		uint32_t home = (uint32_t)r->origins[r->index[at]].hash & mask;
		if (((at - home) & mask) < ((at - hole) & mask))
			continue;
		r->index[hole] = r->index[at];
		hole = at;
	}
	r->index[hole] = ORIGIN_NONE;
}

static bool grow_origins(struct roster *r)
{
	uint32_t cap = r->origins_cap * 2;
	struct origin *more = realloc(r->origins, cap * sizeof *more);

	if (more == NULL)
		return false;
	r->origins = more;
	memset(more + r->origins_cap, 0, (cap - r->origins_cap) * sizeof *more);
	uint32_t *index = malloc(cap * 2 * sizeof *index);
	if (index == NULL)
		return false;
	free(r->index);
	r->index = index;
	r->index_cap = cap * 2;
	r->free_hint = r->origins_cap;
	r->origins_cap = cap;
	memset(index, 0xff, r->index_cap * sizeof *index);
	for (uint32_t i = 0; i < cap; i++)
		if (more[i].name != NULL)
			*index_slot(r, more[i].hash, more[i].name) = i;
	return true;
}

static bool idle(const struct origin *o)
{
	return o->name != NULL && o->refs == 0 && o->state == HOLD_NONE && o->incident == 0;
}

/* The idlest of the next few that nothing needs. */
static bool evict(struct roster *r)
{
	uint32_t victim = ORIGIN_NONE;
	unsigned looked = 0;

	for (uint32_t i = 0; i < r->origins_cap && looked < EVICT_LOOK; i++) {
		r->clock_hand = (r->clock_hand + 1) % r->origins_cap;
		const struct origin *o = &r->origins[r->clock_hand];
		if (!idle(o))
			continue;
		looked++;
		if (victim == ORIGIN_NONE || o->last_ms < r->origins[victim].last_ms)
			victim = r->clock_hand;
	}
	if (victim == ORIGIN_NONE)
		return false;
	struct origin *o = &r->origins[victim];
	index_remove(r, o);
	trail_clear(&o->trail);
	free(o->name);
	memset(o, 0, sizeof *o);
	r->norigins--;
	r->evicted++;
	r->free_hint = victim;
	return true;
}

uint32_t roster_origin_find(const struct roster *r, const char *name)
{
	return *index_slot(r, hash_slice(slice_str(name), 0), name);
}

uint32_t roster_origin(struct roster *r, const char *name, enum origin_kind kind, int64_t now_ms)
{
	uint64_t hash = hash_slice(slice_str(name), 0);
	uint32_t number = *index_slot(r, hash, name);

	if (number != ORIGIN_NONE)
		return number;
	if (r->norigins >= r->max_origins && !evict(r))
		return ORIGIN_NONE;
	if (r->norigins == r->origins_cap && !grow_origins(r))
		return ORIGIN_NONE;
	char *copy = strdup(name);
	if (copy == NULL)
		return ORIGIN_NONE;
	for (number = r->free_hint; r->origins[number].name != NULL; number = (number + 1) % r->origins_cap)
		;
	r->free_hint = (number + 1) % r->origins_cap;
	r->origins[number] = (struct origin){ .hash = hash, .name = copy, .kind = (uint8_t)kind, .last_ms = now_ms };
	*index_slot(r, hash, name) = number;
	r->norigins++;
	return number;
}

void roster_trim(struct roster *r, uint32_t number, int64_t before_ms)
{
	if (r->origins[number].name != NULL)
		trail_trim(&r->origins[number].trail, before_ms);
}

static bool away(enum message_state s)
{
	return s == MESSAGE_GONE || s == MESSAGE_TAKEN || s == MESSAGE_PARDONED;
}

static uint32_t bucket_of(const struct roster *r, uint16_t spool, struct slice id)
{
	return (uint32_t)hash_slice(id, spool + 1u) & (r->nbuckets - 1);
}

struct message *roster_find(const struct roster *r, uint16_t spool, struct slice id)
{
	for (struct message *m = r->bucket[bucket_of(r, spool, id)]; m != NULL; m = m->next)
		if (m->spool == spool && m->id_n == id.n && memcmp(m->id, id.p, id.n) == 0)
			return m;
	return NULL;
}

/* No memory is no harm here: the chains get longer. */
static void grow_buckets(struct roster *r)
{
	uint32_t n = r->nbuckets, at = 0;
	struct message **old = r->bucket, **more = calloc((size_t)n * 2, sizeof *more);

	if (more == NULL)
		return;
	r->bucket = more;
	r->nbuckets = n * 2;
	for (; at < n; at++)
		while (old[at] != NULL) {
			struct message *m = old[at];
			old[at] = m->next;
			uint32_t to = bucket_of(r, m->spool, (struct slice){ m->id, m->id_n });
			m->next = more[to];
			more[to] = m;
		}
	free(old);
}

struct message *roster_add(struct roster *r, uint16_t spool, struct slice id, uint64_t ino)
{
	if (id.n > UINT8_MAX || spool >= CONF_SPOOLS_MAX)
		return NULL;
	if (r->nmessages + r->ngone >= r->nbuckets && r->nbuckets < 1u << 30)
		grow_buckets(r);
	struct message *m = calloc(1, sizeof *m + id.n);
	if (m == NULL)
		return NULL;
	m->ino = ino;
	m->spool = spool;
	m->id_n = (uint8_t)id.n;
	memcpy(m->id, id.p, id.n);
	for (unsigned i = 0; i < ORIGINS_MAX; i++)
		m->origin[i] = ORIGIN_NONE;
	uint32_t at = bucket_of(r, spool, id);
	m->next = r->bucket[at];
	r->bucket[at] = m;
	r->nmessages++;
	r->queued[spool]++;
	return m;
}

void roster_name(struct roster *r, struct message *m, unsigned at, uint32_t origin)
{
	m->origin[at] = origin;
	if (origin == ORIGIN_NONE)
		return;
	r->origins[origin].refs++;
	r->origins[origin].queued += !away((enum message_state)m->state);
}

void roster_state(struct roster *r, struct message *m, enum message_state s, int64_t now_ms)
{
	bool was = away((enum message_state)m->state), is = away(s);

	m->state = (uint8_t)s;
	m->gone_s = (uint32_t)(now_ms / 1000);
	if (was == is)
		return;
	r->nmessages = r->nmessages + (was ? 1 : 0) - (is ? 1 : 0);
	r->ngone = r->ngone + (is ? 1 : 0) - (was ? 1 : 0);
	r->queued[m->spool] = r->queued[m->spool] + (was ? 1 : 0) - (is ? 1 : 0);
	for (unsigned i = 0; i < ORIGINS_MAX; i++)
		if (m->origin[i] != ORIGIN_NONE)
			r->origins[m->origin[i]].queued += is ? UINT32_MAX : 1; /* one less, one more */
}

void roster_remove(struct roster *r, struct message *m)
{
	struct message **at = &r->bucket[bucket_of(r, m->spool, (struct slice){ m->id, m->id_n })];

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	for (unsigned i = 0; i < ORIGINS_MAX; i++)
		if (m->origin[i] != ORIGIN_NONE) {
			r->origins[m->origin[i]].refs--;
			r->origins[m->origin[i]].queued -= !away((enum message_state)m->state);
		}
	if (away((enum message_state)m->state)) {
		r->ngone--;
	} else {
		r->nmessages--;
		r->queued[m->spool]--;
	}
	free(m);
}

bool roster_walk(struct roster *r, uint32_t *at, uint32_t nbuckets, void (*each)(void *, struct message *), void *arg)
{
	for (; *at < r->nbuckets && nbuckets > 0; nbuckets--, (*at)++)
		for (struct message *m = r->bucket[*at], *next; m != NULL; m = next) {
			next = m->next;
			each(arg, m);
		}
	return *at < r->nbuckets;
}
