/* Facts about the ledger: states that move once, selections that mean what they say, pages. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "quarantine/ledger.h"
#include "spool/format.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define ALL ((1u << ROW_STATES) - 1)

static char dir[] = "/tmp/spoolward-ledger.XXXXXX", path[64];
static struct ledger *l;
static struct err e;

static void remove_files(void)
{
	static const char *const tails[] = { "", "-wal", "-shm" };

	for (size_t i = 0; i < ROWS(tails); i++) {
		char name[80];
		(void)snprintf(name, sizeof name, "%s%s", path, tails[i]);
		(void)unlink(name);
	}
}

static int make_dir(void **state)
{
	(void)state;
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(path, sizeof path, "%s/ledger.db", dir);
	return 0;
}

static int drop_dir(void **state)
{
	(void)state;
	return rmdir(dir);
}

static int open_new(void **state)
{
	bool fresh = false;

	(void)state;
	return ledger_open(path, &l, &fresh, &e) == 0 && fresh ? 0 : -1;
}

static int close_it(void **state)
{
	(void)state;
	ledger_close(l);
	l = NULL;
	remove_files();
	return 0;
}

static struct row row_of(const char *queue_id, enum row_state s)
{
	struct row r = { .state = s, .size = 100, .arrived = 1000, .taken = 2000, .changed = 2000 };

	(void)queue_id_set(&r.queue_id, slice_str(queue_id));
	(void)snprintf(r.spool, sizeof r.spool, "main");
	(void)snprintf(r.format, sizeof r.format, "eml");
	return r;
}

static int64_t put(struct row *r)
{
	r->id = 0;
	assert_int_equal(ledger_put(l, r, &e), 0);
	return r->id;
}

static void all_fields_come_back(void **state)
{
	struct row r = row_of("A1", ROW_HELD), got;

	(void)state;
	r.dev = UINT64_MAX, r.ino = UINT64_MAX - 1, r.size = 1u << 31, r.dir = 2, r.depth = 1, r.mode = 0700, r.uid = 105;
	r.gid = 110, r.mtime = -5, r.incident = 7, r.recipients = 3, r.done = 2, r.readable = true, r.nstamps = 2;
	r.stamps[0] = (struct stamp){ 10, -3, 15, ' ' }, r.stamps[1] = (struct stamp){ 99, 0, 10, '\0' };
	memset(r.sha256, 0xa5, sizeof r.sha256);
	(void)snprintf(r.origin, sizeof r.origin, "login:joe");
	(void)snprintf(r.subject, sizeof r.subject, "it's \"x\" \xc3\xb6");
	r.rcpts = strdup("a@x\nb@y\n");
	int64_t id = put(&r);
	assert_int_equal(ledger_get(l, id, &got, &e), 1);
	assert_string_equal(got.rcpts, r.rcpts);
	row_free(&got);
	char *keep = r.rcpts;
	r.rcpts = NULL;
	assert_memory_equal(&got, &r, sizeof r);
	free(keep);
	assert_int_equal(ledger_get(l, id + 1, &got, &e), 0);
}

/* ---- states ---- */

#define CONTESTED 300

struct rival {
	enum row_state to;
	int64_t first;
	unsigned won[CONTESTED];
};

static void *compete(void *arg)
{
	struct rival *r = arg;
	struct err why;

	for (unsigned i = 0; i < CONTESTED; i++) {
		unsigned at = r->to == ROW_PURGING ? i : (i + i % 2) % CONTESTED;
		int moved = ledger_move(l, r->first + at, ROW_HELD, r->to, 1, &why);
		r->won[at] += moved == 1;
	}
	return NULL;
}

