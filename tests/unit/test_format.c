/* Facts about the registry, ids, paths, and what a receiver believes of cards and walks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "spool/format.h"

#define S(lit) { "" lit, sizeof(lit) - 1 }
#define ROWS(a) (sizeof(a) / sizeof *(a))

static const struct spool_set hashed = {
	.names = "*.eml", .hashed = "deferred, defer", .hash_depth = 2, .file_uid = -1,
};
static const struct spool_set flat = { .names = "*.eml *.msg", .file_uid = -1 };

static void registry(void **state)
{
	(void)state;
	for (size_t i = 0; spool_formats[i] != NULL; i++) {
		const struct spool_format *f = spool_formats[i];
		size_t live = 0;

		print_message("  %s\n", f->name);
		assert_ptr_equal(spool_format_find(slice_str(f->name)), f);
		assert_in_range(f->ndirs, 1, SPOOL_DIRS_MAX);
		assert_in_range(f->nparts, 1, SPOOL_PARTS_MAX);
		assert_in_range(f->release_dir, 0, f->ndirs - 1);
		assert_true(f->what && f->stage && f->identify && f->envelope && f->walk && f->content && f->fresh);
		for (size_t k = 0; k < f->nparts; k++)
			live += (f->parts[k].traits & PART_LIVE) != 0;
		assert_int_equal(live, 1);
		for (size_t k = 0; k < f->ndirs; k++) {
			assert_true(f->dirs[k].complete != 0);
			assert_true(strcmp(f->dirs[k].name, f->stage) != 0);
			assert_true(f->hash != NULL || !(f->dirs[k].traits & DIR_HASHED));
		}
	}
	assert_true(spool_formats[0] == &spool_postfix && spool_formats[1] == &spool_eml);
	assert_null(spool_format_find(SLICE("")));
	assert_null(spool_format_find(SLICE("postfi")));
	assert_null(spool_format_find(SLICE("postfix\0")));
}

static void queue_id_rows(void **state)
{
	static char longest[QUEUE_ID_MAX + 1];
	memset(longest, 'a', sizeof longest);
	const struct { const char *what; struct slice in; bool yes; } rows[] = {
		{ "plain", S("4ACE7AC8502"), true },   { "empty", S(""), false },
		{ "slash", S("a/b"), false },          { "dot first", S(".a"), false },
		{ "dots", S(".."), false },            { "dot inside", S("a.eml"), true },
		{ "NUL", S("a\0b"), false },           { "line feed", S("a\nb"), false },
		{ "DEL", S("a\x7f"), false },          { "blank", S("a b"), true },
		{ "UTF-8", S("gr\xc3\xbc"), true },    { "longest", { longest, QUEUE_ID_MAX }, true },
		{ "too long", { longest, QUEUE_ID_MAX + 1 }, false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct queue_id id = { .n = 7 };
		print_message("  %s\n", rows[i].what);
		assert_int_equal(queue_id_set(&id, rows[i].in), rows[i].yes);
		assert_int_equal(id.n, rows[i].yes ? rows[i].in.n : 7);
	}
}

static void path_rows(void **state)
{
	static const struct {
		const char *what;
		const struct spool_format *f;
		unsigned dir, depth;
		struct slice id;
		const char *path;
	} rows[] = {
		{ "flat", &spool_postfix, 0, 0, S("4ACE7AC8502"), "incoming/4ACE7AC8502" },
		{ "one level", &spool_postfix, 2, 1, S("4ACE7AC8502"), "deferred/4/4ACE7AC8502" },
		{ "three levels", &spool_postfix, 2, 3, S("4ACE7AC8502"), "deferred/4/A/C/4ACE7AC8502" },
		/* 5smc is the microsecond: 826832 = 0xC9DD0; Postfix put this file under deferred/C */
		{ "long id", &spool_postfix, 2, 1, S("4jX7m45smcz7w"), "deferred/C/4jX7m45smcz7w" },
		{ "long id, level 3", &spool_postfix, 2, 3, S("4jX7m45smcz7w"), "deferred/C/9/D/4jX7m45smcz7w" },
		{ "long id, early microsecond", &spool_postfix, 2, 2, S("4jX7m4001Bz7w"),
		  "deferred/0/0/4jX7m4001Bz7w" },
		{ "nothing behind the z", &spool_postfix, 2, 1, S("4jX7m45smc7wz"), NULL },
		{ "too deep", &spool_postfix, 2, 4, S("4ACE7AC8502"), NULL },
		{ "no such directory", &spool_postfix, 4, 0, S("4ACE7AC8502"), NULL },
		{ "id that climbs", &spool_postfix, 0, 0, S("../4ACE7AC"), NULL },
		{ "root", &spool_eml, 0, 0, S("a.eml"), "a.eml" },
		{ "new", &spool_eml, 1, 0, S("1.M2.h"), "new/1.M2.h" },
		{ "eml has no hash", &spool_eml, 1, 1, S("a.eml"), NULL },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		char out[SPOOL_PATH_MAX];
		print_message("  %s\n", rows[i].what);
		bool ok = spool_path(rows[i].f, rows[i].dir, rows[i].depth, rows[i].id, out);
		assert_int_equal(ok, rows[i].path != NULL);
		if (rows[i].path != NULL)
			assert_string_equal(out, rows[i].path);
	}
}

