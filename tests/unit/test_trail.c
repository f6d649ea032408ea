/* Facts about trails, against a model that forgets nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "monitor/trail.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define MODEL_MOST 20000
#define MINUTE 60000
#define HOUR (60 * MINUTE)
#define DAY (24 * (int64_t)HOUR)

/* A generator of our own: the same sequence everywhere. */
static uint64_t seed;

static uint32_t any(uint32_t below)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % below;
}

struct model {
	size_t n;
	struct { int64_t when; struct tally t; } e[MODEL_MOST];
};
static struct model model;

static void add(struct trail *t, int64_t when, struct tally a)
{
	assert_true(trail_add(t, when, &a));
	assert_true(model.n < MODEL_MOST);
	model.e[model.n].when = when;
	model.e[model.n++].t = a;
}

static struct tally exact(int64_t since)
{
	struct tally sum = { 0 };

	for (size_t i = 0; i < model.n; i++)
		if (model.e[i].when > since) {
			sum.bytes += model.e[i].t.bytes;
			sum.messages += model.e[i].t.messages;
			sum.recipients += model.e[i].t.recipients;
		}
	return sum;
}

static size_t times(void)
{
	size_t n = 0;

	for (size_t i = 0; i < model.n; i++) {
		size_t k = 0;
		while (k < i && model.e[k].when != model.e[i].when)
			k++;
		n += k == i;
	}
	return n;
}

static struct tally some(void)
{
	return (struct tally){ .bytes = 1 + any(100000), .messages = 1, .recipients = 1 + any(60) };
}

static void assert_tally(struct tally got, struct tally want)
{
	assert_int_equal(got.bytes, want.bytes);
	assert_int_equal(got.messages, want.messages);
	assert_int_equal(got.recipients, want.recipients);
}

static void begin(struct trail *t, uint64_t with)
{
	*t = (struct trail){ 0 };
	model.n = 0;
	seed = with;
}

/* While no entry had to be merged, every window is exact, whatever the order of arrival. */
static void exact_while_it_fits(void **state)
{
	struct trail t;

	(void)state;
	for (uint64_t run = 1; run <= 200; run++) {
		int64_t now = 1000000000;
		begin(&t, run);
		for (unsigned i = 0; i < TRAIL_MOST * 2 && times() < TRAIL_MOST; i++) {
			now += any(3) == 0 ? 0 : any(run % 2 ? 1000 : 600000);
			add(&t, any(5) == 0 ? now - any(HOUR) : now, some());
		}
		for (unsigned i = 0; i < 50; i++) {
			int64_t since = now - any(3 * HOUR);
			assert_tally(trail_since(&t, since), exact(since));
		}
		assert_tally(trail_since(&t, now - DAY * 300), exact(now - DAY * 300));
		assert_tally(trail_since(&t, now), exact(now));
		trail_clear(&t);
	}
}

/* Beyond that: no window ever shows more than was sent in it, and nothing vanishes altogether. */
static void never_too_much(void **state)
{
	struct trail t;

	(void)state;
	for (uint64_t run = 1; run <= 60; run++) {
		int64_t now = 1000000000;
		begin(&t, run + 1000);
		for (unsigned i = 0; i < 3000; i++) {
			now += any(10) == 0 ? any(HOUR) : any(run % 3 == 0 ? 10 : 5000);
			add(&t, any(9) == 0 ? now - any(DAY / 4) : now, some());
			if (i % 50 != 0)
				continue;
			int64_t since = now - any(run % 2 ? DAY : HOUR);
			struct tally got = trail_since(&t, since), want = exact(since);
			assert_true(got.bytes <= want.bytes && got.messages <= want.messages && got.recipients <= want.recipients);
			assert_true(t.n <= TRAIL_MOST);
		}
		assert_tally(trail_since(&t, INT64_MIN), exact(INT64_MIN));
		trail_clear(&t);
	}
}

/* What comes down to a trickle over a day is not seen to the last message; what is missing is bounded. */
static void little_is_missing(void **state)
{
	static const int64_t windows[] = { MINUTE, 10 * MINUTE, HOUR, DAY };
	struct trail t;

	(void)state;
	for (uint64_t run = 1; run <= 20; run++) {
		int64_t now = 1000000000;
		begin(&t, run + 2000);
		for (unsigned i = 0; i < 10000; i++) {
			now += any(17280); /* about a message in eight seconds, all day */
			add(&t, now, (struct tally){ 100, 1, 1 });
			if (i < 2000 || i % 100 != 0)
				continue;
			for (size_t w = 0; w < ROWS(windows); w++) {
				uint32_t got = trail_since(&t, now - windows[w]).recipients, want = exact(now - windows[w]).recipients;
				assert_true(got <= want && got + want / 8 + 1 >= want);
			}
		}
		trail_clear(&t);
	}
}