static void one_of_two_wins(void **state)
{
	struct rival a = { .to = ROW_RELEASING }, b = { .to = ROW_PURGING };
	pthread_t one, two;
	unsigned total = 0;

	(void)state;
	for (unsigned i = 0; i < CONTESTED; i++) {
		struct row r = row_of("A1", ROW_HELD);
		int64_t id = put(&r);
		if (i == 0)
			a.first = b.first = id;
	}
	assert_int_equal(pthread_create(&one, NULL, compete, &a), 0);
	assert_int_equal(pthread_create(&two, NULL, compete, &b), 0);
	assert_int_equal(pthread_join(one, NULL), 0);
	assert_int_equal(pthread_join(two, NULL), 0);
	for (unsigned i = 0; i < CONTESTED; i++) {
		struct row r;
		assert_in_range(a.won[i] + b.won[i], 0, 1);
		total += a.won[i] + b.won[i];
		assert_int_equal(ledger_get(l, a.first + i, &r, &e), 1);
		assert_int_equal(r.state, a.won[i] ? ROW_RELEASING : b.won[i] ? ROW_PURGING : ROW_HELD);
	}
	assert_int_equal(total, CONTESTED); /* b asked for each of them */
}

static void moves_only_from_where_it_is(void **state)
{
	struct row r = row_of("A1", ROW_HELD);
	int64_t id = put(&r);

	(void)state;
	assert_int_equal(ledger_move(l, id, ROW_STAGED, ROW_HELD, 1, &e), 0);
	assert_int_equal(ledger_move(l, id, ROW_HELD, ROW_RELEASING, 3000, &e), 1);
	assert_int_equal(ledger_move(l, id, ROW_HELD, ROW_PURGING, 1, &e), 0);
	assert_int_equal(ledger_move(l, id + 5, ROW_HELD, ROW_PURGING, 1, &e), 0);
	assert_int_equal(ledger_set_new_id(l, id, SLICE("B2"), "boot", &e), 0);
	assert_int_equal(ledger_get(l, id, &r, &e), 1);
	assert_int_equal(r.changed, 3000);
	assert_string_equal(r.new_id.text, "B2");
	/* held again, it has no new id: the next release must not look as if it were committed */
	assert_int_equal(ledger_move(l, id, ROW_RELEASING, ROW_HELD, 1, &e), 1);
	assert_int_equal(ledger_get(l, id, &r, &e), 1);
	assert_int_equal(r.new_id.n, 0);
}

static void undone_is_undone(void **state)
{
	struct row r = row_of("A1", ROW_STAGED), b = row_of("B1", ROW_STAGED);
	int64_t id = put(&r);

	(void)state;
	assert_int_equal(ledger_begin(l, &e), 0);
	assert_int_equal(ledger_move(l, id, ROW_STAGED, ROW_HELD, 1, &e), 1);
	int64_t other = put(&b);
	ledger_undo(l);
	assert_int_equal(ledger_get(l, id, &r, &e), 1);
	assert_int_equal(r.state, ROW_STAGED);
	assert_int_equal(ledger_get(l, other, &r, &e), 0);
}

/* ---- selections ---- */

static char hits[400];

static int hit(void *arg, struct row *r)
{
	(void)arg;
	size_t n = strlen(hits);
	(void)snprintf(hits + n, sizeof hits - n, "%.60s ", r->queue_id.text);
	return 0;
}

static void fill(void)
{
	static const struct { const char *id, *origin, *sender, *rcpts, *subject, *spool; uint64_t size; int64_t arrived, incident;
			      enum row_state state; } rows[] = {
		{ "a", "login:joe@x.example", "joe@x.example", "ann@a.example\nbob@b.example\n", "100% off", "main", 100, 1000, 7,
		  ROW_HELD },
		{ "b", "login:j_e@x.example", "j_e@x.example", "carl@c.example\n", "100 off", "main", 200, 2000, 7, ROW_HELD },
		{ "c", "client:192.0.2.7", "", "ann@c.example\nbob@a.example\n", "a_b", "other", 300, 3000, 8, ROW_HELD },
		{ "d", "login:joe@x.example", "JOE@X.example", "eve@[192.0.2.1]\n", "back\\slash [x]", "main", 400, 4000, 7,
		  ROW_RELEASED },
		{ "e", "uid:1001", "www@x.example", "", "\xc3\xb6l", "main", 500, 5000, 0, ROW_HELD },
	};

	for (size_t i = 0; i < ROWS(rows); i++) {
		struct row r = row_of(rows[i].id, rows[i].state);
		(void)snprintf(r.origin, sizeof r.origin, "%s", rows[i].origin);
		(void)snprintf(r.sender, sizeof r.sender, "%s", rows[i].sender);
		(void)snprintf(r.subject, sizeof r.subject, "%s", rows[i].subject);
		(void)snprintf(r.spool, sizeof r.spool, "%s", rows[i].spool);
		r.size = rows[i].size, r.arrived = rows[i].arrived, r.incident = rows[i].incident;
		r.rcpts = rows[i].rcpts[0] ? strdup(rows[i].rcpts) : NULL;
		(void)put(&r);
		row_free(&r);
	}
}

