/* Facts about folders of RFC 5322 files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "spool/format.h"

#define S(lit) { "" lit, sizeof(lit) - 1 }
#define ROWS(a) (sizeof(a) / sizeof *(a))

static const struct spool_set plain = {
	.names = "*.eml", .login_header = "", .client_header = "", .sender_header = "", .file_uid = 1001,
};
static const struct spool_set named = {
	.names = "*.eml", .login_header = "X-Auth-User", .client_header = "X-Client", .sender_header = "X-Env-From",
	.file_uid = 1001,
};

static void identify_rows(void **state)
{
	static const struct { unsigned dir; struct slice name; enum seen seen; } rows[] = {
		{ 0, S("a.eml"), SEEN_MESSAGE },     { 0, S("A.EML"), SEEN_MESSAGE },
		{ 0, S("a.msg"), SEEN_MESSAGE },     { 0, S("a.txt"), SEEN_MAYBE },
		{ 0, S("mail"), SEEN_MAYBE },        { 0, S(".a.eml"), SEEN_NOISE },
		{ 0, S("a.tmp"), SEEN_NOISE },       { 0, S("a.PART"), SEEN_NOISE },
		{ 0, S("a.eml~"), SEEN_NOISE },      { 0, S("a.em_"), SEEN_NOISE },
		{ 0, S("new"), SEEN_NOISE },         { 0, S("cur"), SEEN_NOISE },
		{ 0, S("tmp"), SEEN_NOISE },         { 0, S("a\n.eml"), SEEN_NOISE },
		{ 0, S("a\0.eml"), SEEN_NOISE },     { 0, S(""), SEEN_NOISE },
		{ 1, S("1.M2.host"), SEEN_MESSAGE }, { 2, S("1.M2.host:2,S"), SEEN_MESSAGE },
		{ 1, S(".x"), SEEN_NOISE },
	};
	const struct spool_set set = { .names = "*.eml   *.msg" };

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct queue_id id;
		print_message("  %u \"%s\"\n", rows[i].dir, rows[i].name.p);
		assert_int_equal(spool_eml.identify(&set, rows[i].dir, rows[i].name, &id), rows[i].seen);
		assert_true(rows[i].seen == SEEN_NOISE || slice_eq(queue_id_slice(&id), rows[i].name));
	}
}

static void fresh_rows(void **state)
{
	/* 1795291985 = tovc5t, 4711 = 03mv in base 36 */
	static const struct { const char *what; struct slice old, want; } rows[] = {
		{ "plain", S("a.eml"), S("a-rtovc5t03mv.eml") },
		{ "no extension", S("abc"), S("abc-rtovc5t03mv") },
		{ "dots", S("a.b.eml"), S("a.b-rtovc5t03mv.eml") },
		{ "released before", S("a-raaaaaabbbb.eml"), S("a-rtovc5t03mv.eml") },
		{ "only looks like it", S("a-raaaaaabbb.eml"), S("a-raaaaaabbb-rtovc5t03mv.eml") },
		{ "the mark alone", S("-raaaaaabbbb.eml"), S("-raaaaaabbbb-rtovc5t03mv.eml") },
		{ "letters only", S("zzz"), S("zzz-rtovc5t03mv") },
		{ "Maildir", S("1795000000.M3P4.host"), S("1795291985.M4711P0Q99.spoolward") },
		{ "Maildir with flags", S("1795000000.M3P4.host:2,FS"), S("1795291985.M4711P0Q99.spoolward:2,FS") },
		{ "digits, but eml", S("1795000000.eml"), S("1795000000-rtovc5t03mv.eml") },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct queue_id id;
		print_message("  %s\n", rows[i].what);
		assert_true(spool_eml.fresh(rows[i].old, 1795291985, 4711, 99, 0, &id));
		assert_string_equal(id.text, rows[i].want.p);
	}
}

