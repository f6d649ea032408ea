/* Facts about header fields and addresses. Each row is fed whole and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "spool/rfc822.h"

#define S(lit) { "" lit, sizeof(lit) - 1 }
#define ROWS(a) (sizeof(a) / sizeof *(a))

struct heard {
	size_t n, fields;
	int stop_after;
	char text[70000];
};

static void hear(struct heard *h, struct slice s)
{
	if (s.n <= sizeof h->text - h->n) {
		memcpy(h->text + h->n, s.p, s.n);
		h->n += s.n;
	}
}

/* "name=body;" for each field; pieces are joined. */
static int note(void *arg, const struct field *f)
{
	struct heard *h = arg;

	if (f->first) {
		hear(h, f->name);
		hear(h, SLICE("="));
	}
	hear(h, f->body);
	if (f->last) {
		hear(h, SLICE(";"));
		h->fields++;
	}
	return h->stop_after > 0 && h->fields == (size_t)h->stop_after;
}

static void feed(struct slice in, size_t step, struct heard *out)
{
	struct headers h;

	headers_init(&h);
	out->n = out->fields = 0;
	for (size_t at = 0; at < in.n; at += step)
		(void)headers_feed(&h, (struct slice){ in.p + at, in.n - at < step ? in.n - at : step }, note, out);
	headers_end(&h, note, out);
	assert_int_equal(h.fields, out->fields);
}

static void field_rows(void **state)
{
	static const struct { const char *what; struct slice in, out; } rows[] = {
		{ "LF", S("A: b\nC: d\n\nE: f\n"), S("A= b;C= d;") },
		{ "CRLF", S("A: b\r\nC: d\r\n\r\nE: f\r\n"), S("A= b;C= d;") },
		{ "mixed", S("A: b\r\nC: d\n\r\nE: f\n"), S("A= b;C= d;") },
		{ "folded", S("A: b\n c\n\td\nE: f\n"), S("A= b c\td;E= f;") },
		{ "folded CRLF", S("A: b\r\n c\r\n"), S("A= b c;") },
		{ "no end", S("A: b"), S("A= b;") },
		{ "cut in a name", S("A: b\nSubj"), S("A= b;") },
		{ "nothing", S(""), S("") },
		{ "blank line first", S("\nA: b\n"), S("") },
		{ "no colon", S("A: b\nnonsense\nC: d\n"), S("A= b;C= d;") },
		{ "continuation of nonsense", S("nonsense\n A: b\nC: d\n"), S("C= d;") },
		{ "starts with a blank", S(" A: b\nC: d\n"), S("C= d;") },
		{ "mbox line", S("From joe Sat\nC: d\n"), S("C= d;") },
		{ "blank before the colon", S("A : b\n"), S("A= b;") },
		{ "no name", S(": b\nC: d\n"), S("C= d;") },
		{ "empty body", S("A:\nB:\r\n"), S("A=;B=;") },
		{ "NUL in a body", S("A: b\0c\n"), S("A= b\0c;") },
		{ "NUL in a name", S("A\0B: c\nD: e\n"), S("D= e;") },
		{ "lone CR in a body", S("A: b\rc\r\n"), S("A= b\rc;") },
		{ "lone CR at a line start", S("A: b\n\rX: c\nD: e\n"), S("A= b;D= e;") },
		{ "colons", S("A: b: c\n"), S("A= b: c;") },
		{ "long name",
		  S("aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhh: x\nC: d\n"),
		  S("C= d;") },
	};
	static struct heard out;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		print_message("  %s\n", rows[i].what);
		for (size_t step = 1; step < 100; step += 7) {
			feed(rows[i].in, step, &out);
			assert_int_equal(out.n, rows[i].out.n);
			assert_memory_equal(out.text, rows[i].out.p, out.n);
		}
	}
}

static void huge_field(void **state)
{
	static char in[66000];
	static struct heard out;
	static const size_t steps[] = { 1, 1000, 4096, sizeof in };

	(void)state;
	memset(in, 'x', sizeof in);
	memcpy(in, "A:", 2);
	memcpy(in + sizeof in - 6, "\r\nB:y\n", 6);
	for (size_t i = 0; i < ROWS(steps); i++) {
		feed((struct slice){ in, sizeof in }, steps[i], &out);
		assert_int_equal(out.fields, 2);
		assert_int_equal(out.n, sizeof in - 8 + 3 + 4);
		assert_memory_equal(out.text + out.n - 6, "x;B=y;", 6);
	}
}