static void selection_rows(void **state)
{
	static const int64_t ids[] = { 4, 2, 99 };
	static const struct { const char *what; struct selection q; const char *hits; } rows[] = {
		{ "all", { .states = ALL }, "a b c d e " },
		{ "held", { .states = 1u << ROW_HELD }, "a b c e " },
		{ "no state", { .states = 0 }, "" },
		{ "incident", { .states = ALL, .incident = 7 }, "a b d " },
		{ "incident and state", { .states = 1u << ROW_HELD, .incident = 7 }, "a b " },
		{ "origin", { .states = ALL, .origin = "login:joe@x.example" }, "a d " },
		{ "origin pattern", { .states = ALL, .origin = "login:*" }, "a b d " },
		{ "_ is a letter", { .states = ALL, .origin = "login:j_e@x.example" }, "b " },
		{ "? is any letter", { .states = ALL, .origin = "login:j?e@x.example" }, "a b d " },
		{ "sender, case does not count", { .states = ALL, .sender = "joe@x.example" }, "a d " },
		{ "null sender", { .states = ALL, .sender = "" }, "c " },
		{ "% is a letter", { .states = ALL, .subject = "100%*" }, "a " },
		{ "% matches no more", { .states = ALL, .subject = "%" }, "" },
		{ "* does", { .states = ALL, .subject = "100*off" }, "a b " },
		{ "_ in a subject", { .states = ALL, .subject = "a_b" }, "c " },
		{ "backslash and bracket", { .states = ALL, .subject = "back\\slash [x]" }, "d " },
		{ "one letter of two bytes", { .states = ALL, .subject = "?l" }, "e " },
		{ "recipient", { .states = ALL, .recipient = "ann@a.example" }, "a " },
		{ "second recipient", { .states = ALL, .recipient = "bob@*" }, "a c " },
		{ "recipients, case", { .states = ALL, .recipient = "ANN@*" }, "a c " },
		{ "a pattern never crosses addresses", { .states = ALL, .recipient = "ann@*b.example" }, "" },
		{ "nor from the first to the last", { .states = ALL, .recipient = "ann@*@a.example" }, "" },
		{ "part of an address is not one", { .states = ALL, .recipient = "ann" }, "" },
		{ "nor its end", { .states = ALL, .recipient = "nn@a.example" }, "" },
		{ "address literal", { .states = ALL, .recipient = "eve@[192.0.2.1]" }, "d " },
		{ "address literal by pattern", { .states = ALL, .recipient = "*@[*]" }, "d " },
		{ "any recipient", { .states = ALL, .recipient = "*" }, "a b c d " },
		{ "spool", { .states = ALL, .spool = "other" }, "c " },
		{ "spool is no pattern", { .states = ALL, .spool = "*" }, "" },
		{ "larger", { .states = ALL, .larger = 300 }, "d e " },
		{ "before", { .states = ALL, .before = 2000 }, "a " },
		{ "since", { .states = ALL, .since = 4000 }, "d e " },
		{ "between", { .states = ALL, .since = 2000, .before = 4000 }, "b c " },
		{ "all of it", { .states = ALL, .incident = 7, .sender = "j*", .larger = 100, .since = 1, .spool = "main" }, "b d " },
		{ "ids, in their order", { .states = ALL, .ids = ids, .nids = 3 }, "d b " },
		{ "ids and more", { .states = 1u << ROW_HELD, .ids = ids, .nids = 3 }, "b " },
		{ "ids and a recipient", { .states = ALL, .ids = ids, .nids = 3, .recipient = "carl@*" }, "b " },
		{ "injection", { .states = ALL, .sender = "' OR 1=1 --" }, "" },
	};

	(void)state;
	fill();
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct ledger_sum sum;
		print_message("  %s\n", rows[i].what);
		hits[0] = '\0';
		assert_int_equal(ledger_each(l, &rows[i].q, hit, NULL, &e), 0);
		assert_string_equal(hits, rows[i].hits);
		assert_int_equal(ledger_sum(l, &rows[i].q, &sum, &e), 0);
		assert_int_equal(sum.messages * 2, strlen(rows[i].hits));
	}
}

