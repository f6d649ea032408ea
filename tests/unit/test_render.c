/* What is printed: readable where the row is harmless, harmless where it is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/own.h"
#include "quarantine/render.h"

struct page {
	struct render r;
	char *text;
	size_t n;
};

static void open_page(struct page *p, enum render_kind kind)
{
	*p = (struct page){ .r = { .kind = kind, .width = 80 } };
	p->r.out = open_memstream(&p->text, &p->n);
	assert_non_null(p->r.out);
}

static void close_page(struct page *p)
{
	render_end(&p->r);
	assert_int_equal(fclose(p->r.out), 0);
}

/* No control byte but LF, no C1 character, and UTF-8 throughout. */
static bool harmless(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i], next = i + 1 < n ? (unsigned char)text[i + 1] : 0;
		if ((c < 0x20 && c != '\n') || c == 0x7f)
			return false;
		if (c == 0xc2 && next < 0xa0)
			return false;
		if (c >= 0x80 && c < 0xc0 && (i == 0 || (unsigned char)text[i - 1] < 0x80))
			return false;
		if (c >= 0xc0 && (next < 0x80 || next >= 0xc0))
			return false;
	}
	return true;
}

static json_t *raw(const char *p, size_t n)
{
	return json_stringn_nocheck(p, n);
}

static void sizes(void **state)
{
	static const struct { int64_t bytes; const char *text;
	} rows[] = {
		{ 0, "0" },         { 1023, "1023" },      { 1024, "1.0K" },      { 2355, "2.3K" },
		{ 10240, "10.0K" }, { 1048575, "1.0M" },   { 12897484, "12.3M" }, { 1073741824, "1.0G" },
		{ 102400, "100K" }, { INT64_MAX, "8.0E" }, { -5, "-5" },
	};
	char out[RENDER_NUMBER];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		render_size(out, rows[i].bytes);
		assert_string_equal(out, rows[i].text);
	}
}

static void counts(void **state)
{
	static const struct { int64_t n; const char *text, *span; } rows[] = {
		{ 0, "0", "0" }, { 999, "999", "16m39s" }, { 1940, "1,940", "32m20s" }, { 3600, "3,600", "1h" },
		{ 1234567, "1,234,567", "14d6h56m7s" }, { -1234, "-1,234", "0" },
		{ INT64_MIN, "-9,223,372,036,854,775,808", "0" },
	};
	char out[RENDER_NUMBER];

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		render_count(out, rows[i].n);
		assert_string_equal(out, rows[i].text);
		render_span(out, rows[i].n);
		assert_string_equal(out, rows[i].span);
	}
	render_span(out, INT64_MAX);
	assert_int_equal(out[0], '1');
}

static const struct { const char *what, *in; size_t n; const char *out; } strings[] = {
	{ "plain", "abc", 3, "{\"s\":\"abc\"}\n" },
	{ "quote, backslash", "a\"\\b", 4, "{\"s\":\"a\\\"\\\\b\"}\n" },
	{ "newline, escape", "a\n\033[31m", 7, "{\"s\":\"a\\u000a\\u001b[31m\"}\n" },
	{ "NUL", "a\0b", 3, "{\"s\":\"a\\u0000b\"}\n" },
	{ "DEL", "\x7f", 1, "{\"s\":\"\\u007f\"}\n" },
	{ "C1 CSI", "\xc2\x9b", 2, "{\"s\":\"\\u009b\"}\n" },
	{ "umlaut stays", "\xc3\xbc", 2, "{\"s\":\"\xc3\xbc\"}\n" },
	{ "not UTF-8", "a\xff\xfe", 3, "{\"s\":\"a\\ufffd\\ufffd\"}\n" },
	{ "cut UTF-8", "\xc3", 1, "{\"s\":\"\\ufffd\"}\n" },
	{ "overlong", "\xc0\xaf", 2, "{\"s\":\"\\ufffd\\ufffd\"}\n" },
	{ "surrogate", "\xed\xa0\x80", 3, "{\"s\":\"\\ufffd\\ufffd\\ufffd\"}\n" },
	{ "right to left", "\xe2\x80\xae", 3, "{\"s\":\"\\u202e\"}\n" },
	{ "tag character", "\xf3\xa0\x81\x81", 4, "{\"s\":\"\\udb40\\udc41\"}\n" },
};