static void fresh_bounds(void **state)
{
	static char name[QUEUE_ID_MAX + 1];
	struct queue_id id, again;

	(void)state;
	for (size_t n = 1; n <= QUEUE_ID_MAX; n++) {
		for (size_t i = 0; i < n; i++)
			name[i] = i % 2 ? '\xbc' : '\xc3';
		assert_true(spool_eml.fresh((struct slice){ name, n }, 1, 999999, 5, 0, &id));
		assert_true(spool_eml.fresh((struct slice){ name, n }, 1, 999999, 5, 1, &again));
		assert_false(slice_eq(queue_id_slice(&id), queue_id_slice(&again)));
	}
	assert_true(spool_eml.fresh(SLICE("a.eml"), 1, 2, 5, 0, &id));
	assert_true(spool_eml.fresh(queue_id_slice(&id), 1, 2, 5, 0, &again));
	assert_false(slice_eq(queue_id_slice(&id), queue_id_slice(&again)));
	assert_false(spool_eml.fresh(SLICE("a/b"), 1, 2, 5, 0, &id));
	assert_false(spool_eml.fresh(SLICE("a.eml"), 1, 1000000, 5, 0, &id));
	assert_false(spool_eml.fresh(SLICE("a.eml"), -1, 2, 5, 0, &id));
}

static void envelope_rows(void **state)
{
	static const struct {
		const char *what;
		const struct spool_set *set;
		struct slice in;
		int rc;
		uint32_t flags, recipients;
		struct slice sender, login, client;
	} rows[] = {
		{ "plain", &plain, S("From: A <a@x.org>\nTo: b@x.org, c@x.org\nCc: d@x.org\n\nTo: e@x.org\n"), 0,
		  CARD_LOCAL, 3,
		  S("a@x.org"), S(""), S("") },
		{ "CRLF and BOM", &plain, S("\xef\xbb\xbf" "From: a@x.org\r\nTo: b@x.org\r\n\r\n"), 0, CARD_LOCAL, 1,
		  S("a@x.org"), S(""), S("") },
		{ "X-Receiver counts alone", &plain,
		  S("To: b@x.org, c@x.org\nX-Receiver: d@x.org\nX-Sender: s@x.org\n"), 0,
		  CARD_LOCAL, 1, S("s@x.org"), S(""), S("") },
		{ "Bcc", &plain, S("From: a@x.org\nBcc: b@x.org,\n c@x.org\n"), 0, CARD_LOCAL, 2, S("a@x.org"), S(""),
		  S("") },
		{ "Return-Path over From", &plain, S("From: a@x.org\nReturn-Path: <r@x.org>\n"), 0, CARD_LOCAL, 1,
		  S("r@x.org"),
		  S(""), S("") },
		{ "X-Sender over Return-Path", &plain, S("X-Sender: s@x.org\nReturn-Path: <r@x.org>\n"), 0,
		  CARD_LOCAL, 1,
		  S("s@x.org"), S(""), S("") },
		{ "null sender", &plain, S("Return-Path: <>\nFrom: a@x.org\n"), 0, CARD_LOCAL | CARD_NULL_SENDER, 1,
		  S(""),
		  S(""), S("") },
		{ "From that is empty", &plain, S("From: <>\nTo: b@x.org\n"), 0, CARD_LOCAL, 1, S(""), S(""), S("") },
		{ "login not asked for", &plain, S("X-Auth-User: joe\nFrom: a@x.org\n"), 0, CARD_LOCAL, 1,
		  S("a@x.org"), S(""),
		  S("") },
		{ "login", &named, S("x-auth-user:  joe \nFrom: a@x.org\n"), 0, CARD_AUTH, 1, S("a@x.org"), S("joe"),
		  S("") },
		{ "first login", &named, S("X-Auth-User: joe\nX-Auth-User: eve\n"), 0, CARD_AUTH, 1, S(""), S("joe"),
		  S("") },
		{ "empty login", &named, S("X-Auth-User:\nFrom: a@x.org\n"), 0, CARD_LOCAL, 1, S("a@x.org"), S(""),
		  S("") },
		{ "client and sender", &named,
		  S("X-Client: [IPv6:2001:db8::7]\nX-Client: 192.0.2.7\nX-Env-From: <e@x.org>\n"
		  "X-Sender: s@x.org\n"), 0, CARD_LOCAL, 1, S("e@x.org"), S(""), S("192.0.2.7") },
		{ "empty file", &plain, S(""), -1, 0, 0, S(""), S(""), S("") },
		{ "no header", &plain, S("hello\nworld\n"), -1, 0, 0, S(""), S(""), S("") },
		{ "zeros", &plain, S("\0\0\0\0\0\0\0"), -1, 0, 0, S(""), S(""), S("") },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct source src = source_mem(rows[i].in);
		struct card c;
		struct err e = { 0 };
		print_message("  %s\n", rows[i].what);
		card_init(&c, CARD_NEW);
		assert_true(card_put(&c, &c.id, SLICE("x.eml"), QUEUE_ID_MAX));
		assert_int_equal(spool_eml.envelope(rows[i].set, &src, &c, &e), rows[i].rc);
		if (rows[i].rc != 0) {
			assert_int_equal(e.kind, ERR_HOSTILE);
			continue;
		}
		assert_true(card_check(&c, CARD_SIZE(&c)));
		assert_int_equal(c.flags, rows[i].flags);
		assert_int_equal(c.uid, rows[i].flags & CARD_LOCAL ? 1001 : -1);
		assert_int_equal(c.recipients, rows[i].recipients);
		assert_true(slice_eq(CARD_GET(&c, sender), rows[i].sender));
		assert_true(slice_eq(CARD_GET(&c, login), rows[i].login));
		assert_true(slice_eq(CARD_GET(&c, client), rows[i].client));
	}
}