struct walk_state {
	int64_t last;
	unsigned n, stop_at;
};

/* Moves what it is given, while it is given it. */
static int release_each(void *arg, struct row *r)
{
	struct walk_state *w = arg;

	assert_true(r->id > w->last);
	w->last = r->id;
	assert_int_equal(ledger_move(l, r->id, ROW_HELD, ROW_RELEASING, 1, &e), 1);
	return ++w->n == w->stop_at ? 42 : 0;
}

static void pages(void **state)
{
	struct selection q = { .states = 1u << ROW_HELD };
	static const unsigned sizes[] = { 1, 63, 64, 65, 128, 129, 500 };

	(void)state;
	for (size_t i = 0; i < ROWS(sizes); i++) {
		struct walk_state w = { 0 };
		assert_int_equal(ledger_begin(l, &e), 0);
		for (unsigned k = 0; k < sizes[i]; k++) {
			struct row r = row_of("A1", ROW_HELD);
			(void)put(&r);
		}
		assert_int_equal(ledger_commit(l, &e), 0);
		assert_int_equal(ledger_each(l, &q, release_each, &w, &e), 0);
		assert_int_equal(w.n, sizes[i]);
	}
	for (unsigned k = 0; k < 100; k++) {
		struct row r = row_of("A1", ROW_HELD);
		(void)put(&r);
	}
	struct walk_state w = { .stop_at = 70 };
	assert_int_equal(ledger_each(l, &q, release_each, &w, &e), 42);
	assert_int_equal(w.n, 70);
}

/* ---- ids ---- */

static void reopen(bool want_fresh)
{
	bool fresh = !want_fresh;

	ledger_close(l);
	assert_int_equal(ledger_open(path, &l, &fresh, &e), 0);
	assert_int_equal(fresh, want_fresh);
}

static void ids_never_come_again(void **state)
{
	struct row r = row_of("A1", ROW_HELD);

	(void)state;
	int64_t id = put(&r);
	assert_int_equal(ledger_forget(l, id, &e), 0);
	assert_true(put(&r) > id);
	reopen(true); /* it was never completed: made, but not filled */
	assert_int_equal(ledger_begin(l, &e), 0);
	assert_int_equal(ledger_complete(l, 5000, &e), 0);
	ledger_undo(l);
	reopen(true);
	assert_int_equal(ledger_begin(l, &e), 0);
	assert_int_equal(ledger_complete(l, 5000, &e), 0);
	assert_int_equal(ledger_commit(l, &e), 0);
	reopen(false);
	assert_int_equal(ledger_get(l, 5000, &r, &e), 0);
	r = row_of("A1", ROW_HELD);
	assert_int_equal(put(&r), 5001);
	assert_int_equal(ledger_begin(l, &e), 0);
	assert_int_equal(ledger_complete(l, 5001, &e), 0); /* one that is there is left alone */
	assert_int_equal(ledger_complete(l, 3, &e), 0);
	assert_int_equal(ledger_commit(l, &e), 0);
	assert_int_equal(ledger_get(l, 5001, &r, &e), 1);
	assert_int_equal(put(&r), 5002);
}

static void found_by_file(void **state)
{
	struct row r = row_of("A1", ROW_RELEASED), got;

	(void)state;
	r.ino = 5;
	(void)put(&r);
	r.state = ROW_HELD;
	int64_t newer = put(&r);
	r.ino = 6;
	(void)put(&r);
	assert_int_equal(ledger_find(l, "main", SLICE("A1"), 5, &got, &e), 1);
	assert_int_equal(got.id, newer);
	assert_int_equal(ledger_find(l, "other", SLICE("A1"), 5, &got, &e), 0);
	assert_int_equal(ledger_find(l, "main", SLICE("A"), 5, &got, &e), 0);
	assert_int_equal(ledger_find(l, "main", SLICE("A1"), 7, &got, &e), 0);
}