static void part_paths(void **state)
{
	struct slice id = SLICE("4ACE7AC8502");
	char out[SPOOL_PATH_MAX];

	(void)state;
	assert_true(spool_part_path(&spool_postfix, &hashed, 0, 2, 2, id, out));
	assert_string_equal(out, "deferred/4/A/4ACE7AC8502");
	assert_true(spool_part_path(&spool_postfix, &hashed, 1, 0, 0, id, out));
	assert_string_equal(out, "defer/4/A/4ACE7AC8502");
	assert_true(spool_part_path(&spool_postfix, &hashed, 2, 0, 0, id, out));
	assert_string_equal(out, "bounce/4ACE7AC8502");
	assert_true(spool_part_path(&spool_postfix, &flat, 1, 0, 0, id, out));
	assert_string_equal(out, "defer/4ACE7AC8502");
	assert_false(spool_part_path(&spool_postfix, &flat, 4, 0, 0, id, out));
	assert_true(spool_part_path(&spool_eml, &flat, 0, 2, 0, SLICE("x"), out));
	assert_string_equal(out, "cur/x");
}

static void depth_rows(void **state)
{
	static const struct { const char *names, *dir; unsigned depth, want; } rows[] = {
		{ "deferred, defer", "deferred", 1, 1 }, { "deferred, defer", "defer", 2, 2 },
		{ "deferred, defer", "incoming", 2, 0 }, { "deferred defer", "defer", 9, SPOOL_DEPTH_MAX },
		{ "DEFERRED", "deferred", 1, 1 },        { "deferredx", "deferred", 1, 0 },
		{ "", "deferred", 1, 0 },                { NULL, "deferred", 1, 0 },
		{ " ,, incoming", "incoming", 1, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct spool_set set = { .hashed = rows[i].names, .hash_depth = rows[i].depth };
		print_message("  %s in %s\n", rows[i].dir, rows[i].names ? rows[i].names : "NULL");
		assert_int_equal(spool_depth(&set, rows[i].dir), rows[i].want);
	}
	assert_true(spool_hash_name(SLICE("A")) && spool_hash_name(SLICE("_")));
	assert_false(spool_hash_name(SLICE(".")) || spool_hash_name(SLICE("")) || spool_hash_name(SLICE("AB")));
	assert_false(spool_hash_name(SLICE("/")) || spool_hash_name(SLICE("\0")) || spool_hash_name(SLICE(" ")));
}

static void id_ok_rows(void **state)
{
	static const struct { const struct spool_format *f; unsigned dir; struct slice id; bool yes; } rows[] = {
		{ &spool_postfix, 0, S("4ACE7AC8502"), true },
		{ &spool_postfix, 3, S("4ACE7AC8502"), true },
		{ &spool_postfix, 4, S("4ACE7AC8502"), false },
		{ &spool_postfix, 0, S("693719.16099"), false },
		{ &spool_postfix, 0, S("../x"), false },
		{ &spool_postfix, 0, S(""), false },
		{ &spool_eml, 0, S("a.eml"), true },
		{ &spool_eml, 0, S("a.txt"), true },
		{ &spool_eml, 0, S("a.tmp"), false },
		{ &spool_eml, 0, S(".hidden.eml"), false },
		{ &spool_eml, 1, S("1.M2.h:2,S"), true },
		{ &spool_eml, 3, S("1.M2.h"), false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		print_message("  %s %u %s\n", rows[i].f->name, rows[i].dir, rows[i].id.p);
		assert_int_equal(spool_id_ok(rows[i].f, &flat, rows[i].dir, rows[i].id), rows[i].yes);
	}
}

static ssize_t stingy(struct source *s, void *p, size_t n, uint64_t at)
{
	(void)n;
	if (at >= s->mem.n)
		return 0;
	*(char *)p = s->mem.p[at];
	return 1;
}

static void sources(void **state)
{
	struct source s = source_mem(SLICE("hello")), slow = source_mem(SLICE("hello"));
	char buf[8];

	(void)state;
	slow.read = stingy;
	assert_int_equal(s.size, 5);
	assert_int_equal(source_fill(&s, buf, 8, 0), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(source_fill(&slow, buf, 3, 2), 3);
	assert_memory_equal(buf, "llo", 3);
	assert_int_equal(source_fill(&s, buf, 8, 5), 0);
	assert_int_equal(source_fill(&s, buf, 8, UINT64_MAX), 0);
	FILE *f = tmpfile();
	assert_non_null(f);
	assert_true(fputs("world", f) >= 0 && fflush(f) == 0);
	s = source_fd(fileno(f), 5);
	assert_int_equal(source_fill(&s, buf, 8, 1), 4);
	assert_memory_equal(buf, "orld", 4);
	assert_int_equal(source_fill(&s, buf, 8, UINT64_MAX), -1);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(source_fill(&s, buf, 8, 0), -1);
}

static struct card sound_card(void)
{
	struct card c;

	card_init(&c, CARD_NEW);
	assert_true(card_put(&c, &c.id, SLICE("4ACE7AC8502"), QUEUE_ID_MAX));
	assert_true(card_put(&c, &c.login, SLICE("joe@example.com"), LOGIN_MAX));
	c.flags = CARD_AUTH;
	c.recipients = 3;
	c.size = 1000;
	return c;
}

enum breakage {
	NOTHING, KIND_0, KIND_HIGH, FLAGS, USED, DIR, DEPTH, UID_LOW, UID_HIGH, RECIPIENTS, TIME, NO_ID, BAD_ID,
	SPAN_END, SPAN_LONG, AUTH_EMPTY, LOGIN_NO_AUTH, LOCAL_NO_UID, NULL_WITH_SENDER, SHORT, TOO_SHORT, EXACT, LONG,
};

static void card_rows(void **state)
{
	static const struct { const char *what; enum breakage how; bool ok; } rows[] = {
		{ "sound", NOTHING, true }, { "cut to its size", EXACT, true }, { "kind 0", KIND_0, false },
		{ "unknown kind", KIND_HIGH, false }, { "unknown flag", FLAGS, false }, { "used", USED, false },
		{ "dir", DIR, false }, { "depth", DEPTH, false }, { "uid -2", UID_LOW, false },
		{ "uid 2^32", UID_HIGH, false }, { "recipients", RECIPIENTS, false }, { "time before 0", TIME, false },
		{ "no id", NO_ID, false }, { "id with a slash", BAD_ID, false },
		{ "span past the end", SPAN_END, false },
		{ "login too long", SPAN_LONG, false }, { "auth without login", AUTH_EMPTY, false },
		{ "login without auth", LOGIN_NO_AUTH, false }, { "local without uid", LOCAL_NO_UID, false },
		{ "null sender with sender", NULL_WITH_SENDER, false }, { "one byte short", SHORT, false },
		{ "less than the fixed part", TOO_SHORT, false }, { "longer than a card", LONG, false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct card c = sound_card();
		size_t n = sizeof c;

		print_message("  %s\n", rows[i].what);
		switch (rows[i].how) {
		case NOTHING: break;
		case KIND_0: c.kind = 0; break;
		case KIND_HIGH: c.kind = CARD_KINDS; break;
		case FLAGS: c.flags |= CARD_FLAGS + 1; break;
		case USED: c.used = CARD_TEXT + 1; break;
		case DIR: c.dir = SPOOL_DIRS_MAX; break;
		case DEPTH: c.depth = SPOOL_DEPTH_MAX + 1; break;
		case UID_LOW: c.uid = -2; break;
		case UID_HIGH: c.uid = INT64_C(1) << 32; break;
		case RECIPIENTS: c.recipients = RECIPIENTS_MAX + 1; break;
		case TIME: c.arrived_s = -1; break;
		case NO_ID: c.id.n = 0; break;
		case BAD_ID: c.text[c.id.at + 2] = '/'; break;
		case SPAN_END: c.sender = (struct span){ (uint16_t)(c.used - 1), 2 }; break;
		case SPAN_LONG: c.used = CARD_TEXT; c.login = (struct span){ 0, LOGIN_MAX + 1 }; break;
		case AUTH_EMPTY: c.login.n = 0; break;
		case LOGIN_NO_AUTH: c.flags = 0; break;
		case LOCAL_NO_UID: c.flags |= CARD_LOCAL; break;
		case NULL_WITH_SENDER: c.flags |= CARD_NULL_SENDER; c.sender = c.login; break;
		case SHORT: n = CARD_SIZE(&c) - 1; break;
		case TOO_SHORT: n = offsetof(struct card, text) - 1; break;
		case EXACT: n = CARD_SIZE(&c); break;
		case LONG: n = sizeof c + 1; break;
		}
		assert_int_equal(card_check(&c, n), rows[i].ok);
	}
}

static void card_puts(void **state)
{
	static char big[CARD_TEXT + 10];
	struct card c;
	struct span s;

	(void)state;
	memset(big, 'x', sizeof big);
	card_init(&c, CARD_SPOOL_DOWN);
	assert_false(card_put(&c, &s, (struct slice){ big, 300 }, 256));
	assert_int_equal(s.n, 256);
	assert_false(card_put(&c, &c.sender, (struct slice){ big, sizeof big }, sizeof big));
	assert_int_equal(c.used, CARD_TEXT);
	assert_false(card_put(&c, &c.first, SLICE("a"), 10));
	assert_true(card_put(&c, &c.first, SLICE(""), 10));
	assert_true(card_check(&c, CARD_SIZE(&c)));
}

static void walks(void **state)
{
	static struct walk w;
	static char big[ADDRESS_MAX + 1];
	struct slice list, one;

	(void)state;
	memset(big, 'x', sizeof big);
	walk_init(&w);
	w.size = 500;
	assert_true(walk_put(&w, &w.subject, SLICE("s"), HEADER_MAX));
	walk_recipient(&w, SLICE("a@example.com"));
	walk_recipient(&w, SLICE("b\0c@example.com"));
	w.open = 2;
	assert_true(walk_check(&w, WALK_SIZE(&w)));
	assert_false(walk_check(&w, WALK_SIZE(&w) - 1));
	list = WALK_GET(&w, rcpts);
	assert_true(slice_cut(&list, '\0', &one) && slice_eq(one, SLICE("a@example.com")));
	assert_true(slice_cut(&list, '\0', &one) && slice_eq(one, SLICE("b?c@example.com")));
	w.open = 1; /* fewer than are listed */
	assert_false(walk_check(&w, sizeof w));
	w.open = 3; /* more than are listed, and not said to be cut */
	assert_false(walk_check(&w, sizeof w));
	walk_recipient(&w, (struct slice){ big, sizeof big });
	assert_true(w.flags & WALK_RCPT_CUT);
	assert_true(walk_check(&w, sizeof w));
	for (w.open = 0; w.open < 5000; w.open++)
		walk_recipient(&w, SLICE("somebody@example.com"));
	assert_true(w.used <= WALK_TEXT && walk_check(&w, sizeof w));
	w.text[w.rcpts.at + w.rcpts.n - 1] = 'x'; /* no NUL at the end */
	assert_false(walk_check(&w, sizeof w));
}

static void stamp_rows(void **state)
{
	static const struct { const char *what; struct stamp s; bool ok; } rows[] = {
		{ "sound", { 490, 0, 10, '\0' }, true },    { "blank", { 0, 5, 15, ' ' }, true },
		{ "past the end", { 491, 0, 10, '\0' }, false }, { "far past", { UINT64_MAX, 0, 10, '\0' }, false },
		{ "no width", { 0, 0, 0, '\0' }, false },   { "too wide", { 0, 0, 21, '\0' }, false },
		{ "pad", { 0, 0, 10, 'x' }, false },        { "delta", { 0, INT64_MAX, 10, '\0' }, false },
	};
	static struct walk w;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		print_message("  %s\n", rows[i].what);
		walk_init(&w);
		w.size = 500;
		w.nstamps = 1;
		w.stamps[0] = rows[i].s;
		assert_int_equal(walk_check(&w, sizeof w), rows[i].ok);
	}
	w.nstamps = WALK_STAMPS + 1;
	assert_false(walk_check(&w, sizeof w));
	walk_init(&w);
	w.subject.n = 1;
	assert_false(walk_check(&w, sizeof w));
	walk_init(&w);
	w.used = WALK_TEXT + 1;
	assert_false(walk_check(&w, sizeof w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registry),   cmocka_unit_test(queue_id_rows), cmocka_unit_test(path_rows),
		cmocka_unit_test(part_paths), cmocka_unit_test(depth_rows),    cmocka_unit_test(id_ok_rows),
		cmocka_unit_test(sources),    cmocka_unit_test(card_rows),     cmocka_unit_test(card_puts),
		cmocka_unit_test(walks),      cmocka_unit_test(stamp_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