/* A run of more than L recipients inside the window is caught by the message that passes L, whatever went before. */
static void burst_is_seen(void **state)
{
	static const struct { const char *what; uint32_t limit; int64_t per, within; uint32_t background; uint32_t gap; } rows[] = {
		{ "nothing before", 150, 10 * MINUTE, 10 * MINUTE, 0, 0 },
		{ "a newsletter last week", 150, 10 * MINUTE, 5 * MINUTE, 3000, 20 },
		{ "a busy day", 300, HOUR, 20 * MINUTE, 4000, 20000 },
		{ "a second", 60, MINUTE, 1000, 1000, 60000 },
		{ "a great limit", 1000, DAY, HOUR, 500, 600000 },
		{ "one by one at one time", 1000, HOUR, 1, 300, 600000 },
	};
	struct trail t;

	(void)state;
	for (size_t r = 0; r < ROWS(rows); r++) {
		print_message("  %s\n", rows[r].what);
		for (uint64_t run = 1; run <= 40; run++) {
			int64_t now = 1000000000;
			begin(&t, run + 3000);
			for (uint32_t i = 0; i < rows[r].background; i++)
				add(&t, now += any(rows[r].gap + 1), some());
			now += rows[r].background ? rows[r].per * 2 : 0;
			int64_t start = now;
			for (uint32_t i = 0; i <= rows[r].limit; i++) {
				now = start + rows[r].within * i / (rows[r].limit + 1);
				add(&t, now, (struct tally){ 1000, 1, 1 });
			}
			assert_true(trail_since(&t, now - rows[r].per).recipients > rows[r].limit);
			trail_clear(&t);
		}
	}
}

static void trim_rows(void **state)
{
	struct trail t;

	(void)state;
	begin(&t, 1);
	for (int i = 1; i <= 10; i++)
		add(&t, i * 10, (struct tally){ 1, 1, 1 });
	trail_trim(&t, 30); /* at 30 is out, as since(30) says */
	assert_int_equal(t.n, 7);
	assert_int_equal(trail_since(&t, 0).messages, 7);
	assert_tally(trail_since(&t, 55), exact(55));
	trail_trim(&t, 5);
	assert_int_equal(t.n, 7);
	trail_trim(&t, 100);
	assert_int_equal(t.n, 0);
	assert_null(t.entry);
	trail_trim(&t, 1000);
	assert_int_equal(trail_since(&t, INT64_MIN).messages, 0);
	trail_clear(&t);
}

static void saturates(void **state)
{
	struct trail t;

	(void)state;
	begin(&t, 1);
	for (int i = 0; i < 3; i++)
		assert_true(trail_add(&t, 5, &(struct tally){ 1, UINT32_MAX - 1, UINT32_MAX - 1 }));
	assert_int_equal(trail_since(&t, 0).recipients, UINT32_MAX);
	assert_int_equal(trail_since(&t, 0).messages, UINT32_MAX);
	assert_int_equal(trail_since(&t, 0).bytes, 3);
	trail_clear(&t);
}

/* A restart moves nothing in time, whatever the clock says then. */
static void survives_a_restart(void **state)
{
	static char blob[TRAIL_BLOB_MOST];
	struct trail t, u = { 0 };

	(void)state;
	for (uint64_t run = 1; run <= 50; run++) {
		int64_t now = 1000000000, then = 77;
		begin(&t, run + 4000);
		for (unsigned i = 0; i < run * 20; i++)
			add(&t, now += any(100000), some());
		size_t n = trail_save(&t, now, blob);
		assert_int_equal(n, t.n * 24u);
		assert_true(trail_load(&u, then, (struct slice){ blob, n }));
		for (int64_t back = 0; back < DAY; back += 77777)
			assert_tally(trail_since(&u, then - back), trail_since(&t, now - back));
		trail_clear(&t);
		trail_clear(&u);
	}
}

static void broken_blobs(void **state)
{
	char blob[TRAIL_BLOB_MOST + 24] = { 0 };
	static const struct { const char *what; size_t n; int64_t age; bool ok; } rows[] = {
		{ "nothing", 0, 0, true },	     { "one", 24, 5, true },
		{ "cut", 23, 5, false },	     { "cut behind one", 40, 5, false },
		{ "too long", TRAIL_BLOB_MOST + 24, 5, false }, { "from the future", 24, -1, false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct trail t = { 0 };
		print_message("  %s\n", rows[i].what);
		memcpy(blob, &rows[i].age, sizeof rows[i].age);
		assert_int_equal(trail_load(&t, 1000, (struct slice){ blob, rows[i].n }), rows[i].ok);
		trail_clear(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact_while_it_fits), cmocka_unit_test(never_too_much),     cmocka_unit_test(little_is_missing),
		cmocka_unit_test(burst_is_seen),       cmocka_unit_test(trim_rows),	     cmocka_unit_test(saturates),
		cmocka_unit_test(survives_a_restart),  cmocka_unit_test(broken_blobs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