static void json_strings(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
		struct page p;
		print_message("  %s\n", strings[i].what);
		open_page(&p, RENDER_PLAIN);
		json_t *row = json_object();
		(void)json_object_set_new(row, "s", raw(strings[i].in, strings[i].n));
		render_json(p.r.out, row, RENDER_PLAIN);
		close_page(&p);
		assert_string_equal(p.text, strings[i].out);
		/* and a program reads back what was meant */
		json_t *back = json_loadb(p.text, p.n, JSON_ALLOW_NUL, NULL);
		assert_non_null(back);
		json_decref(back);
		json_decref(row);
		free(p.text);
	}
}

static void json_times(void **state)
{
	struct page p;
	json_t *row = json_pack("{s:s, s:i, s:i, s:n}", "id", "m1", "arrived", 1000000000, "taken", 0, "sha256");
	json_t *incident = json_pack("{s:i, s:i, s:[{s:i, s:s}]}", "since", 1000000000, "taken", 5, "timeline", "time",
				     1000000000, "what", "opened");

	(void)state;
	open_page(&p, RENDER_PLAIN);
	render_json(p.r.out, row, RENDER_MESSAGE);
	render_json(p.r.out, incident, RENDER_INCIDENT);
	close_page(&p);
	assert_string_equal(p.text,
			    "{\"id\":\"m1\",\"arrived\":\"2001-09-09T01:46:40+00:00\",\"taken\":null,\"sha256\":null}\n"
			    "{\"since\":\"2001-09-09T01:46:40+00:00\",\"taken\":5,"
			    "\"timeline\":[{\"time\":\"2001-09-09T01:46:40+00:00\",\"what\":\"opened\"}]}\n");
	json_decref(row);
	json_decref(incident);
	free(p.text);
}