static void endless_header(void **state)
{
	static char in[4096];
	static struct heard out;
	struct headers h;
	size_t fed = 0;

	(void)state;
	for (size_t i = 0; i + 4 <= sizeof in; i += 4)
		memcpy(in + i, "A:b\n", 4);
	out.stop_after = 0;
	headers_init(&h);
	while (headers_feed(&h, (struct slice){ in, sizeof in }, note, &out)) {
		fed += sizeof in;
		assert_true(fed <= HEADER_TOTAL_MAX);
	}
	assert_true(fed + sizeof in >= HEADER_TOTAL_MAX);
	headers_init(&h);
	out = (struct heard){ .stop_after = 2 };
	assert_false(headers_feed(&h, SLICE("A: b\nC: d\nE: f\n\n"), note, &out));
	assert_int_equal(out.fields, 2);
	headers_end(&h, note, &out);
	assert_int_equal(out.fields, 2);
}

static void note_address(void *arg, struct slice address)
{
	hear(arg, address);
	hear(arg, SLICE(";"));
}

static void address_rows(void **state)
{
	static const struct { const char *what; struct slice in; uint32_t count; struct slice out; } rows[] = {
		{ "bare", S(" joe@example.com"), 1, S("joe@example.com;") },
		{ "angle", S("Joe <joe@example.com>"), 1, S("joe@example.com;") },
		{ "two", S("a@x.org, B <b@x.org>"), 2, S("a@x.org;b@x.org;") },
		{ "comma in quotes", S("\"Last, First\" <a@x.org>, b@x.org"), 2, S("a@x.org;b@x.org;") },
		{ "escaped quote", S("\"a\\\", b\" <a@x.org>"), 1, S("a@x.org;") },
		{ "comma in a comment", S("a@x.org (one, two), b@x.org"), 2, S("a@x.org;b@x.org;") },
		{ "nested comments", S("(a (b, c) d) a@x.org"), 1, S("a@x.org;") },
		{ "group", S("team: a@x.org, b@x.org; , c@x.org"), 3, S("a@x.org;b@x.org;c@x.org;") },
		{ "empty group", S("undisclosed-recipients:;"), 0, S("") },
		{ "null", S("<>"), 0, S("") },
		{ "nothing", S("  "), 0, S("") },
		{ "commas", S(",,,"), 0, S("") },
		{ "source route", S("<@a.org,@b.org:c@x.org>"), 1, S("c@x.org;") },
		{ "text behind", S("<a@x.org> foo"), 1, S("a@x.org;") },
		{ "quoted local part", S("<\"a,b\"@x.org>"), 1, S("\"a,b\"@x.org;") },
		{ "open quote", S("\"a, b, c"), 1, S("\"a, b, c;") },
		{ "open comment", S("a@x.org (b, c"), 1, S("a@x.org;") },
		{ "open angle", S("<a@x.org"), 1, S("a@x.org;") },
		{ "NUL", S("a\0b@x.org"), 1, S("a\0b@x.org;") },
	};
	static struct heard out;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct addresses a;
		print_message("  %s\n", rows[i].what);
		out.n = 0;
		addresses_init(&a);
		for (size_t k = 0; k < rows[i].in.n; k++)
			addresses_feed(&a, (struct slice){ rows[i].in.p + k, 1 }, note_address, &out);
		addresses_end(&a, note_address, &out);
		assert_int_equal(a.count, rows[i].count);
		assert_int_equal(out.n, rows[i].out.n);
		assert_memory_equal(out.text, rows[i].out.p, out.n);
	}
}

static void long_address(void **state)
{
	static char in[5000];
	static struct heard out;
	struct addresses a;

	(void)state;
	memset(in, 'x', sizeof in);
	memcpy(in + sizeof in - 10, ",b@x.org,,", 10);
	addresses_init(&a);
	addresses_feed(&a, (struct slice){ in, sizeof in }, note_address, &out);
	addresses_end(&a, note_address, &out);
	assert_int_equal(a.count, 2);
	assert_int_equal(out.n, 8);
	assert_memory_equal(out.text, "b@x.org;", 8);
}

static void first_rows(void **state)
{
	static const struct { struct slice in; bool yes; struct slice out; } rows[] = {
		{ S("A <a@x.org>, b@x.org"), true, S("a@x.org") },
		{ S(" <> "), false, S("") },
		{ S(""), false, S("") },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		char text[ADDRESS_MAX];
		struct slice got;
		assert_int_equal(address_first(rows[i].in, text, &got), rows[i].yes);
		assert_true(slice_eq(got, rows[i].out));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(field_rows),   cmocka_unit_test(huge_field),   cmocka_unit_test(endless_header),
		cmocka_unit_test(address_rows), cmocka_unit_test(long_address), cmocka_unit_test(first_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
