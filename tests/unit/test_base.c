/* Facts about base: slices, escaping, networks, errors, digests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <errno.h>

#include <cmocka.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/escape.h"
#include "base/net.h"
#include "base/slice.h"

#define S(lit) { "" lit, sizeof(lit) - 1 }
#define ROWS(a) (sizeof(a) / sizeof *(a))

static void assert_slice(struct slice got, struct slice want)
{
	assert_int_equal(got.n, want.n);
	if (want.n > 0)
		assert_memory_equal(got.p, want.p, want.n);
}

static void slice_cut_rows(void **state)
{
	static const struct { const char *what; struct slice in; bool yes; struct slice tok, rest; } rows[] = {
		{ "plain", S("a,b"), true, S("a"), S("b") },
		{ "no separator", S("ab"), false, S(""), S("ab") },
		{ "empty", S(""), false, S(""), S("") },
		{ "empty token", S(",b"), true, S(""), S("b") },
		{ "at the end", S("a,"), true, S("a"), S("") },
		{ "NUL inside", S("a\0b,c"), true, S("a\0b"), S("c") },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct slice in = rows[i].in, tok = { NULL, 0 };
		print_message("  %s\n", rows[i].what);
		assert_int_equal(slice_cut(&in, ',', &tok), rows[i].yes);
		assert_slice(in, rows[i].rest);
		assert_slice(tok, rows[i].tok);
	}
}

static void slice_line_rows(void **state)
{
	static const struct { const char *what; struct slice in; size_t lines; struct slice last; } rows[] = {
		{ "none", S(""), 0, S("") },
		{ "no line end", S("abc"), 1, S("abc") },
		{ "LF", S("a\nb\n"), 2, S("b") },
		{ "CRLF", S("a\r\nb\r\n"), 2, S("b") },
		{ "lone CR stays", S("a\rb\n"), 1, S("a\rb") },
		{ "blank lines", S("\n\r\n\n"), 3, S("") },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct slice in = rows[i].in, line = { NULL, 0 };
		size_t n = 0;
		print_message("  %s\n", rows[i].what);
		while (slice_line(&in, &line))
			n++;
		assert_int_equal(n, rows[i].lines);
		assert_slice(line, rows[i].last);
	}
}

static void slice_number_rows(void **state)
{
	static const struct { struct slice in; uint64_t max; bool yes; uint64_t value; } rows[] = {
		{ S("0"), 10, true, 0 },
		{ S("10"), 10, true, 10 },
		{ S("11"), 10, false, 0 },
		{ S("18446744073709551615"), UINT64_MAX, true, UINT64_MAX },
		{ S("18446744073709551616"), UINT64_MAX, false, 0 },
		{ S("99999999999999999999999"), UINT64_MAX, false, 0 },
		{ S(""), 10, false, 0 },
		{ S("-1"), 10, false, 0 },
		{ S("+1"), 10, false, 0 },
		{ S(" 1"), 10, false, 0 },
		{ S("1\0"), 10, false, 0 },
		{ S("0x1"), 100, false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		uint64_t v = 7777;
		print_message("  \"%s\"\n", rows[i].in.p);
		assert_int_equal(slice_u64(rows[i].in, rows[i].max, &v), rows[i].yes);
		assert_true(v == (rows[i].yes ? rows[i].value : 7777));
	}
}

static void slice_compare(void **state)
{
	struct slice s = SLICE("Subject: x"), t = SLICE(" \t a b\r\n");
	char text[4];

	(void)state;
	assert_true(slice_ieq(SLICE("FROM"), SLICE("from")));
	assert_false(slice_ieq(SLICE("FROM"), SLICE("fro")));
	assert_false(slice_ieq(SLICE("["), SLICE("{")));
	assert_true(slice_eq(SLICE(""), (struct slice){ NULL, 0 }));
	assert_false(slice_eq(SLICE("a\0b"), SLICE("a\0c")));
	assert_true(slice_drop_head(&s, SLICE("Subject:")));
	assert_false(slice_drop_head(&s, SLICE("Subject:")));
	assert_true(slice_drop_tail(&s, SLICE("x")));
	assert_slice(s, SLICE(" "));
	assert_slice(slice_trim(t), SLICE("a b"));
	assert_slice(slice_trim(SLICE(" \r\n")), SLICE(""));
	assert_int_equal(slice_text(text, sizeof text, SLICE("a\0cdef")), 3);
	assert_string_equal(text, "a?c");
}

static void escape_rows(void **state)
{
	static const struct {
		const char *what;
		struct slice in;
		enum escape_how how;
		size_t cap;
		const char *out;
	} rows[] = {
		{ "plain", S("abc"), ESCAPE_PLAIN, 99, "abc" },
		{ "escape sequence", S("\x1b[2J"), ESCAPE_PLAIN, 99, "\\x1b[2J" },
		{ "line feed", S("a\nb"), ESCAPE_PLAIN, 99, "a\\x0ab" },
		{ "NUL", S("a\0b"), ESCAPE_PLAIN, 99, "a\\x00b" },
		{ "DEL", S("\x7f"), ESCAPE_PLAIN, 99, "\\x7f" },
		{ "backslash", S("a\\x0a"), ESCAPE_PLAIN, 99, "a\\\\x0a" },
		{ "quote, plain", S("\""), ESCAPE_PLAIN, 99, "\"" },
		{ "quote, quoted", S("\""), ESCAPE_QUOTED, 99, "\\\"" },
		{ "UTF-8 passes", S("gr\xc3\xbc\xc3\x9f"), ESCAPE_PLAIN, 99, "gr\xc3\xbc\xc3\x9f" },
		{ "C1 in UTF-8", S("\xc2\x9b"), ESCAPE_PLAIN, 99, "\\xc2\\x9b" },
		{ "not UTF-8", S("\xff\xfe"), ESCAPE_PLAIN, 99, "\\xff\\xfe" },
		{ "overlong", S("\xc0\xaf"), ESCAPE_PLAIN, 99, "\\xc0\\xaf" },
		{ "surrogate", S("\xed\xa0\x80"), ESCAPE_PLAIN, 99, "\\xed\\xa0\\x80" },
		{ "cut sequence", S("\xe2\x82"), ESCAPE_PLAIN, 99, "\\xe2\\x82" },
		{ "right-to-left override", S("\xe2\x80\xae"), ESCAPE_PLAIN, 99, "\\xe2\\x80\\xae" },
		{ "zero width", S("a\xe2\x80\x8b"), ESCAPE_PLAIN, 99, "a\\xe2\\x80\\x8b" },
		{ "fits exactly", S("abcd"), ESCAPE_PLAIN, 5, "abcd" },
		{ "cut", S("abcdef"), ESCAPE_PLAIN, 5, "ab.." },
		{ "cut before an escape", S("ab\x01"), ESCAPE_PLAIN, 5, "ab.." },
		{ "no room", S("abc"), ESCAPE_PLAIN, 1, "" },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		char out[100];
		print_message("  %s\n", rows[i].what);
		size_t n = escape_text(out, rows[i].cap, rows[i].in, rows[i].how);
		assert_string_equal(out, rows[i].out);
		assert_int_equal(n, strlen(out));
	}
}

static void net_rows(void **state)
{
	static const struct { struct slice in; const char *out; bool loopback; } rows[] = {
		{ S("192.0.2.7"), "192.0.2.7", false },
		{ S("192.0.2.7/24"), "192.0.2.0/24", false },
		{ S("127.0.0.1"), "127.0.0.1", true },
		{ S("::1"), "::1", true },
		{ S("IPv6:2001:db8::1"), "2001:db8::1", false },
		{ S("[2001:db8::1]"), "2001:db8::1", false },
		{ S("2001:db8:1:2:3::/64"), "2001:db8:1:2::/64", false },
		{ S("::ffff:192.0.2.7"), "192.0.2.7", false },
		{ S("0.0.0.0/0"), "0.0.0.0/0", false },
		{ S("192.0.2.7/33"), NULL, false },
		{ S("192.0.2.7/"), NULL, false },
		{ S("[::1"), NULL, false },
		{ S("unknown"), NULL, false },
		{ S(""), NULL, false },
		{ S("192.0.2.7\0"), NULL, false },
		{ S("192.0.2"), NULL, false },
		{ S("1111111111111111111111111111111111111111111111111111111111111111111"), NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct net n;
		char text[NET_TEXT];
		print_message("  \"%s\"\n", rows[i].in.p);
		assert_int_equal(net_parse(rows[i].in, &n), rows[i].out != NULL);
		if (rows[i].out == NULL)
			continue;
		net_text(&n, text);
		assert_string_equal(text, rows[i].out);
		assert_int_equal(net_loopback(&n), rows[i].loopback);
	}
}

static void net_contains_rows(void **state)
{
	static const struct { struct slice outer, inner; bool yes; } rows[] = {
		{ S("192.0.2.0/24"), S("192.0.2.255"), true },
		{ S("192.0.2.0/24"), S("192.0.3.0"), false },
		{ S("192.0.2.0/25"), S("192.0.2.128"), false },
		{ S("192.0.2.0/24"), S("192.0.0.0/16"), false },
		{ S("0.0.0.0/0"), S("192.0.2.7"), true },
		{ S("0.0.0.0/0"), S("::1"), false },
		{ S("2001:db8::/64"), S("2001:db8::ffff"), true },
		{ S("2001:db8::/64"), S("2001:db8:0:1::"), false },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		struct net a, b;
		print_message("  %s in %s\n", rows[i].inner.p, rows[i].outer.p);
		assert_true(net_parse(rows[i].outer, &a) && net_parse(rows[i].inner, &b));
		assert_int_equal(net_contains(&a, &b), rows[i].yes);
	}
}

static void errors(void **state)
{
	struct err e;

	(void)state;
	assert_int_equal(err_set(&e, ERR_HOSTILE, "byte %d", 7), -1);
	assert_int_equal(e.kind, ERR_HOSTILE);
	assert_string_equal(e.text, "byte 7");
	assert_int_equal(err_add(&e, "file %s", "x"), -1);
	assert_string_equal(e.text, "file x: byte 7");
	assert_int_equal(e.kind, ERR_HOSTILE);
	errno = ENOSPC;
	assert_int_equal(err_sys(&e, "write"), -1);
	assert_int_equal(e.kind, ERR_AGAIN);
	assert_int_equal(e.sys, ENOSPC);
	assert_int_equal(errno, ENOSPC);
	assert_string_equal(e.text, "write: No space left on device");
	for (size_t i = 0; i < 100; i++)
		(void)err_add(&e, "a story that grows");
	assert_true(strlen(e.text) < sizeof e.text);
	assert_int_equal(err_kind_of(ENOENT), ERR_GONE);
	assert_int_equal(err_kind_of(EXDEV), ERR_CROSS);
	assert_int_equal(err_kind_of(ELOOP), ERR_HOSTILE);
}

static void digests(void **state)
{
	static const char abc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	struct sha256 h;
	unsigned char sum[SHA256_SIZE];
	char text[2 * SHA256_SIZE + 1];

	(void)state;
	sha256_init(&h);
	sha256_add(&h, SLICE("a"));
	sha256_add(&h, SLICE("bc"));
	sha256_end(&h, sum);
	hex_text(text, sum, sizeof sum);
	assert_string_equal(text, abc);
	assert_true(hash_slice(SLICE("a"), 1) == hash_slice(SLICE("a"), 1));
	assert_true(hash_slice(SLICE("a"), 1) != hash_slice(SLICE("b"), 1));
	assert_true(hash_slice(SLICE("a"), 1) != hash_slice(SLICE("a"), 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slice_cut_rows),    cmocka_unit_test(slice_line_rows),
		cmocka_unit_test(slice_number_rows),
		cmocka_unit_test(slice_compare),     cmocka_unit_test(escape_rows),     cmocka_unit_test(net_rows),
		cmocka_unit_test(net_contains_rows), cmocka_unit_test(errors),          cmocka_unit_test(digests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
