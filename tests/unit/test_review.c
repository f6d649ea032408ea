/* One hostile message: what the reader says of it, in this process and behind the fence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/own.h"
#include "base/sandbox.h"
#include "quarantine/render.h"
#include "quarantine/review.h"

/* A format whose file is the message itself; some misbehave. */
static int plain_content(struct source *s, int (*put)(void *, struct slice), void *arg, struct err *e)
{
	char block[4096];

	for (uint64_t at = 0; at < s->size;) {
		ssize_t n = source_fill(s, block, sizeof block, at);
		if (n <= 0)
			return err_sys(e, "read");
		if (put(arg, (struct slice){ block, (size_t)n }) != 0)
			return -1;
		at += (uint64_t)n;
	}
	return 0;
}

static int broken_content(struct source *s, int (*put)(void *, struct slice), void *arg, struct err *e)
{
	(void)s, (void)put, (void)arg;
	return err_set(e, ERR_HOSTILE, "no");
}

static int crash_content(struct source *s, int (*put)(void *, struct slice), void *arg, struct err *e)
{
	(void)s, (void)put, (void)arg, (void)e;
	(void)signal(SIGABRT, SIG_DFL);
	abort();
}

static int escape_content(struct source *s, int (*put)(void *, struct slice), void *arg, struct err *e)
{
	(void)s, (void)put, (void)arg, (void)e;
	(void)chmod("/", 0755); /* not in the list: the filter kills */
	return 0;
}

static int open_content(struct source *s, int (*put)(void *, struct slice), void *arg, struct err *e)
{
	int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

	(void)s, (void)e;
	return put(arg, fd >= 0 ? SLICE("open") : SLICE("shut"));
}

static const struct spool_format plain = { .name = "plain", .content = plain_content };
static const struct spool_format broken = { .name = "broken", .content = broken_content };
static const struct spool_format crash = { .name = "crash", .content = crash_content };
static const struct spool_format escapes = { .name = "escapes", .content = escape_content };
static const struct spool_format opens = { .name = "opens", .content = open_content };

static int file_of(struct slice bytes)
{
	int fd = memfd_create("message", MFD_CLOEXEC);

	assert_true(fd >= 0);
	for (size_t at = 0; at < bytes.n;) {
		ssize_t n = write(fd, bytes.p + at, bytes.n - at);
		assert_true(n > 0);
		at += (size_t)n;
	}
	return fd;
}

static const char *header(const json_t *mail, const char *name)
{
	const json_t *list = json_object_get(mail, "headers");

	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(member_text(json_array_get(list, i), "name"), name) == 0)
			return member_text(json_array_get(list, i), "value");
	return NULL;
}

static const json_t *part(const json_t *mail, const char *path)
{
	const json_t *list = json_object_get(mail, "parts");

	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(member_text(json_array_get(list, i), "path"), path) == 0)
			return json_array_get(list, i);
	return NULL;
}

static const char *text(const json_t *mail, size_t i)
{
	return member_text(json_array_get(json_object_get(mail, "texts"), i), "text");
}

/* "MZ", the header of a portable executable: what a virus mail has under the name of an invoice. */
static const char invoice[] =
	"From: \"Joe\" <joe@example.com>\r\n"
	"To: ann@example.org\r\n"
	"Subject: =?UTF-8?B?UmVjaG51bmcgw7xiZXIgMTAwIOKCrA==?=\r\n"
	"MIME-Version: 1.0\r\n"
	"Content-Type: multipart/mixed; boundary=\"b1\"\r\n"
	"\r\n"
	"preamble\r\n"
	"--b1\r\n"
	"Content-Type: text/plain; charset=iso-8859-1\r\n"
	"Content-Transfer-Encoding: quoted-printable\r\n"
	"\r\n"
	"Gr=FC=DFe\r\n"
	"--b1\r\n"
	"Content-Type: application/pdf; name=\"invoice.pdf\"\r\n"
	"Content-Disposition: attachment; filename=\"invoice.pdf\"\r\n"
	"Content-Transfer-Encoding: base64\r\n"
	"\r\n"
	"TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAgAAAAA4fug4A\r\n"
	"tAnNIbgBTM0hVGhpcyBwcm9ncmFtIGNhbm5vdCBiZSBydW4gaW4gRE9TIG1vZGUuDQ0KJAAAAAAAAABQRQAATAEDAA==\r\n"
	"--b1\r\n"
	"Content-Type: application/pdf; name=\"real.pdf\"\r\n"
	"\r\n"
	"%PDF-1.4\n%stuff\n"
	"\r\n"
	"--b1\r\n"
	"Content-Type: message/rfc822\r\n"
	"\r\n"
	"Subject: inner\r\n"
	"\r\n"
	"inner text\r\n"
	"--b1--\r\n";