static void walk_rows(void **state)
{
	static const struct {
		const char *what;
		struct slice in;
		uint32_t open, flags;
		struct slice rcpts, subject;
	} rows[] = {
		{ "To and Cc", S("To: b@x.org\nSubject: hi\n there\nCc: C <c@x.org>\n\nbody"), 2, WALK_WHOLE,
		  S("b@x.org\0c@x.org\0"), S("hi there") },
		{ "X-Receiver only", S("To: b@x.org\nX-Receiver: r@x.org\nX-Receiver: s@x.org\n\n"), 2, WALK_WHOLE,
		  S("r@x.org\0s@x.org\0"), S("") },
		{ "nobody named", S("Subject: x\n\n"), 1, WALK_WHOLE | WALK_RCPT_CUT, S(""), S("x") },
		{ "cut", S("To: b@x.org\nSubject: x"), 1, WALK_WHOLE, S("b@x.org\0"), S("x") },
		{ "second subject", S("Subject: one\nSubject: two\nTo: b\n"), 1, WALK_WHOLE, S("b\0"), S("one") },
	};
	static struct walk w;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct source src = source_mem(rows[i].in);
		struct err e = { 0 };
		print_message("  %s\n", rows[i].what);
		walk_init(&w);
		assert_int_equal(spool_eml.walk(&plain, &src, &w, &e), 0);
		assert_true(walk_check(&w, WALK_SIZE(&w)));
		assert_int_equal(w.open, rows[i].open);
		assert_int_equal(w.done, 0);
		assert_int_equal(w.nstamps, 0);
		assert_int_equal(w.flags, rows[i].flags);
		assert_true(slice_eq(WALK_GET(&w, rcpts), rows[i].rcpts));
		assert_true(slice_eq(WALK_GET(&w, subject), rows[i].subject));
	}
}

static void many_recipients(void **state)
{
	static char in[200000];
	static struct walk w;
	size_t n = 4;
	struct err e = { 0 };
	struct card c;

	(void)state;
	memcpy(in, "To: ", 4);
	for (unsigned i = 0; i < 9000; i++)
		n += (size_t)snprintf(in + n, sizeof in - n, "user%u@example.com,", i);
	struct source src = source_mem((struct slice){ in, n });
	walk_init(&w);
	assert_int_equal(spool_eml.walk(&plain, &src, &w, &e), 0);
	assert_int_equal(w.open, 9000);
	assert_int_equal(w.flags, WALK_WHOLE | WALK_RCPT_CUT);
	assert_true(walk_check(&w, WALK_SIZE(&w)));
	card_init(&c, CARD_NEW);
	assert_int_equal(spool_eml.envelope(&plain, &src, &c, &e), 0);
	assert_int_equal(c.recipients, 9000);
}

static int collect(void *arg, struct slice piece)
{
	*(size_t *)arg += piece.n;
	return 0;
}

static int refuse(void *arg, struct slice piece)
{
	(void)arg;
	(void)piece;
	return 1;
}

static void content(void **state)
{
	static char in[50000];
	struct source src = source_mem((struct slice){ in, sizeof in });
	struct err e = { 0 };
	size_t n = 0;

	(void)state;
	assert_int_equal(spool_eml.content(&src, collect, &n, &e), 0);
	assert_int_equal(n, sizeof in);
	assert_int_equal(spool_eml.content(&src, refuse, NULL, &e), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identify_rows), cmocka_unit_test(fresh_rows), cmocka_unit_test(fresh_bounds),
		cmocka_unit_test(envelope_rows), cmocka_unit_test(walk_rows),  cmocka_unit_test(many_recipients),
		cmocka_unit_test(content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