static void text_lines(void **state)
{
	static const struct { const char *in, *out;
	} rows[] = {
		{ "", "" },
		{ "a\r\nb", "a\nb\n" },
		{ "a\tb\n", "a    b\n" },
		{ "\033[2Jx\n", "\\x1b[2Jx\n" },
		{ "\r\r\n", "\\x0d\n" },
		{ "\t\t\n", "        \n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct page p;
		open_page(&p, RENDER_PLAIN);
		render_text(p.r.out, slice_str(rows[i].in));
		close_page(&p);
		assert_string_equal(p.text, rows[i].out);
		free(p.text);
	}
}

static json_t *sample(void)
{
	return json_pack("{s:s, s:i, s:i, s:i, s:s, s:s, s:[s,s,s,s], s:s, s:s}", "id", "m12", "arrived", 1000000000,
			 "size", 2355, "recipient_count", 4, "origin", "login:joe.with.a.long.name@example.com",
			 "sender", "joe@example.com", "recipients", "a@x", "b@x", "c@x", "d@x", "state", "held",
			 "subject", "Dear friend, you have won, and this goes on and on and on and on");
}

static void table(void **state)
{
	struct page p;
	json_t *row = sample();
	struct slice rest, line;

	(void)state;
	open_page(&p, RENDER_MESSAGE);
	p.r.terminal = true;
	for (int i = 0; i < 40; i++) /* more than wait for the widths */
		render_row(&p.r, row);
	close_page(&p);
	rest = (struct slice){ p.text, p.n };
	for (int i = 0; i < 41; i++) {
		assert_true(slice_line(&rest, &line));
		assert_in_range(line.n, 30, 80);
		assert_int_not_equal(line.p[line.n - 1], ' ');
	}
	assert_int_equal(rest.n, 0);
	assert_non_null(strstr(p.text, "2.3K"));
	assert_non_null(strstr(p.text, "login:joe.wi"));
	assert_null(strstr(p.text, "@example.com"));
	free(p.text);

	open_page(&p, RENDER_MESSAGE); /* no terminal: nothing is cut */
	render_row(&p.r, row);
	close_page(&p);
	assert_non_null(strstr(p.text, "login:joe.with.a.long.name@example.com"));
	assert_non_null(strstr(p.text, "a@x, b@x, c@x, d@x"));
	assert_non_null(strstr(p.text, "on and on\n"));
	free(p.text);
	json_decref(row);
}

static void nothing(void **state)
{
	struct page p;

	(void)state;
	open_page(&p, RENDER_MESSAGE);
	close_page(&p);
	assert_int_equal(p.n, 0);
	free(p.text);
}

static void pages(void **state)
{
	struct page p;
	json_t *incident =
		json_pack("{s:i, s:s, s:s, s:i, s:i, s:i, s:[{s:s, s:i}], s:s}", "id", 7, "state", "quarantined",
			  "rule", "hourly", "limit", 300, "per", 3600, "since", 1000000000, "subjects", "subject",
			  "Cheap \033[31mpills", "count", 290, "next", "spoolward release --incident 7");
	json_t *status = json_pack("{s:b, s:s, s:s, s:i, s:[{s:s,s:s,s:i}], s:[s]}", "running", 1, "mode", "enforce",
				   "version", "0.1.0", "blind_since", 1000000000, "spools", "name", "main", "format",
				   "postfix", "queued", 12, "problems", "disk \033full");

	(void)state;
	open_page(&p, RENDER_INCIDENT);
	p.r.page = true;
	render_row(&p.r, incident);
	close_page(&p);
	assert_non_null(strstr(p.text, "incident 7: quarantined\n"));
	assert_non_null(strstr(p.text, "rule hourly, limit 300 in 1h\n"));
	assert_non_null(strstr(p.text, "     290  Cheap \\x1b[31mpills\n"));
	assert_non_null(strstr(p.text, "next: spoolward release --incident 7\n"));
	free(p.text);
	open_page(&p, RENDER_STATUS);
	render_row(&p.r, status);
	close_page(&p);
	assert_non_null(strstr(p.text, "spoolward 0.1.0: running, mode enforce\n"));
	assert_non_null(strstr(p.text, "problem: blind since 2001-09-09T01:46:40+00:00\n"));
	assert_non_null(strstr(p.text, "problem: disk \\x1bfull\n"));
	free(p.text);
	json_decref(incident);
	json_decref(status);
}

static void bold_only(void **state)
{
	struct page p;
	json_t *row = sample();

	(void)state;
	open_page(&p, RENDER_MESSAGE);
	p.r.bold = true;
	render_row(&p.r, row);
	close_page(&p);
	assert_int_equal(strncmp(p.text, "\033[1mID", 6), 0);
	free(p.text);
	json_decref(row);
}

static void progress(void **state)
{
	struct page p;
	json_t *row = json_pack("{s:i, s:i, s:s}", "done", 1200, "total", 2400, "what", "released\033");

	(void)state;
	open_page(&p, RENDER_PLAIN);
	render_progress(p.r.out, row, true);
	render_progress(p.r.out, row, false);
	close_page(&p);
	assert_string_equal(p.text, "\rreleased\\x1b [###############...............] 1,200 of 2,400 "
				    "released\\x1b 1,200 of 2,400\n");
	free(p.text);
	json_decref(row);
}

/* ---- ten thousand hostile rows ---- */

static uint64_t seed;

static uint32_t dice(uint32_t sides)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(seed >> 33) % sides;
}

static json_t *hostile_string(void)
{
	static const char *const bits[] = {
		"\033[31m",
		"\033]0;x\007",
		"\r",
		"\n",
		"\xc2\x9b",
		"\xe2\x80\xae",
		"\xff",
		"\xc3",
		"\xed\xa0\x80",
		"\xf4\x90\x80\x80",
		"\x7f",
		"\\",
		"\"",
		"\t",
		"\xcc\x81\xcc\x81\xcc\x81",
		"\xe4\xb8\xad",
		"abc",
		"@example.com",
		"\xf0\x9f\x98\x80",
		"\x08\x08",
	};
	char s[600];
	size_t n = 0, parts = dice(30);

	for (size_t i = 0; i < parts; i++) {
		const char *bit = bits[dice(sizeof bits / sizeof *bits)];
		size_t k = strlen(bit);
		if (dice(8) == 0) {
			s[n++] = (char)dice(256);
		} else if (n + k < sizeof s) {
			memcpy(s + n, bit, k);
			n += k;
		}
	}
	return raw(s, n);
}