static void incidents_count_their_rows(void **state)
{
	static const struct { enum row_state s; unsigned n; } rows[] = {
		{ ROW_TAKING, 1 }, { ROW_STAGED, 1 }, { ROW_HELD, 3 }, { ROW_RELEASING, 1 }, { ROW_RELEASED, 2 },
		{ ROW_PURGING, 1 }, { ROW_PURGED, 1 }, { ROW_GONE, 2 }, { ROW_UNCERTAIN, 1 },
	};
	struct incident i = { .id = 7, .since = 1, .missed = 4 };

	(void)state;
	for (size_t k = 0; k < ROWS(rows); k++)
		for (unsigned n = 0; n < rows[k].n; n++) {
			struct row r = row_of("A1", rows[k].s);
			r.incident = 7;
			(void)put(&r);
		}
	assert_int_equal(ledger_incident_last(l, &e), 7); /* rows made from cells know of it */
	assert_int_equal(ledger_incident_put(l, &i, &e), 0);
	assert_int_equal(ledger_incident_get(l, 7, &i, &e), 1);
	assert_int_equal(i.taken, 11);
	assert_int_equal(i.gone, 6);
	assert_int_equal(i.held, 6);
	assert_int_equal(i.released, 3);
	assert_int_equal(i.purged, 2);
	assert_int_equal(ledger_incident_get(l, 8, &i, &e), 0);
}

static void damaged_file(void **state)
{
	bool fresh;

	(void)state;
	ledger_close(l);
	l = NULL;
	remove_files();
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	for (int i = 0; i < 1000; i++)
		(void)fputs("this is no database ", f);
	(void)fclose(f);
	assert_int_equal(ledger_open(path, &l, &fresh, &e), -1);
	assert_null(l);
	assert_non_null(strstr(e.text, "ledger"));
	remove_files();
	f = fopen(path, "w"); /* an empty file is a ledger that was just made */
	assert_non_null(f);
	(void)fclose(f);
	assert_int_equal(ledger_open(path, &l, &fresh, &e), 0);
	assert_true(fresh);
}

/* forget_after: what is finished and old goes; what is held stays for ever, however old; incidents go with their last row. */
static void old_rows_are_forgotten(void **state)
{
	static const struct { enum row_state s; int64_t changed; bool stays; } rows[] = {
		{ ROW_RELEASED, 2000, false }, { ROW_PURGED, 2000, false },   { ROW_GONE, 2000, false },
		{ ROW_RELEASED, 6000, true },  { ROW_PURGED, 6000, true },    { ROW_HELD, 2000, true },
		{ ROW_STAGED, 2000, true },    { ROW_RELEASING, 2000, true }, { ROW_PURGING, 2000, true },
		{ ROW_UNCERTAIN, 2000, true },
	};
	struct incident done = { .id = 3, .since = 1000, .closed = 2000 }, open = { .id = 4, .since = 1000 }, got;
	int64_t ids[ROWS(rows)];
	uint64_t removed;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct row r = row_of("A1", rows[i].s);
		r.changed = rows[i].changed;
		ids[i] = put(&r);
	}
	assert_int_equal(ledger_incident_put(l, &done, &e), 0);
	assert_int_equal(ledger_incident_put(l, &open, &e), 0);
	assert_int_equal(ledger_prune(l, 5000, &removed, &e), 0);
	assert_int_equal(removed, 4); /* three rows and an incident */
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct row r;
		print_message("  %s, changed at %lld\n", row_state_names[rows[i].s], (long long)rows[i].changed);
		assert_int_equal(ledger_get(l, ids[i], &r, &e), rows[i].stays);
		if (rows[i].stays)
			row_free(&r);
	}
	assert_int_equal(ledger_incident_get(l, 3, &got, &e), 0);
	assert_int_equal(ledger_incident_get(l, 4, &got, &e), 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_new, close_it)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(old_rows_are_forgotten), TEST(all_fields_come_back), TEST(one_of_two_wins),	TEST(moves_only_from_where_it_is),
		TEST(undone_is_undone),	    TEST(selection_rows),	TEST(pages),
		TEST(ids_never_come_again), TEST(found_by_file),	TEST(incidents_count_their_rows),
		TEST(damaged_file),
	};

	return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