static void check_invoice(const json_t *mail)
{
	const json_t *pdf = part(mail, "1.2");

	assert_non_null(mail);
	assert_string_equal(header(mail, "Subject"), "Rechnung \xc3\xbc" "ber 100 \xe2\x82\xac");
	assert_string_equal(header(mail, "To"), "ann@example.org");
	assert_string_equal(text(mail, 0), "Gr\xc3\xbc\xc3\x9f" "e");
	assert_non_null(pdf);
	assert_string_equal(member_text(pdf, "name"), "invoice.pdf");
	assert_string_equal(member_text(pdf, "type"), "application/pdf");
	assert_string_equal(member_text(pdf, "disposition"), "attachment");
	assert_non_null(strstr(member_text(pdf, "real"), "exec"));
	assert_true(json_is_true(json_object_get(pdf, "contradicts")));
	assert_int_equal(member_number(pdf, "size"), 136);
	assert_string_equal(member_text(part(mail, "1.3"), "real"), "application/pdf");
	assert_true(json_is_false(json_object_get(part(mail, "1.3"), "contradicts")));
	assert_string_equal(member_text(part(mail, "1.4"), "type"), "message/rfc822");
	assert_non_null(part(mail, "1.4.1"));
	assert_string_equal(text(mail, 1), "inner text");
}

static void attachment(void **state)
{
	json_t *mail = review_bytes(slice_str(invoice));

	(void)state;
	check_invoice(mail);
	json_decref(mail);
}

static void fenced(void **state)
{
	own_fd fd = file_of(slice_str(invoice));
	struct err e = { 0 };
	json_t *mail = review_mail(fd, &plain, &e);

	(void)state;
	assert_string_equal(e.text, "");
	check_invoice(mail);
	json_decref(mail);
}

struct catch {
	char bytes[sizeof invoice + 16];
	size_t n;
};

static int catch_put(void *arg, struct slice piece)
{
	struct catch *c = arg;

	assert_true(c->n + piece.n <= sizeof c->bytes);
	memcpy(c->bytes + c->n, piece.p, piece.n);
	c->n += piece.n;
	return 0;
}

/* What the fence does cannot be seen where there is none. */
static void need_fence(void)
{
	if (sandbox_possible())
		return;
	print_message("the sandbox (this is a sanitizer build)\n");
	skip();
}

static void raw_bytes(void **state)
{
	own_fd fd = file_of(slice_str(invoice));
	struct catch c = { .n = 0 };
	struct err e;

	(void)state;
	need_fence();
	assert_int_equal(review_raw(fd, &plain, catch_put, &c, &e), 0);
	assert_int_equal(c.n, sizeof invoice - 1);
	assert_memory_equal(c.bytes, invoice, c.n);
	c.n = 0;
	assert_int_equal(review_raw(fd, &opens, catch_put, &c, &e), 0);
	assert_true(slice_eq((struct slice){ c.bytes, c.n }, SLICE("shut")));
}

static const struct { const struct spool_format *format; const char *says; } bad_ends[] = {
	{ &broken, "not whole or not of its format" },
	{ &crash, "broke its reader" },
	{ &escapes, "tried what it must not" },
};

