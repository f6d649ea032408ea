/* Facts about mail at rest: taken, held, released, purged, in a directory of our own. What failures and kills do to it
 * is the torture's business (tests/crash). */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>

#include <cmocka.h>

#include "base/log.h"
#include "quarantine/recover.h"
#include "quarantine/release.h"
#include "tests/crash/walker.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define POSTFIX "tests/fuzz/corpus/postfix/"
#define EML "tests/fuzz/corpus/eml/"

enum { PF, DROP };

static char top[64];
static struct conf *conf;
static struct store *s;
static struct taker *t;
static struct walker walker;
static struct err e;
static int64_t now_ms;

static void path_of(char out[300], const char *name)
{
	(void)snprintf(out, 300, "%s/%.230s", top, name);
}

static size_t slurp(const char *path, char *out, size_t cap)
{
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(out, 1, cap, f) : 0;

	if (f == NULL)
		fail_msg("%s", path);
	(void)fclose(f);
	return n;
}

/* A file of the corpus (or a text) becomes a queue file. */
static void put(const char *name, const char *from, const char *text)
{
	static char bytes[1 << 20];
	char path[300];
	size_t n = from ? slurp(from, bytes, sizeof bytes) : strlen(text);

	path_of(path, name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(from ? bytes : text, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0700), 0);
}

static bool there(const char *name)
{
	char path[300];
	struct stat st;

	path_of(path, name);
	return lstat(path, &st) == 0;
}

static void up(void)
{
	assert_int_equal(store_open(conf, &s, &e), 0);
	walker = (struct walker){ s, walk_run };
	assert_int_equal(taker_new(s, &walker, &t, &e), 0);
	for (size_t i = 0; i < s->nplaces; i++) {
		assert_int_equal(place_up(&s->places[i], s->cells.fd, &e), 0);
		assert_int_equal(recover_place(s, &s->places[i], &e), 0);
		assert_int_equal(recover_takes(s, &s->places[i], t, &e), 0);
	}
}

static void down(void)
{
	taker_free(t);
	store_close(s);
	s = NULL;
	t = NULL;
}

static int begin(void **state)
{
	static const char *const dirs[] = { "pf",      "pf/incoming", "pf/active",  "pf/deferred", "pf/deferred/C", "pf/hold",
					    "pf/defer", "pf/defer/C",  "pf/bounce", "drop",	    "drop/new" };
	char text[2000], *mistakes = NULL, path[300];

	(void)state;
	(void)snprintf(top, sizeof top, "/tmp/spoolward-store.XXXXXX");
	assert_non_null(mkdtemp(top));
	for (size_t i = 0; i < ROWS(dirs); i++) {
		path_of(path, dirs[i]);
		assert_int_equal(mkdir(path, 0700), 0);
	}
	int n = snprintf(text, sizeof text,
			 "[spoolward]\nmode = enforce\nstate_dir = %s/state\nquarantine_dir = %s/q\nsocket = %s/s\nmin_free = 0\n"
			 "max_messages = 100\nmax_bytes = 1M\n"
			 "[spool pf]\nformat = postfix\npath = %s/pf\nowner = %u\nhashed = deferred defer\nhash_depth = 1\n"
			 "[spool drop]\nformat = eml\npath = %s/drop\n",
			 top, top, top, top, (unsigned)geteuid(), top);
	if (conf_parse("test", (struct slice){ text, (size_t)n }, &conf, &mistakes) != 0)
		fail_msg("%s", mistakes);
	now_ms = 1;
	up();
	return 0;
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st;
	(void)kind;
	(void)ftw;
	return remove(path);
}

