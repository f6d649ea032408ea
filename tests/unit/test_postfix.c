/* Facts about Postfix queue files: real ones from the corpus, and built ones that are broken on purpose. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "spool/format.h"

#define S(lit) { "" lit, sizeof(lit) - 1 }
#define ROWS(a) (sizeof(a) / sizeof *(a))
#define CORPUS "tests/fuzz/corpus/postfix/"

static const struct spool_set set = { .hashed = "deferred, defer", .hash_depth = 1, .file_uid = 105 };

/* ---- a builder of queue files ---- */

struct file {
	size_t n, offset; /* offset: of the content */
	char text[300000];
};
static struct file file;

static void raw(const void *p, size_t n)
{
	assert_true(n <= sizeof file.text - file.n);
	memcpy(file.text + file.n, p, n);
	file.n += n;
}

static size_t rec(char type, struct slice s)
{
	size_t at = file.n, n = s.n;

	raw(&type, 1);
	do {
		char c = (char)((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
		raw(&c, 1);
		n >>= 7;
	} while (n > 0);
	raw(s.p, s.n);
	return at;
}

static void sizes(size_t data, size_t offset, unsigned recipients)
{
	size_t keep = file.n;
	char text[96];

	(void)snprintf(text, sizeof text, "%15zu %15zu %15u %15u %15zu %15u", data, offset, recipients, 0u, data, 0u);
	file.n = 0;
	(void)rec('C', (struct slice){ text, 95 });
	file.n = keep > file.n ? keep : file.n;
}

static size_t pointer(size_t to)
{
	char text[24];

	(void)snprintf(text, sizeof text, "%15zu", to);
	return rec('p', (struct slice){ text, 15 });
}

/* Patches a pointer that rec_ wrote at at. */
static void point(size_t at, size_t to)
{
	size_t keep = file.n;

	file.n = at;
	(void)pointer(to);
	file.n = keep;
}

static void begin(struct slice sender)
{
	file.n = 0;
	sizes(0, 0, 0);
	(void)rec('T', SLICE("1795291985 123"));
	(void)rec('A', SLICE("create_time=1795291990"));
	(void)rec('S', sender);
}

static void start_content(void)
{
	(void)rec('M', SLICE(""));
	file.offset = file.n;
}

static void end_content(unsigned recipients)
{
	sizes(file.n - file.offset, file.offset, recipients);
	(void)rec('X', SLICE(""));
}

/* Envelope done; the usual rest. */
static void finish(unsigned recipients)
{
	start_content();
	(void)rec('N', SLICE("Received: by h (Postfix)"));
	(void)rec('N', SLICE("Subject: x"));
	(void)rec('N', SLICE(""));
	end_content(recipients);
	(void)rec('E', SLICE(""));
}

static struct slice bytes(void)
{
	return (struct slice){ file.text, file.n };
}

static int envelope(struct slice in, struct card *c, struct err *e)
{
	struct source src = source_mem(in);

	card_init(c, CARD_NEW);
	assert_true(card_put(c, &c->id, SLICE("4ACE7AC8502"), QUEUE_ID_MAX));
	c->size = in.n;
	int rc = spool_postfix.envelope(&set, &src, c, e);
	if (rc == 0)
		assert_true(card_check(c, CARD_SIZE(c)));
	return rc;
}

static struct walk w;

static int walk(struct slice in, struct err *e)
{
	struct source src = source_mem(in);

	walk_init(&w);
	int rc = spool_postfix.walk(&set, &src, &w, e);
	if (rc == 0)
		assert_true(walk_check(&w, WALK_SIZE(&w)));
	return rc;
}

struct text {
	size_t n;
	char p[300000];
};

static int collect(void *arg, struct slice piece)
{
	struct text *t = arg;

	if (piece.n > sizeof t->p - t->n)
		return 1;
	memcpy(t->p + t->n, piece.p, piece.n);
	t->n += piece.n;
	return 0;
}

/* ---- real files ---- */

static struct slice load(const char *name)
{
	char path[200];

	(void)snprintf(path, sizeof path, CORPUS "%s", name);
	FILE *f = fopen(path, "rb");
	if (f == NULL)
		fail_msg("%s: run from the top of the tree", path);
	else {
		file.n = fread(file.text, 1, sizeof file.text, f);
		assert_int_equal(fclose(f), 0);
	}
	return bytes();
}

static void real_envelopes(void **state)
{
	static const struct {
		const char *name;
		uint32_t flags, recipients;
		int64_t uid;
		struct slice sender, login, client, script, first;
	} rows[] = {
		{ "smtp", 0, 1, -1, S("ann@example.com"), S(""), S("127.0.0.1"), S(""), S("779CC15A") },
		{ "smtp-ipv6", 0, 1, -1, S("ann@example.com"), S(""), S("::1"), S(""), S("788A3160") },
		{ "sasl", CARD_AUTH, 1, -1, S("alice@example.com"), S("alice@example.com"), S("127.0.0.1"), S(""),
		  S("796E7162") },
		{ "sasl-60-recipients", CARD_AUTH, 60, -1, S("alice@example.com"), S("alice@example.com"),
		  S("127.0.0.1"),
		  S(""), S("7A4F2164") },
		{ "sendmail-uid1501", CARD_LOCAL, 1, 1501, S("joe@example.com"), S(""), S(""), S(""), S("") },
		{ "sendmail-php", CARD_LOCAL, 1, 1500, S("www@example.com"), S(""), S(""), S("1500:contact.php"),
		  S("") },
		{ "sendmail-xphp", CARD_LOCAL, 1, 1500, S("web@example.org"), S(""), S(""),
		  S("1500:www.example.com/forum/mail.php"), S("") },
		{ "sendmail-t", CARD_LOCAL, 4, 1501, S("joe@example.org"), S(""), S(""), S(""), S("") },
		{ "sendmail-v-reported", CARD_LOCAL, 1, 1501, S("joe@example.com"), S(""), S(""), S(""), S("") },
		{ "trace-report", CARD_NULL_SENDER | CARD_INTERNAL, 1, -1, S(""), S(""), S(""), S(""), S("") },
		{ "null-sender-smtp", CARD_NULL_SENDER, 1, -1, S(""), S(""), S("127.0.0.1"), S(""), S("8B0F617B") },
		{ "smtputf8", 0, 1, -1, S("jos\xc3\xa9@ex\xc3\xa4mple.com"), S(""), S("127.0.0.1"), S(""),
		  S("8BCDF17D") },
		{ "xforward", 0, 1, -1, S("ann@example.com"), S(""), S("198.51.100.9"), S(""), S("4ACE7AC8502") },
		{ "xforward-ipv6", 0, 1, -1, S("ann@example.com"), S(""), S("2001:db8::9"), S(""), S("8F99F182") },
		{ "milter-edited", CARD_AUTH, 5, -1, S("changed@example.com"), S("ann"), S("127.0.0.1"), S(""),
		  S("92CD1185") },
		{ "milter-edited-local", CARD_LOCAL, 5, 1501, S("changed@example.com"), S(""), S(""), S(""), S("") },
		{ "delay-warning", 0, 1, -1, S("ann@example.com"), S(""), S("127.0.0.1"), S(""), S("C7C49191") },
		{ "long-id", CARD_AUTH, 1, -1, S("alice@example.com"), S("alice@example.com"), S("127.0.0.1"), S(""),
		  S("4jX7ps4RN6z7y") },
		{ "deferred-partly-done", CARD_AUTH, 4, -1, S("alice@example.com"), S("alice@example.com"),
		  S("127.0.0.1"),
		  S(""), S("B308C19B") },
		{ "bounce", CARD_NULL_SENDER | CARD_INTERNAL, 1, -1, S(""), S(""), S(""), S(""), S("") },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct card c;
		struct err e = { 0 };
		print_message("  %s\n", rows[i].name);
		assert_int_equal(envelope(load(rows[i].name), &c, &e), 0);
		assert_int_equal(c.flags, rows[i].flags);
		assert_int_equal(c.recipients, rows[i].recipients);
		assert_int_equal(c.uid, rows[i].uid);
		assert_in_range(c.arrived_s, 1795304000, 1795304200);
		assert_true(slice_eq(CARD_GET(&c, sender), rows[i].sender));
		assert_true(slice_eq(CARD_GET(&c, login), rows[i].login));
		assert_true(slice_eq(CARD_GET(&c, client), rows[i].client));
		assert_true(slice_eq(CARD_GET(&c, script), rows[i].script));
		assert_true(slice_eq(CARD_GET(&c, first), rows[i].first));
	}
}

static void real_walks(void **state)
{
	static const struct {
		const char *name;
		uint32_t open, done, stamps;
		struct slice rcpts, subject;
	} rows[] = {
		{ "smtp", 1, 0, 1, S("bob@example.net\0"), S("hello") },
		{ "sasl-60-recipients", 60, 0, 1, S(""), S("hello") },
		{ "sendmail-t", 4, 0, 1, S("a@example.net\0b@example.net\0c@example.net\0e@example.net\0"),
		  S("by header") },
		{ "milter-edited", 4, 1, 1,
		  S("keep@example.net\0added0@example.net\0added1@example.net\0added2@example.net\0"),
		  S("[edited] a subject that is longer than it was") },
		{ "milter-edited-local", 4, 1, 1,
		  S("keep@example.net\0added0@example.net\0added1@example.net\0added2@example.net\0"),
		  S("[edited] a subject that is longer than it was") },
		{ "delay-warning", 1, 0, 2, S("bob@example.net\0"), S("hello") },
		{ "deferred-partly-done", 2, 2, 1, S("tmp1@example.net\0tmp2@example.net\0"), S("partly") },
		{ "bounce", 1, 0, 1, S("tmpsender@example.com\0"), S("Undelivered Mail Returned to Sender") },
		{ "smtputf8", 1, 0, 1, S("m\xc3\xbcller@ex\xc3\xa4mple.net\0"), S("gr\xc3\xbc\xc3\x9f" "e") },
		{ "sendmail-v-reported", 1, 0, 1, S("bob@example.net\0"), S("traced") },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct err e = { 0 };
		print_message("  %s\n", rows[i].name);
		assert_int_equal(walk(load(rows[i].name), &e), 0);
		assert_int_equal(w.flags, WALK_WHOLE);
		assert_int_equal(w.open, rows[i].open);
		assert_int_equal(w.done, rows[i].done);
		assert_int_equal(w.nstamps, rows[i].stamps);
		assert_memory_equal(file.text + w.stamps[0].at - 12, "create_time=179530", 18);
		assert_int_equal(w.stamps[0].width, 10);
		assert_true(w.stamps[0].pad == '\0' && w.stamps[0].delta == 0);
		assert_true(rows[i].rcpts.n == 0 || slice_eq(WALK_GET(&w, rcpts), rows[i].rcpts));
		assert_true(slice_eq(WALK_GET(&w, subject), rows[i].subject));
		/* The file without its last byte, and without more of them, is never whole. */
		for (size_t n = 0; n < file.n; n++) {
			assert_int_equal(walk((struct slice){ file.text, n }, &e), 0);
			assert_int_equal(w.flags & WALK_WHOLE, 0);
		}
	}
	assert_int_equal(walk(load("delay-warning"), &(struct err){ 0 }), 0);
	assert_memory_equal(file.text + w.stamps[1].at, "     1795318494", 15);
	assert_int_equal(w.stamps[1].delta, 4 * 3600);
	assert_int_equal(w.stamps[1].width, 15);
	assert_int_equal(w.stamps[1].pad, ' ');
}

static void real_content(void **state)
{
	static const char want[] =
		"X-Milter-First:  inserted above all\n"
		"Received: by mail.example.org (Postfix, from userid 1501)\n"
		"\tid ACD3718B; Sat, 21 Nov 2026 23:34:47 +0000 (UTC)\n"
		"Subject:  [edited] a subject that is longer than it was\n"
		"Message-Id: <20261121233447.ACD3718B@mail.example.org>\n"
		"Date: Sat, 21 Nov 2026 23:34:47 +0000 (UTC)\n"
		"From: joe@example.com\n"
		"X-Milter-Last:  appended\n"
		"\n"
		"a new body\n"
		"of two lines\n";
	static struct text got;
	struct source src = source_mem(load("milter-edited-local"));
	struct err e = { 0 };

	(void)state;
	got.n = 0;
	assert_int_equal(spool_postfix.content(&src, collect, &got, &e), 0);
	got.p[got.n] = '\0';
	assert_string_equal(got.p, want);
	got.n = sizeof got.p;
	assert_int_equal(spool_postfix.content(&src, collect, &got, &e), -1);
}

/* ---- names ---- */

static void identify_rows(void **state)
{
	static const struct { struct slice name; bool yes; } rows[] = {
		{ S("4ACE7AC8502"), true },   { S("98C061"), true },       { S("98C06"), false },
		{ S("9B0AD15A"), true },      { S("4jX7m45smcz7w"), true }, { S("4jX7ps4RN6z7y"), true },
		{ S("693719.16099"), false }, { S("4ace7ac8502"), false }, { S("4ACE7AC8502#FIX"), false },
		{ S(""), false },             { S("A"), false },           { S(".."), false },
		{ S("4jX7m45smc7w"), false }, { S("4jX7m45smcz"), false }, { S("4jX7m45smaz7w"), false },
		{ S("4jX7z45smc7w"), false }, { S("4ACE7\0AC8502"), false }, { S("00000FFFFFFFFFFFFFFFF"), true },
		{ S("00000FFFFFFFFFFFFFFFFF"), false },
		{ S("4jX7m45smcz7wBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"), false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct queue_id id;
		print_message("  %s\n", rows[i].name.p);
		assert_int_equal(spool_postfix.identify(&set, 0, rows[i].name, &id),
				 rows[i].yes ? SEEN_MESSAGE : SEEN_NOISE);
	}
}

static void fresh_rows(void **state)
{
	static const struct {
		const char *what;
		struct slice old;
		int64_t sec;
		int32_t usec;
		uint64_t ino;
		unsigned attempt;
		const char *want;
	} rows[] = {
		{ "short", S("4ACE7AC8502"), 1795304101, 0x1b, 0xac8502, 0, "0001BAC8502" },
		{ "next attempt", S("4ACE7AC8502"), 1795304101, 0x1b, 0xac8502, 2, "0001DAC8502" },
		{ "microsecond wraps", S("4ACE7AC8502"), 1795304101, 999999, 1, 1, "000001" },
		{ "same as the old", S("0001BAC8502"), 1795304101, 0x1b, 0xac8502, 0, "0001CAC8502" },
		/* the second, microsecond and inode of a real file: log_ident of the corpus file long-id */
		{ "long", S("4jX7m45smcz7w"), 1795304101, 625670, 407, 0, "4jX7ps4RN6z7y" },
		{ "long, second wraps", S("4jX7m45smcz7w"), 1795304100, 999999, 1, 1, "4jX7ps0000z1" },
		{ "bad microsecond", S("4ACE7AC8502"), 1, 1000000, 1, 0, NULL },
		{ "no inode", S("4ACE7AC8502"), 1, 1, 0, 0, NULL },
		{ "before 1970", S("4ACE7AC8502"), -1, 1, 1, 0, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct queue_id id, again;
		print_message("  %s\n", rows[i].what);
		bool ok = spool_postfix.fresh(rows[i].old, rows[i].sec, rows[i].usec, rows[i].ino, rows[i].attempt,
			&id);
		assert_int_equal(ok, rows[i].want != NULL);
		if (!ok)
			continue;
		assert_string_equal(id.text, rows[i].want);
		assert_int_equal(spool_postfix.identify(&set, 0, queue_id_slice(&id), &again), SEEN_MESSAGE);
	}
}

/* ---- built envelopes ---- */

static void attributes(void **state)
{
	static const struct {
		const char *what;
		struct slice attr;
		uint32_t flags;
		struct slice login, client, first;
	} rows[] = {
		{ "trace", S("trace_flags=1024"), CARD_NOT_BUSY, S(""), S(""), S("") },
		{ "no trace", S("trace_flags=0"), 0, S(""), S(""), S("") },
		{ "login", S("sasl_username=joe"), CARD_AUTH, S("joe"), S(""), S("") },
		{ "login with =", S("sasl_username=a=b"), CARD_AUTH, S("a=b"), S(""), S("") },
		{ "empty login", S("sasl_username="), 0, S(""), S(""), S("") },
		{ "not quite", S("xsasl_username=joe"), 0, S(""), S(""), S("") },
		{ "no value", S("sasl_username"), 0, S(""), S(""), S("") },
		{ "peer", S("client_address=2001:db8::1"), 0, S(""), S("2001:db8::1"), S("") },
		{ "logged", S("log_client_address=IPv6:2001:DB8::1"), 0, S(""), S("2001:db8::1"), S("") },
		{ "mapped", S("client_address=::ffff:192.0.2.7"), 0, S(""), S("192.0.2.7"), S("") },
		{ "unknown client", S("log_client_address=unknown"), 0, S(""), S(""), S("") },
		{ "first pass", S("log_ident=4ACE7AC8502"), 0, S(""), S(""), S("4ACE7AC8502") },
		{ "first pass, no id", S("log_ident=../../x"), 0, S(""), S(""), S("") },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct card c;
		struct err e = { 0 };
		print_message("  %s\n", rows[i].what);
		begin(SLICE("a@x.org"));
		(void)rec('A', rows[i].attr);
		(void)rec('R', SLICE("b@x.org"));
		(void)rec('A', SLICE("sasl_username=late"));
		finish(1);
		assert_int_equal(envelope(bytes(), &c, &e), 0);
		assert_int_equal(c.flags, rows[i].flags);
		assert_true(slice_eq(CARD_GET(&c, login), rows[i].login));
		assert_true(slice_eq(CARD_GET(&c, client), rows[i].client));
		assert_true(slice_eq(CARD_GET(&c, first), rows[i].first));
		assert_int_equal(c.arrived_s, 1795291990);
	}
}

static void warning_rows(void **state)
{
	static const struct { const char *what; int64_t when, busy; } rows[] = {
		{ "sent", -1, 0 }, { "none", 0, 0 }, { "long ago", 1, 1 }, { "soon after", 3, 1 }, { "a time", 1795305000, 1795304998 },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct card c;
		struct err e = { 0 };
		char text[16];
		print_message("  %s\n", rows[i].what);
		begin(SLICE("a@x.org"));
		(void)snprintf(text, sizeof text, "%15lld", (long long)rows[i].when);
		(void)rec('W', (struct slice){ text, 15 });
		(void)rec('R', SLICE("b@x.org"));
		finish(1);
		assert_int_equal(envelope(bytes(), &c, &e), 0);
		assert_int_equal(c.busy_s, rows[i].busy);
		assert_int_equal(walk(bytes(), &e), 0);
		assert_int_equal(w.nstamps, rows[i].when > 0 ? 2 : 1);
		if (rows[i].when > 0)
			assert_int_equal(w.stamps[1].delta, rows[i].when - 1795291985);
	}
}

static void local_rows(void **state)
{
	static const struct {
		const char *what;
		struct slice sender, line1, line2;
		uint32_t flags;
		int64_t uid;
		struct slice script;
	} rows[] = {
		{ "pickup", S("a@x"), S("Received: by h (Postfix, from userid 7)"), S("A: b"), CARD_LOCAL, 7, S("") },
		{ "other mail_name", S("a@x"), S("Received: by h (Our MTA, from userid 7)"), S("A: b"), CARD_LOCAL, 7,
		  S("") },
		{ "root", S("a@x"), S("Received: by h (Postfix, from userid 0)"), S("A: b"), CARD_LOCAL, 0, S("") },
		{ "null sender of a user", S(""), S("Received: by h (Postfix, from userid 7)"), S("A: b"),
		  CARD_LOCAL | CARD_NULL_SENDER, 7, S("") },
		{ "bounce", S(""), S("Received: by h (Postfix)"), S("A: b"), CARD_NULL_SENDER | CARD_INTERNAL, -1,
		  S("") },
		{ "probe", S("double-bounce@h"), S("Received: by h (Postfix)"), S("A: b"), CARD_INTERNAL, -1, S("") },
		{ "forwarded", S("a@x"), S("Received: by h (Postfix)"), S("A: b"), 0, -1, S("") },
		{ "forged below", S("a@x"), S("Received: by h (Postfix)"),
		  S("Received: by h (Postfix, from userid 0)"), 0, -1, S("") },
		{ "forged in a subject", S("a@x"), S("Subject: by h (Postfix, from userid 0)"), S("A: b"), 0, -1,
		  S("") },
		{ "SMTP line", S("a@x"), S("Received: from x (h [192.0.2.7])"), S("A: b"), 0, -1, S("") },
		{ "no number", S("a@x"), S("Received: by h (Postfix, from userid x)"), S("A: b"), 0, -1, S("") },
		{ "number too large", S("a@x"), S("Received: by h (Postfix, from userid 4294967296)"), S("A: b"), 0,
		  -1, S("") },
		{ "not closed", S("a@x"), S("Received: by h (Postfix, from userid 7"), S("A: b"), 0, -1, S("") },
		{ "script", S("a@x"), S("Received: by h (Postfix, from userid 7)"),
		  S("X-PHP-Originating-Script: 7:f.php"),
		  CARD_LOCAL, 7, S("7:f.php") },
		{ "script of another uid", S("a@x"), S("Received: by h (Postfix, from userid 7)"),
		  S("X-PHP-Originating-Script: 0:f.php"), CARD_LOCAL, 7, S("7:f.php") },
		{ "script without uid", S("a@x"), S("Received: by h (Postfix, from userid 7)"),
		  S("X-PHP-Originating-Script: f.php"),
		  CARD_LOCAL, 7, S("") },
		{ "path", S("a@x"), S("Received: by h (Postfix, from userid 7)"),
		  S("x-php-script: /site/form.php for 192.0.2.7"),
		  CARD_LOCAL, 7, S("7:/site/form.php") },
		{ "empty script", S("a@x"), S("Received: by h (Postfix, from userid 7)"), S("X-PHP-Script: "),
		  CARD_LOCAL, 7, S("") },
		{ "script, not local", S("a@x"), S("Received: by h (Postfix)"), S("X-PHP-Script: /f.php"), 0, -1,
		  S("") },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct card c;
		struct err e = { 0 };
		print_message("  %s\n", rows[i].what);
		begin(rows[i].sender);
		(void)rec('R', SLICE("b@x.org"));
		start_content();
		(void)rec('N', rows[i].line1);
		(void)rec('N', rows[i].line2);
		(void)rec('N', SLICE(""));
		(void)rec('N', SLICE("X-PHP-Script: /body.php"));
		end_content(1);
		(void)rec('E', SLICE(""));
		assert_int_equal(envelope(bytes(), &c, &e), 0);
		assert_int_equal(c.flags, rows[i].flags);
		assert_int_equal(c.uid, rows[i].uid);
		assert_true(slice_eq(CARD_GET(&c, script), rows[i].script));
	}
}

/* A login and a client are never looked for in the header of somebody's mail. */
static void client_is_not_local(void **state)
{
	struct card c;
	struct err e = { 0 };

	(void)state;
	begin(SLICE("a@x.org"));
	(void)rec('A', SLICE("client_address=192.0.2.7"));
	(void)rec('R', SLICE("b@x.org"));
	start_content();
	(void)rec('N', SLICE("Received: by h (Postfix, from userid 7)"));
	end_content(1);
	(void)rec('E', SLICE(""));
	assert_int_equal(envelope(bytes(), &c, &e), 0);
	assert_int_equal(c.flags, 0);
	assert_int_equal(c.uid, -1);
}

/* ---- broken files ---- */

static void expect(const char *what, int env_rc, int walk_rc, bool whole)
{
	static struct text got;
	struct source src = source_mem(bytes());
	struct card c;
	struct err e = { 0 };

	print_message("  %s\n", what);
	assert_int_equal(envelope(bytes(), &c, &e), env_rc);
	assert_true(env_rc == 0 || e.kind == ERR_HOSTILE);
	assert_int_equal(walk(bytes(), &e), walk_rc);
	assert_true(walk_rc == 0 || e.kind == ERR_HOSTILE);
	if (walk_rc == 0)
		assert_int_equal((w.flags & WALK_WHOLE) != 0, whole);
	got.n = 0;
	(void)spool_postfix.content(&src, collect, &got, &e);
}

static void broken_files(void **state)
{
	size_t at;

	(void)state;
	file.n = 0;
	expect("empty", -1, 0, false);
	(void)rec('N', SLICE("x"));
	expect("content first", -1, -1, false);
	file.n = 0;
	raw("C\xff\xff\xff\xff\xff", 6);
	expect("length without end", -1, -1, false);
	file.n = 0;
	(void)rec('C', SLICE("            300             400"));
	expect("short C", -1, -1, false);
	begin(SLICE("a@x.org"));
	(void)rec('R', SLICE("b@x.org"));
	finish(1);
	expect("sound", 0, 0, true);
	sizes(10, 5, 1);
	expect("content inside C", -1, -1, false);
	sizes(0, file.offset, 1);
	expect("no content", -1, -1, false);
	sizes(10, 1000000, 1);
	expect("content past the end", -1, 0, false);
	sizes(1000000, file.offset, 1);
	expect("content longer than the file", -1, 0, false);
	begin(SLICE("a@x.org"));
	(void)rec('?', SLICE(""));
	finish(1);
	expect("unknown type", -1, -1, false);
	begin(SLICE("a@x.org"));
	raw("\0\0", 2);
	finish(1);
	expect("type NUL", -1, -1, false);
	begin(SLICE("a@x.org"));
	(void)rec('A', SLICE("sasl_username=x"));
	at = pointer(0);
	finish(1);
	expect("place holder", 0, 0, true);
	point(at, at);
	expect("pointer to itself", -1, -1, false);
	point(at, 97);
	expect("pointer back", -1, -1, false);
	point(at, file.n);
	expect("pointer past the end", -1, 0, false);
	point(at, 999999999999999);
	expect("pointer far past the end", -1, 0, false);
	memcpy(file.text + at + 2, "             -1", 15);
	expect("negative pointer", -1, -1, false);
	memcpy(file.text + at + 2, "0x0000000000010", 15);
	expect("no number", -1, -1, false);
	file.n = 0;
	sizes(0, 0, 0);
	(void)rec('T', SLICE("1 2"));
	(void)rec('R', SLICE("b@x.org"));
	finish(1);
	expect("no sender", -1, 0, true);
}

static void content_loop(void **state)
{
	struct err e = { 0 };
	static struct text got;

	(void)state;
	begin(SLICE("a@x.org"));
	(void)rec('A', SLICE("client_address=192.0.2.7"));
	(void)rec('R', SLICE("b@x.org"));
	start_content();
	(void)rec('N', SLICE("A: b"));
	(void)pointer(file.offset);
	end_content(1);
	(void)rec('E', SLICE(""));
	expect("content that never ends", 0, -1, false);
	struct source src = source_mem(bytes());
	got.n = 0;
	assert_int_equal(spool_postfix.content(&src, collect, &got, &e), -1);
	assert_true(got.n <= file.n);
}

/* Recipients claimed but not there; a count that no file of this size can hold. */
static void claimed_recipients(void **state)
{
	struct card c;
	struct err e = { 0 };

	(void)state;
	begin(SLICE("a@x.org"));
	(void)rec('A', SLICE("client_address=192.0.2.7"));
	(void)rec('R', SLICE("b@x.org"));
	finish(1);
	sizes(file.n - 10 - file.offset, file.offset, 4000000000u);
	assert_int_equal(envelope(bytes(), &c, &e), 0);
	assert_true(c.recipients <= file.n / 3);
}

static void long_texts(void **state)
{
	static char big[200000];
	static struct text got;
	struct card c;
	struct err e = { 0 };

	(void)state;
	memset(big, 'x', sizeof big);
	begin((struct slice){ big, 5000 });
	memcpy(big, "sasl_username=", 14);
	(void)rec('A', (struct slice){ big, 3000 });
	(void)rec('R', (struct slice){ big + 20, 3000 });
	(void)rec('R', SLICE("b@x.org"));
	start_content();
	(void)rec('L', (struct slice){ big + 20, 150000 });
	(void)rec('N', SLICE("end"));
	(void)rec('L', SLICE("open"));
	end_content(2);
	(void)rec('E', SLICE(""));
	assert_int_equal(envelope(bytes(), &c, &e), 0);
	assert_int_equal(c.sender.n, ADDRESS_MAX);
	assert_int_equal(c.login.n, LOGIN_MAX);
	assert_int_equal(walk(bytes(), &e), 0);
	assert_int_equal(w.open, 2);
	assert_int_equal(w.flags, WALK_WHOLE | WALK_RCPT_CUT);
	struct source src = source_mem(bytes());
	got.n = 0;
	assert_int_equal(spool_postfix.content(&src, collect, &got, &e), 0);
	assert_int_equal(got.n, 150000 + 4 + 5);
	assert_memory_equal(got.p + got.n - 9, "end\nopen\n", 9);
}

static void too_many_attributes(void **state)
{
	struct card c;
	struct err e = { 0 };

	(void)state;
	begin(SLICE("a@x.org"));
	while (file.n < 270000)
		(void)rec('A', SLICE("dummy=0123456789"));
	(void)rec('R', SLICE("b@x.org"));
	finish(1);
	assert_int_equal(envelope(bytes(), &c, &e), -1);
	assert_int_equal(walk(bytes(), &e), 0);
	assert_int_equal(w.flags, WALK_WHOLE);
}

/* Padding is no content; a placeholder pointer leads nowhere. */
static void padding(void **state)
{
	static struct text got;
	struct err e = { 0 };

	(void)state;
	begin(SLICE("a@x.org"));
	(void)rec('R', SLICE("b@x.org"));
	start_content();
	(void)rec('w', SLICE("X-Old: deleted"));
	(void)rec('N', SLICE("Received: by h (Postfix, from userid 7)"));
	(void)rec('w', SLICE(""));
	(void)pointer(0);
	(void)rec('N', SLICE(""));
	end_content(1);
	(void)rec('E', SLICE(""));
	expect("padding", 0, 0, true);
	struct source src = source_mem(bytes());
	got.n = 0;
	assert_int_equal(spool_postfix.content(&src, collect, &got, &e), 0);
	assert_true(slice_eq((struct slice){ got.p, got.n }, SLICE("Received: by h (Postfix, from userid 7)\n\n")));
}

/* fstat said more than the file has by now. */
static void shrunk_file(void **state)
{
	static struct text got;
	struct card c;
	struct err e = { 0 };

	(void)state;
	for (size_t n = 0; n < load("sendmail-php").n; n++) {
		struct source src = source_mem((struct slice){ file.text, n });
		src.size = file.n;
		card_init(&c, CARD_NEW);
		assert_true(card_put(&c, &c.id, SLICE("4ACE7AC8502"), QUEUE_ID_MAX));
		if (spool_postfix.envelope(&set, &src, &c, &e) == 0)
			assert_true(card_check(&c, CARD_SIZE(&c)));
		walk_init(&w);
		assert_int_equal(spool_postfix.walk(&set, &src, &w, &e), 0);
		assert_false(w.flags & WALK_WHOLE);
		got.n = 0;
		assert_int_equal(spool_postfix.content(&src, collect, &got, &e), n + 2 >= file.n ? 0 : -1);
	}
}

/* Pointers to and fro cost a read each, but never more bytes than the bound on jumps allows. */
static size_t read_bytes;

static ssize_t counting(struct source *s, void *p, size_t n, uint64_t at)
{
	if (at >= s->mem.n)
		return 0;
	if (n > s->mem.n - at)
		n = s->mem.n - at;
	memcpy(p, s->mem.p + at, n);
	read_bytes += n;
	return (ssize_t)n;
}

static void far_jumps(void **state)
{
	struct source src;
	struct err e = { 0 };
	size_t low, high = 280000;

	(void)state;
	begin(SLICE("a@x.org"));
	low = file.n;
	while (file.n < high + 17)
		(void)rec('K', SLICE("               "));
	for (; low + 17 < high; low += 34, high -= 34) {
		point(low, high);
		point(high, low + 34);
	}
	finish(1);
	src = source_mem(bytes());
	src.read = counting;
	walk_init(&w);
	(void)spool_postfix.walk(&set, &src, &w, &e);
	assert_true(read_bytes > 10 * file.n); /* it did jump */
	assert_true(read_bytes < file.n / 17 * 2 * 4096);
}

static ssize_t failing(struct source *s, void *p, size_t n, uint64_t at)
{
	(void)s;
	(void)p;
	(void)n;
	(void)at;
	errno = EIO;
	return -1;
}

static void read_errors(void **state)
{
	struct source src = { .read = failing, .size = 1000 };
	struct card c;
	struct err e = { 0 };

	(void)state;
	card_init(&c, CARD_NEW);
	walk_init(&w);
	assert_int_equal(spool_postfix.envelope(&set, &src, &c, &e), -1);
	assert_int_equal(e.kind, ERR_AGAIN);
	assert_int_equal(spool_postfix.walk(&set, &src, &w, &e), -1);
	assert_int_equal(e.kind, ERR_AGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(real_envelopes), cmocka_unit_test(real_walks),
		cmocka_unit_test(real_content),   cmocka_unit_test(identify_rows),
		cmocka_unit_test(fresh_rows),     cmocka_unit_test(attributes),
		cmocka_unit_test(warning_rows),   cmocka_unit_test(local_rows),
		cmocka_unit_test(client_is_not_local), cmocka_unit_test(broken_files),
		cmocka_unit_test(content_loop),   cmocka_unit_test(claimed_recipients),
		cmocka_unit_test(long_texts),     cmocka_unit_test(too_many_attributes),
		cmocka_unit_test(read_errors),    cmocka_unit_test(padding),
		cmocka_unit_test(shrunk_file),    cmocka_unit_test(far_jumps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
