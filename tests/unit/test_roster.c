/* Facts about the roster, against lists that do the same slowly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "monitor/roster.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define NAMES 400
#define MESSAGES 1500
#define AWAY(s) ((s) == MESSAGE_GONE || (s) == MESSAGE_TAKEN || (s) == MESSAGE_PARDONED)

static uint64_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

static struct roster r;

/* The model: which messages there are, in which state, naming whom. */
static struct {
	bool there;
	uint8_t state;
	int name[ORIGINS_MAX]; /* -1: none */
} model[MESSAGES];

static void name_of(unsigned i, char out[40])
{
	(void)snprintf(out, 40, "login:user%u@example.com", i);
}

static struct slice id_of(unsigned i, char out[40])
{
	/* the same id in two spools is two messages */
	return (struct slice){ out, (size_t)snprintf(out, 40, "Q%u", i / 2) };
}

static struct message *find(unsigned i)
{
	char id[40];

	return roster_find(&r, (uint16_t)(i % 2), id_of(i, id));
}

static void add_message(unsigned i)
{
	char id[40], name[40];
	unsigned names = any(ORIGINS_MAX + 1);

	assert_null(find(i));
	struct message *m = roster_add(&r, (uint16_t)(i % 2), id_of(i, id), i + 1);
	assert_non_null(m);
	model[i].there = true;
	model[i].state = MESSAGE_FREE;
	for (unsigned k = 0; k < ORIGINS_MAX; k++) {
		model[i].name[k] = -1;
		if (k >= names)
			continue;
		unsigned who = any(NAMES);
		for (unsigned j = 0; j < k; j++)
			if (model[i].name[j] == (int)who)
				who = NAMES + 1; /* named once at most */
		if (who > NAMES)
			continue;
		name_of(who, name);
		uint32_t at = roster_origin(&r, name, ORIGIN_LOGIN, i);
		roster_name(&r, m, k, at);
		if (at != ORIGIN_NONE)
			model[i].name[k] = (int)who;
	}
}

static void check_counts(void)
{
	uint64_t here = 0, away = 0;
	unsigned refs[NAMES] = { 0 }, queued[NAMES] = { 0 };
	char name[40];

	for (unsigned i = 0; i < MESSAGES; i++) {
		struct message *m = find(i);
		assert_int_equal(m != NULL, model[i].there);
		if (m == NULL)
			continue;
		assert_int_equal(m->ino, i + 1);
		assert_int_equal(m->state, model[i].state);
		here += !AWAY(model[i].state);
		away += AWAY(model[i].state);
		for (unsigned k = 0; k < ORIGINS_MAX; k++) {
			assert_int_equal(m->origin[k] == ORIGIN_NONE, model[i].name[k] < 0);
			if (model[i].name[k] < 0)
				continue;
			name_of((unsigned)model[i].name[k], name);
			assert_string_equal(r.origins[m->origin[k]].name, name);
			refs[model[i].name[k]]++;
			queued[model[i].name[k]] += !AWAY(model[i].state);
		}
	}
	assert_int_equal(r.nmessages, here);
	assert_int_equal(r.ngone, away);
	for (unsigned i = 0; i < NAMES; i++) {
		name_of(i, name);
		uint32_t at = roster_origin_find(&r, name);
		if (at == ORIGIN_NONE) { /* evicted, or never there: then nothing needs it */
			assert_int_equal(refs[i], 0);
			continue;
		}
		assert_string_equal(r.origins[at].name, name);
		assert_int_equal(r.origins[at].refs, refs[i]);
		assert_int_equal(r.origins[at].queued, queued[i]);
	}
}

static void count_walked(void *arg, struct message *m)
{
	(void)m;
	++*(unsigned *)arg;
}

static void random_operations(void **state)
{
	static const uint32_t sizes[] = { 20, 100, 390, 10000 };

	(void)state;
	for (size_t s = 0; s < ROWS(sizes); s++) {
		seed = s + 1;
		memset(model, 0, sizeof model);
		assert_true(roster_init(&r, sizes[s]));
		for (unsigned step = 0; step < 30000; step++) {
			unsigned i = any(MESSAGES), what = any(10);
			struct message *m = find(i);
			if (m == NULL && what < 4) {
				add_message(i);
			} else if (m != NULL && what < 8) {
				model[i].state = (uint8_t)any(MESSAGE_GONE + 1);
				roster_state(&r, m, (enum message_state)model[i].state, step * 1000);
			} else if (m != NULL && what == 8) {
				model[i].there = false;
				roster_remove(&r, m);
			}
			if (step % 3000 == 0)
				check_counts();
		}
		check_counts();
		assert_in_range(r.norigins, 1, sizes[s]);
		unsigned walked = 0;
		uint32_t at = 0;
		while (roster_walk(&r, &at, 7, count_walked, &walked))
			;
		assert_int_equal(walked, r.nmessages + r.ngone);
		roster_free(&r);
	}
}