static int end(void **state)
{
	(void)state;
	down();
	conf_free(conf);
	return nftw(top, drop, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void settle(void)
{
	for (int i = 0; i < 2000; i++) {
		int wait = take_step(t, now_ms);
		if (wait < 0)
			return;
		now_ms += wait ? wait : 1;
	}
	fail_msg("the taker never comes to rest");
}

static enum claim claim(uint16_t spool, unsigned dir, unsigned depth, const char *id, const char *name, struct claimed *c)
{
	char path[300];
	struct stat st = { 0 };

	path_of(path, name);
	(void)lstat(path, &st);
	return place_claim(&s->places[spool], dir, depth, slice_str(id), st.st_ino, false, c, &e);
}

static void take(uint16_t spool, unsigned dir, unsigned depth, const char *id, const char *name)
{
	struct claimed c;

	assert_int_equal(claim(spool, dir, depth, id, name, &c), CLAIM_DONE);
	assert_int_equal(take_add(t, spool, c.name, c.dir, c.depth, slice_str(id), 7, "login:joe", 0), 0);
	settle();
	assert_false(there(name));
}

static struct row row_of(int64_t id)
{
	struct row r;

	assert_int_equal(ledger_get(s->ledger, id, &r, &e), 1);
	return r;
}

static void release(int64_t id, const char *why)
{
	struct move_result result;
	int rc = release_batch(s, &id, 1, &result, &e);

	assert_int_equal(rc, why[0] == '\0');
	if (strstr(result.why, why) == NULL)
		fail_msg("%s", result.why);
}

/* The released file: where is it, and does it differ from the original only in the stamps? */
static void assert_released(int64_t id, const char *dir, const char *from)
{
	static char was[1 << 20], is[1 << 20];
	char name[400], path[300];
	struct row r = row_of(id);
	struct stat st;

	assert_int_equal(r.state, ROW_RELEASED);
	assert_int_not_equal(r.new_id.n, 0);
	assert_string_not_equal(r.new_id.text, r.queue_id.text);
	(void)snprintf(name, sizeof name, "%s/%s", dir, r.new_id.text);
	path_of(path, name);
	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	size_t n = slurp(path, is, sizeof is);
	assert_int_equal(slurp(from, was, sizeof was), n);
	for (uint32_t i = 0; i < r.nstamps; i++) {
		/* renewed: not what it was, which is years ago */
		assert_memory_not_equal(was + r.stamps[i].at, is + r.stamps[i].at, r.stamps[i].width);
		memcpy(was + r.stamps[i].at, is + r.stamps[i].at, r.stamps[i].width);
	}
	assert_memory_equal(was, is, n);
	row_free(&r);
}

static void held(uint64_t messages)
{
	assert_int_equal(atomic_load(&s->held_messages), messages);
	if (messages == 0)
		assert_int_equal(atomic_load(&s->held_bytes), 0);
}

static void there_and_back(void **state)
{
	static const struct { const char *what; uint16_t spool; unsigned dir, depth; const char *id, *name, *from, *back; } rows[] = {
		{ "postfix, incoming", PF, 0, 0, "A1B2C3D4E5", "pf/incoming/A1B2C3D4E5", POSTFIX "sasl", "pf/incoming" },
		{ "postfix, active", PF, 1, 0, "B1B2C3D4E5", "pf/active/B1B2C3D4E5", POSTFIX "sasl-60-recipients", "pf/incoming" },
		{ "postfix, deferred", PF, 2, 1, "C1B2C3D4E5", "pf/deferred/C/C1B2C3D4E5", POSTFIX "deferred-partly-done",
		  "pf/incoming" },
		{ "postfix, long id", PF, 0, 0, "4bVXyZ1Q2mzRtd", "pf/incoming/4bVXyZ1Q2mzRtd", POSTFIX "long-id", "pf/incoming" },
		{ "a flat folder", DROP, 0, 0, "plain.eml", "drop/plain.eml", EML "plain.eml", "drop" },
		{ "a Maildir", DROP, 1, 0, "1795291985.M3P4.host", "drop/new/1795291985.M3P4.host", EML "plain.eml", "drop/new" },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		int64_t id = (int64_t)i + 1;
		print_message("  %s\n", rows[i].what);
		put(rows[i].name, rows[i].from, NULL);
		take(rows[i].spool, rows[i].dir, rows[i].depth, rows[i].id, rows[i].name);
		struct row r = row_of(id);
		assert_int_equal(r.state, ROW_HELD);
		assert_int_equal(r.incident, 7);
		assert_string_equal(r.origin, "login:joe");
		assert_true(r.readable);
		assert_int_equal(r.dir, rows[i].dir);
		row_free(&r);
		held(1);
		release(id, "");
		assert_released(id, rows[i].back, rows[i].from);
		held(0);
		release(id, "not held");
	}
}

static void purged(void **state)
{
	int64_t ids[] = { 1, 1, 99, 2 };
	struct move_result results[4];

	(void)state;
	put("drop/a.eml", EML "plain.eml", NULL);
	put("drop/b.eml", EML "plain.eml", NULL);
	take(DROP, 0, 0, "a.eml", "drop/a.eml");
	take(DROP, 0, 0, "b.eml", "drop/b.eml");
	held(2);
	assert_int_equal(purge_batch(s, ids, 3, results, &e), 1);
	assert_int_not_equal(results[2].why[0], '\0');
	held(1);
	struct row r = row_of(1);
	assert_int_equal(r.state, ROW_PURGED);
	row_free(&r);
	assert_false(there("q/cells/0/m1"));
	assert_true(there("q/cells/0/m2/message"));
	release(1, "not held");
	assert_int_equal(purge_batch(s, ids, 1, results, &e), 0);
	assert_int_equal(purge_batch(s, ids + 3, 1, results, &e), 1);
	held(0);
}

/* Nobody is left to deliver to: it had gone, and is not held. */
static void delivered_meanwhile(void **state)
{
	static char bytes[100000];
	char path[300];

	(void)state;
	size_t n = slurp(POSTFIX "smtp", bytes, sizeof bytes);
	for (size_t at = 0; at + 2 < n;) { /* type, length, text */
		char *type = &bytes[at++];
		size_t len = 0, shift = 0;
		do {
			len |= (size_t)(bytes[at] & 0x7f) << shift;
			shift += 7;
		} while (bytes[at++] & 0x80);
		at += len;
		*type = *type == 'R' ? 'D' : *type;
	}
	path_of(path, "pf/active/D1B2C3D4E5");
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0700), 0);
	take(PF, 1, 0, "D1B2C3D4E5", "pf/active/D1B2C3D4E5");
	struct row r = row_of(1);
	assert_int_equal(r.state, ROW_GONE);
	row_free(&r);
	held(0);
	assert_false(there("q/cells/0/m1"));
}