static void child_dies(void **state)
{
	own_fd fd = file_of(SLICE("Subject: x\n\ny\n"));

	(void)state;
	need_fence();
	for (size_t i = 0; i < sizeof bad_ends / sizeof *bad_ends; i++) {
		struct catch c = { .n = 0 };
		struct err e = { 0 };
		print_message("  %s\n", bad_ends[i].format->name);
		assert_null(review_mail(fd, bad_ends[i].format, &e));
		assert_non_null(strstr(e.text, bad_ends[i].says));
		assert_non_null(strstr(e.text, "use --raw"));
		assert_int_equal(review_raw(fd, bad_ends[i].format, catch_put, &c, &e), -1);
	}
}

static void not_a_file(void **state)
{
	own_fd fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct err e;

	(void)state;
	assert_null(review_mail(fd, &plain, &e));
	assert_int_equal(e.kind, ERR_HOSTILE);
}

static void plain_texts(void **state)
{
	static const struct { const char *what; struct slice mail; const char *text;
	} rows[] = {
		{ "no headers", SLICE("\n\nhello"), NULL },
		{ "no content type", SLICE("Subject: x\n\nhello\n"), "hello\n" },
		{ "not UTF-8",
		  SLICE("Content-Type: text/plain; charset=utf-8\n\na\xff"
			"b"),
		  "a\xef\xbf\xbd"
		  "b" },
		{ "windows-1252", SLICE("Content-Type: text/plain; charset=windows-1252\n\n\x80"), "\xe2\x82\xac" },
		{ "iso-2022-jp", SLICE("Content-Type: text/plain; charset=iso-2022-jp\n\n\033$B$\"\033(B"),
		  "\xe3\x81\x82" },
		{ "broken shift_jis", SLICE("Content-Type: text/plain; charset=shift_jis\n\nab\x81"),
		  "ab\xef\xbf\xbd" },
		{ "a charset that is a path", SLICE("Content-Type: text/plain; charset=\"../../x\"\n\nabc"), "abc" },
		{ "only HTML", SLICE("Content-Type: text/html\n\n<b>x</b>"), "<b>x</b>" },
		{ "no bytes", SLICE(""), NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		print_message("  %s\n", rows[i].what);
		json_t *mail = review_bytes(rows[i].mail);
		if (rows[i].text != NULL)
			assert_string_equal(text(mail, 0), rows[i].text);
		json_decref(mail);
	}
}

/* Whatever it is, it ends, and what comes of it is harmless when printed. */
static void survive(const char *what, struct slice bytes, bool fence)
{
	own_mem char *out = NULL;
	size_t n = 0;
	struct err e;

	print_message("  %s\n", what);
	own_fd fd = fence ? file_of(bytes) : -1;
	json_t *mail = fence ? review_mail(fd, &plain, &e) : review_bytes(bytes);
	if (mail == NULL)
		return;
	struct render r = { .out = open_memstream(&out, &n), .width = 80 };
	render_mail(&r, mail);
	assert_int_equal(fclose(r.out), 0);
	for (size_t i = 0; i < n; i++)
		assert_true(((unsigned char)out[i] >= 0x20 || out[i] == '\n') && out[i] != 0x7f);
	json_decref(mail);
}

static void nested(void **state)
{
	own_mem char *bytes = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&bytes, &n);

	(void)state;
	for (int i = 0; i < 200; i++)
		(void)fprintf(f, "Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i);
	(void)fputs("\ndeep\n", f);
	assert_int_equal(fclose(f), 0);
	json_t *mail = review_bytes((struct slice){ bytes, n });
	assert_non_null(mail);
	assert_in_range(json_array_size(json_object_get(mail, "parts")), 2, REVIEW_LEVELS);
	assert_non_null(strstr(
		member_text(mail, "notes") ? json_string_value(json_array_get(json_object_get(mail, "notes"), 0)) : "",
		"nested deeper"));
	json_decref(mail);
	survive("200 levels, fenced", (struct slice){ bytes, n }, true);
}

static void many_parts(void **state)
{
	own_mem char *bytes = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&bytes, &n);

	(void)state;
	(void)fputs("Content-Type: multipart/mixed; boundary=b\n\n", f);
	for (int i = 0; i < 5000; i++)
		(void)fputs("--b\n\nx\n", f);
	assert_int_equal(fclose(f), 0);
	json_t *mail = review_bytes((struct slice){ bytes, n });
	assert_int_equal(json_array_size(json_object_get(mail, "parts")), REVIEW_PARTS);
	assert_int_equal(json_array_size(json_object_get(mail, "texts")), REVIEW_TEXTS);
	json_decref(mail);
}