static json_t *hostile_value(unsigned depth)
{
	json_t *v;

	switch (dice(depth < 4 ? 12 : 8)) {
	case 0: return json_integer((json_int_t)(((uint64_t)dice(UINT32_MAX) << 33) ^ dice(UINT32_MAX)));
	case 1: return json_integer(dice(2) ? INT64_MAX : INT64_MIN);
	case 2: return json_real(1e300 * (double)dice(9));
	case 3: return json_null();
	case 4: return json_boolean(dice(2));
	case 8:
	case 9:
		v = json_array();
		for (uint32_t i = dice(6); i > 0; i--)
			(void)json_array_append_new(v, hostile_value(depth + 1));
		return v;
	case 10:
		v = json_object();
		(void)json_object_set_new(v, "count", hostile_value(depth + 1));
		(void)json_object_set_new_nocheck(v, "x\033\xff", hostile_value(depth + 1));
		(void)json_object_set_new(v, "text", hostile_value(depth + 1));
		return v;
	default: return hostile_string();
	}
}

static json_t *hostile_row(void)
{
	static const char *const keys[] = {
		"id",          "spool",      "queue_id",
		"state",       "incident",   "origin",
		"sender",      "recipients", "recipient_count",
		"size",        "subject",    "arrived",
		"taken",       "sha256",     "login",
		"client",      "message_id", "rule",
		"mode",        "since",      "limit",
		"per",         "reason",     "next",
		"subjects",    "senders",    "clients_top",
		"timeline",    "updated",    "until",
		"by",          "time",       "who",
		"action",      "what",       "detail",
		"path",        "safe",       "problems",
		"roles",       "spools",     "version",
		"blind_since", "mail",       "fences",
	};
	json_t *row = json_object();

	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (dice(4) != 0)
			(void)json_object_set_new(row, keys[i], hostile_value(0));
	if (dice(3) == 0) {
		json_t *mail =
			json_pack("{s:[{s:o, s:o}], s:[{s:o, s:o, s:b}], s:[{s:o, s:o, s:b}], s:[o]}", "headers",
				  "name", hostile_string(), "value", hostile_string(), "parts", "type",
				  hostile_string(), "name", hostile_string(), "contradicts", 1, "texts", "text",
				  hostile_string(), "type", hostile_string(), "cut", 1, "notes", hostile_string());
		(void)json_object_set_new(row, "mail", mail);
	}
	return row;
}

static void hostile_rows(void **state)
{
	static const enum render_kind kinds[] = { RENDER_MESSAGE, RENDER_INCIDENT, RENDER_STATUS,
						  RENDER_ORIGIN,  RENDER_AUDIT,    RENDER_FINDING };

	(void)state;
	seed = 20261121;
	for (int i = 0; i < 10000; i++) {
		struct page p;
		open_page(&p, kinds[dice(sizeof kinds / sizeof *kinds)]);
		p.r.page = dice(2);
		p.r.json = dice(4) == 0;
		p.r.terminal = dice(2);
		p.r.width = dice(160) + 1;
		for (uint32_t rows = dice(4) + 1; rows > 0; rows--) {
			json_t *row = hostile_row();
			render_row(&p.r, row);
			json_decref(row);
		}
		close_page(&p);
		if (!harmless(p.text, p.n))
			fail_msg("row %d: a byte that drives a terminal came through", i);
		free(p.text);
	}
}

/* The judge itself must be able to say no. */
static void the_judge(void **state)
{
	(void)state;
	assert_true(harmless("a\xc3\xbc\n", 4));
	assert_false(harmless("\033", 1));
	assert_false(harmless("\xc2\x9b", 2));
	assert_false(harmless("\xff", 1));
	assert_false(harmless("a\x80", 2));
	assert_false(harmless("\r", 1));
}

static void huge_value(void **state)
{
	size_t n = 3u << 20;
	char *big = malloc(n);
	struct page p;

	(void)state;
	assert_non_null(big);
	memset(big, '\033', n);
	json_t *row = json_object();
	(void)json_object_set_new(row, "subject", raw(big, n));
	(void)json_object_set_new(row, "origin", raw(big, 1000));
	open_page(&p, RENDER_MESSAGE);
	render_row(&p.r, row);
	close_page(&p);
	assert_true(harmless(p.text, p.n));
	free(p.text);
	free(big);
	json_decref(row);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),      cmocka_unit_test(counts),    cmocka_unit_test(json_strings),
		cmocka_unit_test(json_times), cmocka_unit_test(text_lines), cmocka_unit_test(table),
		cmocka_unit_test(nothing),    cmocka_unit_test(pages),     cmocka_unit_test(bold_only),
		cmocka_unit_test(progress),   cmocka_unit_test(the_judge), cmocka_unit_test(hostile_rows),
		cmocka_unit_test(huge_value),
	};

	(void)setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