/* What somebody still writes is left in the stage until he lets go, and what he wrote last counts. */
static void waits_until_it_is_still(void **state)
{
	struct claimed c;
	char path[300];

	(void)state;
	put("drop/a.eml", NULL, "Subject: half\n\n");
	path_of(path, "drop/a.eml");
	int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(claim(DROP, 0, 0, "a.eml", "drop/a.eml", &c), CLAIM_DONE);
	assert_int_equal(take_add(t, DROP, c.name, c.dir, c.depth, SLICE("a.eml"), 7, "uid:1", 0), 0);
	for (int i = 0; i < 20; i++) {
		int wait = take_step(t, now_ms);
		now_ms += wait > 0 ? wait : 1;
	}
	assert_int_equal(take_waiting(t), 1);
	held(0);
	assert_int_equal(write(fd, "more\n", 5), 5);
	(void)close(fd);
	settle();
	struct row r = row_of(1);
	assert_int_equal(r.state, ROW_HELD);
	assert_int_equal(r.size, strlen("Subject: half\n\n") + 5);
	row_free(&r);
}

static void claim_rows(void **state)
{
	struct claimed c;
	char path[300], other[300];

	(void)state;
	assert_int_equal(claim(DROP, 0, 0, "none.eml", "drop/none.eml", &c), CLAIM_GONE);
	/* another file under the name that was seen goes straight back */
	put("drop/a.eml", NULL, "Subject: new\n\n");
	path_of(path, "drop/a.eml");
	assert_int_equal(place_claim(&s->places[DROP], 0, 0, SLICE("a.eml"), 1, false, &c, &e), CLAIM_FAILED);
	assert_int_equal(e.kind, ERR_HOSTILE);
	assert_true(there("drop/a.eml"));
	/* a second name would change under our hands */
	path_of(other, "drop/second");
	assert_int_equal(link(path, other), 0);
	assert_int_equal(claim(DROP, 0, 0, "a.eml", "drop/a.eml", &c), CLAIM_FAILED);
	assert_true(there("drop/a.eml"));
	assert_int_equal(unlink(other), 0);
	/* a symbolic link is no message */
	path_of(path, "drop/link.eml");
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(claim(DROP, 0, 0, "link.eml", "drop/link.eml", &c), CLAIM_FAILED);
	assert_true(there("drop/link.eml"));
	/* it moved since it was seen */
	put("pf/deferred/C/C1B2C3D4E5", POSTFIX "sasl", NULL);
	assert_int_equal(claim(PF, 0, 0, "C1B2C3D4E5", "pf/deferred/C/C1B2C3D4E5", &c), CLAIM_DONE);
	assert_int_equal(c.dir, 2);
	assert_int_equal(c.depth, 1);
	/* held by the administrator: not ours to take */
	put("pf/hold/E1B2C3D4E5", POSTFIX "sasl", NULL);
	assert_int_equal(claim(PF, 3, 0, "E1B2C3D4E5", "pf/hold/E1B2C3D4E5", &c), CLAIM_GONE);
	assert_true(there("pf/hold/E1B2C3D4E5"));
	/* not while the queue manager has it in memory, if that would hurt it */
	put("pf/active/F1B2C3D4E5", POSTFIX "sasl", NULL);
	assert_int_equal(place_claim(&s->places[PF], 1, 0, SLICE("F1B2C3D4E5"), 1, true, &c, &e), CLAIM_WAIT);
}