/* What a queued message, a hold or an incident needs is never evicted, however many come. */
static void eviction_keeps_what_is_needed(void **state)
{
	char name[40];

	(void)state;
	assert_true(roster_init(&r, 50));
	struct message *m = roster_add(&r, 0, SLICE("Q1"), 1);
	roster_name(&r, m, 0, roster_origin(&r, "login:queued", ORIGIN_LOGIN, 0));
	r.origins[roster_origin(&r, "login:held", ORIGIN_LOGIN, 0)].state = HOLD_HELD;
	r.origins[roster_origin(&r, "login:trusted", ORIGIN_LOGIN, 0)].state = HOLD_TRUSTED;
	r.origins[roster_origin(&r, "login:incident", ORIGIN_LOGIN, 0)].incident = 1;
	for (unsigned i = 0; i < 100000; i++) {
		name_of(i, name);
		assert_int_not_equal(roster_origin(&r, name, ORIGIN_LOGIN, i + 1), ORIGIN_NONE);
	}
	assert_int_equal(r.norigins, 50);
	assert_int_equal(r.evicted, 100000 + 4 - 50);
	assert_int_not_equal(roster_origin_find(&r, "login:queued"), ORIGIN_NONE);
	assert_int_not_equal(roster_origin_find(&r, "login:held"), ORIGIN_NONE);
	assert_int_not_equal(roster_origin_find(&r, "login:trusted"), ORIGIN_NONE);
	assert_int_not_equal(roster_origin_find(&r, "login:incident"), ORIGIN_NONE);
	/* once its last message is forgotten nothing needs it, and it goes before those that came later */
	roster_remove(&r, m);
	name_of(100001, name);
	(void)roster_origin(&r, name, ORIGIN_LOGIN, 100002);
	assert_int_equal(roster_origin_find(&r, "login:queued"), ORIGIN_NONE);
	roster_free(&r);
}

static void all_are_needed(void **state)
{
	char name[40];

	(void)state;
	assert_true(roster_init(&r, 10));
	for (unsigned i = 0; i < 10; i++) {
		name_of(i, name);
		r.origins[roster_origin(&r, name, ORIGIN_LOGIN, 0)].state = HOLD_HELD;
	}
	assert_int_equal(roster_origin(&r, "login:one more", ORIGIN_LOGIN, 0), ORIGIN_NONE);
	assert_int_not_equal(roster_origin(&r, name, ORIGIN_LOGIN, 0), ORIGIN_NONE);
	struct message *m = roster_add(&r, 0, SLICE("Q1"), 1);
	roster_name(&r, m, 0, ORIGIN_NONE); /* nobody answers for it: counted nowhere, and no harm */
	roster_state(&r, m, MESSAGE_TAKEN, 0);
	roster_remove(&r, m);
	roster_free(&r);
}

/* The idlest of those that may go. */
static void idlest_goes(void **state)
{
	char name[40];

	(void)state;
	assert_true(roster_init(&r, 30));
	for (unsigned i = 0; i < 30; i++) {
		name_of(i, name);
		uint32_t at = roster_origin(&r, name, ORIGIN_LOGIN, 0);
		r.origins[at].last_ms = i == 17 ? 5 : 1000 + i;
		struct tally one = { 1, 1, 1 };
		assert_true(trail_add(&r.origins[at].trail, 5, &one));
	}
	(void)roster_origin(&r, "login:new", ORIGIN_LOGIN, 2000);
	name_of(17, name);
	assert_int_equal(roster_origin_find(&r, name), ORIGIN_NONE);
	assert_int_equal(roster_origin(&r, name, ORIGIN_LOGIN, 3000) == ORIGIN_NONE, false);
	assert_int_equal(r.origins[roster_origin_find(&r, name)].trail.n, 0); /* it comes back with a clean sheet */
	roster_free(&r);
}

static void ids_are_whole(void **state)
{
	char id[QUEUE_ID_MAX];

	(void)state;
	assert_true(roster_init(&r, 10));
	memset(id, 'x', sizeof id);
	for (size_t n = 1; n <= sizeof id; n++)
		assert_non_null(roster_add(&r, 1, (struct slice){ id, n }, n));
	for (size_t n = 1; n <= sizeof id; n++) {
		struct message *m = roster_find(&r, 1, (struct slice){ id, n });
		assert_non_null(m);
		assert_int_equal(m->ino, n);
		assert_null(roster_find(&r, 0, (struct slice){ id, n }));
	}
	char longer[300] = { 0 };
	assert_null(roster_add(&r, 1, (struct slice){ longer, sizeof longer }, 1));
	roster_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations), cmocka_unit_test(eviction_keeps_what_is_needed),
		cmocka_unit_test(all_are_needed),    cmocka_unit_test(idlest_goes),
		cmocka_unit_test(ids_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