static void long_header(void **state)
{
	size_t n = 2u << 20;
	own_mem char *bytes = malloc(n);

	(void)state;
	assert_non_null(bytes);
	memset(bytes, 'x', n);
	memcpy(bytes, "Subject: ", 9);
	memcpy(bytes + n - 6, "\n\nbody", 6);
	json_t *mail = review_bytes((struct slice){ bytes, n });
	assert_int_equal(strlen(header(mail, "Subject")), REVIEW_VALUE);
	json_decref(mail);
	survive("a line of 2 MB, fenced", (struct slice){ bytes, n }, true);
}

/* Every beginning of a good mail, and a good mail with each byte made hostile. */
static void truncated(void **state)
{
	char bytes[sizeof invoice];

	(void)state;
	for (size_t n = 0; n < sizeof invoice; n += 7) {
		json_t *mail = review_bytes((struct slice){ invoice, n });
		json_decref(mail);
	}
	for (size_t i = 0; i < sizeof invoice - 1; i += 13) {
		memcpy(bytes, invoice, sizeof invoice);
		bytes[i] = (char)(0x80 | i);
		json_t *mail = review_bytes((struct slice){ bytes, sizeof invoice - 1 });
		json_decref(mail);
	}
	survive("half of it, fenced", (struct slice){ invoice, sizeof invoice / 2 }, true);
}

static void hostile(void **state)
{
	static const struct { const char *what; struct slice mail; } rows[] = {
		{ "8-bit header", SLICE("Subject: \xfc\xff\x1b[2J\x9b\nX: \xc2\x9b\n\n\x1b[31m\x07\x7f\n") },
		{ "encoded escape", SLICE("Subject: =?utf-8?Q?=1B]0;owned=07=0A=00?=\n\nx") },
		{ "NUL in header and body", SLICE("Subject: a\0b\n\na\0b\n") },
		{ "exotic charset in a header", SLICE("Subject: =?IBM1390?B?gYGB?= =?x-none?Q?=41?=\n\nx") },
		{ "file name with an escape", SLICE("Content-Type: image/png; name=\"a\033[2J.exe\"\n\nx") },
		{ "charset with an escape", SLICE("Content-Type: text/plain; charset=\"\033[2J\"\n\nx") },
		{ "type with an escape", SLICE("Content-Type: te\033xt/pl\x9b" "ain\n\nx") },
		{ "only a colon", SLICE(":\n\n") },
		{ "mbox line", SLICE("From x\n>From y\n\nz") },
		{ "partial", SLICE("Content-Type: message/partial; number=1; total=2; id=x\n\nx") },
		{ "delivery status", SLICE("Content-Type: message/delivery-status\n\nA: b\n\nC: d\n") },
		{ "boundary is empty", SLICE("Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\nx\n----\n") },
		{ "uuencode", SLICE("Content-Transfer-Encoding: x-uuencode\n\nbegin 644 x\n#86)C\nend\n") },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		survive(rows[i].what, rows[i].mail, false);
		survive("  fenced", rows[i].mail, true);
	}
}