/* The MTA's log comes along, its notice to the sender follows the release under the new id. */
static void logs_and_notices(void **state)
{
	char name[400];

	(void)state;
	put("pf/deferred/C/C1B2C3D4E5", POSTFIX "sasl", NULL);
	put("pf/defer/C/C1B2C3D4E5", NULL, "the log\n");
	put("pf/bounce/C1B2C3D4E5", NULL, "the notice\n");
	take(PF, 2, 1, "C1B2C3D4E5", "pf/deferred/C/C1B2C3D4E5");
	assert_false(there("pf/defer/C/C1B2C3D4E5"));
	assert_true(there("q/cells/0/m1/log.defer"));
	assert_true(there("pf/bounce/C1B2C3D4E5"));
	release(1, "");
	struct row r = row_of(1);
	(void)snprintf(name, sizeof name, "pf/bounce/%s", r.new_id.text);
	row_free(&r);
	assert_true(there(name));
	assert_false(there("pf/bounce/C1B2C3D4E5"));
}

static void spool_that_is_away(void **state)
{
	struct claimed c;

	(void)state;
	put("drop/a.eml", EML "plain.eml", NULL);
	take(DROP, 0, 0, "a.eml", "drop/a.eml");
	put("drop/b.eml", EML "plain.eml", NULL);
	place_down(&s->places[DROP]);
	assert_int_not_equal(claim(DROP, 0, 0, "b.eml", "drop/b.eml", &c), CLAIM_DONE);
	release(1, "not there");
	held(1);
	assert_int_equal(place_up(&s->places[DROP], s->cells.fd, &e), 0);
	release(1, "");
	held(0);
}

/* Released to a RAM disk and rebooted before it was noted: nobody knows, so a person decides. */
static void uncertain(void **state)
{
	int64_t id = 1;
	struct move_result result;

	(void)state;
	put("drop/a.eml", EML "plain.eml", NULL);
	take(DROP, 0, 0, "a.eml", "drop/a.eml");
	assert_int_equal(ledger_move(s->ledger, 1, ROW_HELD, ROW_RELEASING, 1, &e), 1);
	assert_int_equal(ledger_set_new_id(s->ledger, 1, SLICE("x.eml"), "another boot", &e), 0);
	s->places[DROP].on_ram = true;
	assert_int_equal(recover_place(s, &s->places[DROP], &e), 0);
	struct row r = row_of(1);
	assert_int_equal(r.state, ROW_UNCERTAIN);
	row_free(&r);
	assert_true(there("q/cells/0/m1/message"));
	held(1);
	assert_int_equal(purge_batch(s, &id, 1, &result, &e), 1);
	held(0);
}

/* The names of a folder come again, and so do inodes: a file of the same name that is new is not an old one's remains. */
static void same_name_again(void **state)
{
	static const struct { const char *what; bool cells_differ; int64_t mtime; bool taken; } rows[] = {
		{ "the original of a copy", false, 0, false },
		{ "a new file", false, 100, true },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		char staged[STAGE_NAME], path[300], name[300];
		int64_t id = i == 0 ? 1 : 2;
		struct ledger_sum sum;
		print_message("  %s\n", rows[i].what);
		put("drop/a.eml", EML "plain.eml", NULL);
		take(DROP, 0, 0, "a.eml", "drop/a.eml");
		struct row r = row_of(id);
		down();
		/* a crash between the copy and the removal leaves such a file */
		stage_name(staged, r.dir, r.depth, r.ino, SLICE("a.eml"));
		(void)snprintf(name, sizeof name, "drop/.spoolward.stage/%s", staged);
		put(name, EML "plain.eml", NULL);
		path_of(path, name);
		const struct timespec times[2] = { { r.mtime + rows[i].mtime, 0 }, { r.mtime + rows[i].mtime, 0 } };
		assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
		row_free(&r);
		up();
		settle();
		assert_false(there(name));
		assert_int_equal(ledger_sum(s->ledger, &(struct selection){ .states = 1u << ROW_HELD }, &sum, &e), 0);
		assert_int_equal(sum.messages, i + 1 + rows[i].taken);
		held(sum.messages);
	}
}

static void one_owner(void **state)
{
	struct store *second = NULL;

	(void)state;
	assert_int_equal(store_open(conf, &second, &e), -1);
	assert_null(second);
	assert_int_equal(e.kind, ERR_EXISTS);
}

static void counts_survive(void **state)
{
	char name[40];

	(void)state;
	for (int i = 0; i < 5; i++) {
		(void)snprintf(name, sizeof name, "drop/%d.eml", i);
		put(name, EML "plain.eml", NULL);
		take(DROP, 0, 0, name + 5, name);
	}
	release(2, "");
	uint64_t bytes = atomic_load(&s->held_bytes);
	down();
	up();
	held(4);
	assert_int_equal(atomic_load(&s->held_bytes), bytes);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(there_and_back),	TEST(purged),	     TEST(delivered_meanwhile), TEST(waits_until_it_is_still),
		TEST(claim_rows),	TEST(logs_and_notices), TEST(spool_that_is_away), TEST(uncertain),
		TEST(same_name_again),	TEST(one_owner),     TEST(counts_survive),
	};

	log_open("test", 1, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