/* A charset that the child did not load before the fence is a note, not a death. */
static void charset_behind_the_fence(void **state)
{
	own_fd fd = file_of(SLICE("Subject: =?IBM930?B?gYGB?=\nContent-Type: text/plain; charset=IBM930\n\nabc"));
	own_fd known = file_of(SLICE("Subject: =?KOI8-R?Q?=C1?=\nContent-Type: text/plain; charset=koi8-r\n\n\xc1"));
	struct err e = { 0 };

	(void)state;
	need_fence();
	json_t *mail = review_mail(fd, &plain, &e);
	assert_string_equal(e.text, "");
	assert_non_null(mail);
	assert_int_equal(json_array_size(json_object_get(mail, "notes")), 1);
	json_decref(mail);
	mail = review_mail(known, &plain, &e);
	assert_string_equal(text(mail, 0), "\xd0\xb0");
	assert_string_equal(header(mail, "Subject"), "\xd0\xb0");
	json_decref(mail);
}

static void large(void **state)
{
	size_t n = (size_t)REVIEW_BYTES + 100000;
	own_mem char *bytes = malloc(n);
	struct err e = { 0 };

	(void)state;
	assert_non_null(bytes);
	memset(bytes, 'x', n);
	for (size_t i = 76; i < n; i += 77)
		bytes[i] = '\n';
	memcpy(bytes, "Subject: big\n\n", 14);
	own_fd fd = file_of((struct slice){ bytes, n });
	json_t *mail = review_mail(fd, &plain, &e);
	assert_string_equal(e.text, "");
	assert_string_equal(header(mail, "Subject"), "big");
	assert_int_equal(member_number(part(mail, "1"), "size"), REVIEW_BYTES - 14);
	assert_string_equal(json_string_value(json_array_get(json_object_get(mail, "notes"), 0)),
			    "the message is larger than what is looked at");
	json_decref(mail);
}

static void marks(void **state)
{
	static const struct { const char *declared, *name, *real; bool mark;
	} rows[] = {
		{ "application/pdf", "invoice.pdf", "application/x-dosexec", true },
		{ "application/pdf", "invoice.pdf", "application/pdf", false },
		{ "application/pdf", "invoice.pdf", "text/html", true },
		{ "application/pdf", "invoice.pdf", "application/octet-stream", false },
		{ "application/octet-stream", "invoice.pdf", "application/vnd.microsoft.portable-executable", true },
		{ "application/octet-stream", "setup.exe", "application/x-dosexec", false },
		{ "application/octet-stream", "INVOICE.PDF", "application/zip", true },
		{ "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "a.docx",
		  "application/zip", false },
		{ "application/msword", "a.doc", "application/x-dosexec", true },
		{ "image/png", "a.png", "image/jpeg", false },
		{ "image/png", "a.png", "text/x-php", true },
		{ "text/plain", NULL, "text/csv", false },
		{ "text/plain", NULL, "message/rfc822", false },
		{ "text/plain", "a.txt", "application/x-ms-shortcut", true },
		{ "application/octet-stream", "run.sh", "text/x-shellscript", false },
		{ "application/javascript", "a.js", "text/plain", false },
		{ NULL, NULL, NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		print_message("  %s %s %s\n", rows[i].declared ? rows[i].declared : "-",
			      rows[i].name ? rows[i].name : "-", rows[i].real ? rows[i].real : "-");
		assert_int_equal(review_contradicts(rows[i].declared, rows[i].name, rows[i].real), rows[i].mark);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(marks),       cmocka_unit_test(attachment), cmocka_unit_test(fenced),
		cmocka_unit_test(raw_bytes),   cmocka_unit_test(child_dies), cmocka_unit_test(not_a_file),
		cmocka_unit_test(plain_texts), cmocka_unit_test(nested),     cmocka_unit_test(many_parts),
		cmocka_unit_test(long_header), cmocka_unit_test(truncated),  cmocka_unit_test(hostile),
		cmocka_unit_test(charset_behind_the_fence),                  cmocka_unit_test(large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
