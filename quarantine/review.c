#include "quarantine/review.h"

#include <errno.h>
#include <fcntl.h>
#include <gmime/gmime.h>
#include <iconv.h>
#include <magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/own.h"
#include "base/sandbox.h"

#define CPU_S 10
#define WALL_MS 30000
#define MEMORY (512u << 20)
#define ANSWER_MAX (16u << 20)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHADOWED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SHADOWED 1
#endif
#endif
#ifndef SHADOWED
#define SHADOWED 0 /* a sanitizer's shadow is larger than any limit of memory */
#endif

/* ---- declared and real types ---- */

enum family {
	FAMILY_UNKNOWN, FAMILY_TEXT, FAMILY_IMAGE, FAMILY_SOUND, FAMILY_VIDEO, FAMILY_PDF, FAMILY_OFFICE,
	FAMILY_ARCHIVE, FAMILY_PROGRAM
};

static const struct { const char *head; enum family family; } types[] = {
	{ "text/rtf", FAMILY_OFFICE }, { "text/x-msdos-batch", FAMILY_PROGRAM },
	{ "text/x-shellscript", FAMILY_PROGRAM },
	{ "text/x-php", FAMILY_PROGRAM }, { "text/x-perl", FAMILY_PROGRAM }, { "text/x-script", FAMILY_PROGRAM },
	{ "text/", FAMILY_TEXT }, { "message/", FAMILY_TEXT }, { "application/json", FAMILY_TEXT },
	{ "application/xml", FAMILY_TEXT }, { "application/javascript", FAMILY_TEXT },
	{ "application/ics", FAMILY_TEXT }, { "application/csv", FAMILY_TEXT },
	{ "image/", FAMILY_IMAGE }, { "audio/", FAMILY_SOUND }, { "video/", FAMILY_VIDEO },
	{ "application/ogg", FAMILY_SOUND }, { "application/pdf", FAMILY_PDF }, { "application/x-pdf", FAMILY_PDF },
	{ "application/msword", FAMILY_OFFICE }, { "application/rtf", FAMILY_OFFICE },
	{ "application/vnd.ms-", FAMILY_OFFICE }, { "application/vnd.openxmlformats", FAMILY_OFFICE },
	{ "application/vnd.oasis", FAMILY_OFFICE }, { "application/x-ole-storage", FAMILY_OFFICE },
	{ "application/cdfv2", FAMILY_OFFICE }, { "application/zip", FAMILY_ARCHIVE },
	{ "application/x-zip", FAMILY_ARCHIVE }, { "application/gzip", FAMILY_ARCHIVE },
	{ "application/x-gzip", FAMILY_ARCHIVE }, { "application/x-tar", FAMILY_ARCHIVE },
	{ "application/x-7z", FAMILY_ARCHIVE }, { "application/x-rar", FAMILY_ARCHIVE },
	{ "application/vnd.rar", FAMILY_ARCHIVE }, { "application/x-bzip2", FAMILY_ARCHIVE },
	{ "application/x-xz", FAMILY_ARCHIVE }, { "application/zstd", FAMILY_ARCHIVE },
	{ "application/x-iso9660", FAMILY_ARCHIVE }, { "application/java-archive", FAMILY_PROGRAM },
	{ "application/x-dosexec", FAMILY_PROGRAM }, { "application/x-msdownload", FAMILY_PROGRAM },
	{ "application/vnd.microsoft.portable-executable", FAMILY_PROGRAM },
	{ "application/x-executable", FAMILY_PROGRAM },
	{ "application/x-sharedlib", FAMILY_PROGRAM }, { "application/x-pie-executable", FAMILY_PROGRAM },
	{ "application/x-mach-binary", FAMILY_PROGRAM }, { "application/x-ms-shortcut", FAMILY_PROGRAM },
	{ "application/x-msi", FAMILY_PROGRAM }, { "application/x-java-applet", FAMILY_PROGRAM },
};

static const struct { const char *names; enum family family; } endings[] = {
	{ " txt csv htm html xml ics vcf log eml ", FAMILY_TEXT },
	{ " jpg jpeg png gif bmp tif tiff webp svg heic ", FAMILY_IMAGE },
	{ " mp3 wav ogg m4a flac ", FAMILY_SOUND }, { " mp4 avi mov mkv webm mpg mpeg ", FAMILY_VIDEO },
	{ " pdf ", FAMILY_PDF }, { " doc docx xls xlsx ppt pptx rtf odt ods odp ", FAMILY_OFFICE },
	{ " zip gz tgz tar 7z rar bz2 xz iso ", FAMILY_ARCHIVE },
	{ " exe scr com dll pif lnk msi bat cmd ps1 js jar vbs ", FAMILY_PROGRAM },
};

static enum family type_family(const char *type)
{
	for (size_t i = 0; type != NULL && i < sizeof types / sizeof *types; i++)
		if (slice_istarts(slice_str(type), slice_str(types[i].head)))
			return types[i].family;
	return FAMILY_UNKNOWN;
}

static enum family name_family(const char *name)
{
	const char *dot = name ? strrchr(name, '.') : NULL;
	char word[12];

	if (dot == NULL || strlen(dot) > 8 || strchr(dot, ' ') != NULL)
		return FAMILY_UNKNOWN;
	(void)snprintf(word, sizeof word, " %s ", dot + 1);
	for (char *c = word; *c != '\0'; c++)
		*c = ascii_lower(*c);
	for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
		if (strstr(endings[i].names, word) != NULL)
			return endings[i].family;
	return FAMILY_UNKNOWN;
}

static bool denies(enum family claimed, enum family real)
{
	if (claimed == FAMILY_UNKNOWN || real == FAMILY_UNKNOWN || claimed == real)
		return false;
	/* a modern office file is a zip; a program may be a script, which is text */
	return !(claimed == FAMILY_OFFICE && real == FAMILY_ARCHIVE) &&
	       !(claimed == FAMILY_PROGRAM && real == FAMILY_TEXT) &&
	       !(claimed == FAMILY_PROGRAM && real == FAMILY_ARCHIVE) &&
	       !(claimed == FAMILY_SOUND && real == FAMILY_VIDEO) && !(claimed == FAMILY_VIDEO && real == FAMILY_SOUND);
}

bool review_contradicts(const char *declared, const char *name, const char *real)
{
	enum family is = type_family(real);

	return denies(type_family(declared), is) || denies(name_family(name), is);
}

/* ---- text into JSON ---- */

static size_t utf8_length(const char *p, size_t n)
{
	const char *end;

	for (size_t k = 1; k <= 4 && k <= n; k++)
		if (g_utf8_validate_len(p, k, &end))
			return k;
	return n > 0 && p[0] == '\0' ? 1 : 0;
}

/* Whole characters only, at most max bytes; what is none becomes U+FFFD. */
static json_t *text_json(const char *p, size_t n, size_t max)
{
	static const char bad[] = "\xef\xbf\xbd";
	char *out = malloc(max + 4);
	size_t used = 0;
	json_t *v;

	while (out != NULL && n > 0) {
		size_t k = utf8_length(p, n), put = k ? k : 3;
		if (used + put > max)
			break;
		memcpy(out + used, k ? p : bad, put);
		used += put;
		p += k ? k : 1;
		n -= k ? k : 1;
	}
	v = json_stringn(out ? out : "", used);
	free(out);
	return v;
}

static json_t *string_json(const char *s, size_t max)
{
	return text_json(s ? s : "", s ? strlen(s) : 0, max);
}

/* ---- charsets ---- */

/* The child cannot open a converter any more: these are in memory before the fence closes. */
static const char *const charsets[] = {
	"ISO-8859-1",   "ISO-8859-2",   "ISO-8859-5",   "ISO-8859-7",   "ISO-8859-9",   "ISO-8859-15",  "WINDOWS-1250",
	"WINDOWS-1251", "WINDOWS-1252", "WINDOWS-1253", "WINDOWS-1254", "WINDOWS-1255", "WINDOWS-1256", "WINDOWS-1257",
	"KOI8-R",       "KOI8-U",       "GB2312",       "GBK",          "GB18030",      "BIG5",         "EUC-JP",
	"SHIFT_JIS",    "ISO-2022-JP",  "EUC-KR",       "UTF-7",        "US-ASCII",     "UTF-16",
};

static void charsets_load(void)
{
	for (size_t i = 0; i < sizeof charsets / sizeof *charsets; i++) {
		(void)iconv_open("UTF-8", charsets[i]); /* kept open: glibc unloads what nobody uses */
		(void)iconv_open(charsets[i], "UTF-8");
	}
}

/* No "//TRANSLIT", no path: a charset's name picks a file in glibc. */
static bool charset_ok(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n < 40 &&
	       strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:") == n;
}

/* To UTF-8 as far as it goes; out has room for 4 bytes each. false: this charset is not to be had. */
static bool convert(const char *charset, const char *in, size_t n, char *out, size_t cap, size_t *used)
{
	iconv_t cd = charset_ok(charset) ? iconv_open("UTF-8", charset) : (iconv_t)-1;
	char *from = (char *)(uintptr_t)in, *to = out;
	size_t room = cap;

	if (cd == (iconv_t)-1)
		return false;
	while (n > 0 && room > 4) {
		if (iconv(cd, &from, &n, &to, &room) != (size_t)-1 || errno == E2BIG)
			break;
		memcpy(to, "\xef\xbf\xbd", 3);
		to += 3;
		room -= 3;
		from++;
		n--;
	}
	(void)iconv_close(cd);
	*used = cap - room;
	return true;
}

/* ---- the parts ---- */

struct look {
	magic_t magic;
	json_t *parts, *texts, *notes;
	bool html;      /* second round: no plain text was there */
	bool cut_parts, cut_levels;
	char head[REVIEW_HEAD];
	char wide[REVIEW_HEAD * 4];
};

static void note(json_t *notes, const char *text)
{
	(void)json_array_append_new(notes, json_string(text));
}

static const char *part_name(GMimeObject *part)
{
	const char *name = g_mime_object_get_content_disposition_parameter(part, "filename");

	return name ? name : g_mime_object_get_content_type_parameter(part, "name");
}

/* Decoded: the first bytes to look->head, their number to *head; the whole size is returned. */
static int64_t part_bytes(struct look *look, GMimePart *part, size_t *head)
{
	GMimeDataWrapper *content = g_mime_part_get_content(part);
	GMimeStream *stream, *plain;
	GMimeFilter *filter;
	char block[16384];
	int64_t total = 0;
	ssize_t got;

	*head = 0;
	if (content == NULL)
		return 0;
	stream = g_mime_data_wrapper_get_stream(content);
	(void)g_mime_stream_reset(stream);
	plain = g_mime_stream_filter_new(stream);
	filter = g_mime_filter_basic_new(g_mime_data_wrapper_get_encoding(content), FALSE);
	(void)g_mime_stream_filter_add((GMimeStreamFilter *)plain, filter);
	g_object_unref(filter);
	while ((got = g_mime_stream_read(plain, block, sizeof block)) > 0) {
		size_t room = sizeof look->head - *head, take = (size_t)got < room ? (size_t)got : room;
		memcpy(look->head + *head, block, take);
		*head += take;
		total += got;
	}
	g_object_unref(plain);
	return total;
}

static void look_text(struct look *look, GMimeObject *part, const char *path, size_t head, bool cut)
{
	const char *charset = g_mime_object_get_content_type_parameter(part, "charset");
	const char *text = look->head;
	json_t *row;
	size_t n = head;

	if (json_array_size(look->texts) >= REVIEW_TEXTS)
		return;
	if (charset != NULL && !slice_ieq(slice_str(charset), SLICE("utf-8"))) {
		if (convert(charset, look->head, head, look->wide, sizeof look->wide, &n))
			text = look->wide;
		else
			note(look->notes, "a text is in a character set that cannot be shown");
	}
	row = json_pack("{s:s, s:s, s:o, s:o}", "path", path, "type", look->html ? "text/html" : "text/plain",
			"charset", string_json(charset, 40), "text", text_json(text, n, REVIEW_HEAD));
	(void)json_object_set_new(row, "cut", json_boolean(cut || n > REVIEW_HEAD));
	(void)json_array_append_new(look->texts, row);
}

static void look_leaf(struct look *look, GMimePart *part, json_t *row, const char *path)
{
	GMimeContentType *type = g_mime_object_get_content_type((GMimeObject *)part);
	const char *declared = json_string_value(json_object_get(row, "type"));
	const char *real = NULL;
	size_t head = 0;
	int64_t size = part_bytes(look, part, &head);

	if (!look->html) {
		if (head > 0 && look->magic != NULL)
			real = magic_buffer(look->magic, look->head, head);
		(void)json_object_set_new(row, "size", json_integer(size));
		(void)json_object_set_new(row, "real", real ? string_json(real, 127) : json_null());
		(void)json_object_set_new(
			row, "contradicts",
			json_boolean(real && review_contradicts(declared, part_name((GMimeObject *)part), real)));
	}
	if (g_mime_content_type_is_type(type, "text", look->html ? "html" : "plain"))
		look_text(look, (GMimeObject *)part, path, head, (int64_t)head < size);
}

static void look_part(struct look *look, GMimeObject *part, const char *path, unsigned level);

static void look_children(struct look *look, GMimeObject *part, const char *path, unsigned level)
{
	char below[REVIEW_LEVELS * 8];
	int n = GMIME_IS_MULTIPART(part) ? g_mime_multipart_get_count((GMimeMultipart *)part) : 1;

	if (level + 1 >= REVIEW_LEVELS) {
		look->cut_levels = true;
		return;
	}
	for (int i = 0; i < n && !look->cut_parts; i++) {
		GMimeObject *child;
		if (GMIME_IS_MULTIPART(part)) {
			child = g_mime_multipart_get_part((GMimeMultipart *)part, i);
		} else {
			GMimeMessage *inner = g_mime_message_part_get_message((GMimeMessagePart *)part);
			child = inner ? g_mime_message_get_mime_part(inner) : NULL;
		}
		(void)snprintf(below, sizeof below, "%s.%d", path, i + 1);
		if (child != NULL)
			look_part(look, child, below, level + 1);
	}
}

static void look_part(struct look *look, GMimeObject *part, const char *path, unsigned level)
{
	GMimeContentType *type = g_mime_object_get_content_type(part);
	const char *disposition = g_mime_object_get_disposition(part);
	char *declared = type ? g_mime_content_type_get_mime_type(type) : NULL;
	json_t *row;

	if (!look->html && json_array_size(look->parts) >= REVIEW_PARTS) {
		look->cut_parts = true;
		g_free(declared);
		return;
	}
	row = json_pack("{s:s, s:i, s:o, s:o, s:o}", "path", path, "level", (int)level, "type",
			string_json(declared, 127), "name", string_json(part_name(part), REVIEW_NAME), "disposition",
			string_json(disposition, 40));
	g_free(declared);
	if (GMIME_IS_PART(part))
		look_leaf(look, (GMimePart *)part, row, path);
	if (look->html)
		json_decref(row);
	else
		(void)json_array_append_new(look->parts, row);
	if (GMIME_IS_MULTIPART(part) || GMIME_IS_MESSAGE_PART(part))
		look_children(look, part, path, level);
}

/* ---- headers ---- */

static void look_headers(json_t *to, json_t *notes, GMimeObject *of)
{
	GMimeHeaderList *list = of ? g_mime_object_get_header_list(of) : NULL;
	int n = list ? g_mime_header_list_get_count(list) : 0;

	for (int i = 0; i < n; i++) {
		GMimeHeader *h = g_mime_header_list_get_header_at(list, i);
		const char *value = g_mime_header_get_value(h), *raw = g_mime_header_get_raw_value(h);
		if (json_array_size(to) >= REVIEW_HEADERS) {
			note(notes, "there are more headers than are shown");
			return;
		}
		struct slice said = slice_trim(slice_str(value)), was = slice_trim(slice_str(raw));
		json_t *row = json_pack("{s:o, s:o}", "name", string_json(g_mime_header_get_name(h), 127), "value",
					text_json(said.n ? said.p : "", said.n, REVIEW_VALUE));
		if (!slice_eq(said, was))
			(void)json_object_set_new(row, "raw", text_json(was.n ? was.p : "", was.n, REVIEW_RAW));
		(void)json_array_append_new(to, row);
	}
}

/* ---- one message ---- */

static magic_t magic_ready(void)
{
	/* No look into compressed data, no ELF notes, no guess that prose with commas is CSV. */
	magic_t m = magic_open(MAGIC_MIME_TYPE | MAGIC_NO_CHECK_COMPRESS | MAGIC_NO_CHECK_ELF | MAGIC_NO_CHECK_CSV);
	const char *path = magic_getpath(NULL, 0);

	/* An explicit path, so that neither $MAGIC nor ~/.magic has a word. */
	if (m != NULL && (path == NULL || magic_load(m, path) != 0)) {
		magic_close(m);
		m = NULL;
	}
	return m;
}

static json_t *look_at(GMimeMessage *message, magic_t magic)
{
	struct look *look = calloc(1, sizeof *look);
	GMimeObject *top = g_mime_message_get_mime_part(message);
	json_t *headers = json_array(), *out;

	if (look == NULL)
		return NULL;
	*look = (struct look){ .magic = magic, .parts = json_array(), .texts = json_array(), .notes = json_array() };
	look_headers(headers, look->notes, (GMimeObject *)message);
	look_headers(headers, look->notes, top);
	if (top != NULL)
		look_part(look, top, "1", 0);
	look->html = json_array_size(look->texts) == 0;
	if (top != NULL && look->html)
		look_part(look, top, "1", 0);
	if (magic == NULL)
		note(look->notes, "real types are not known: the database of libmagic could not be read");
	if (look->cut_parts)
		note(look->notes, "there are more parts than are shown");
	if (look->cut_levels)
		note(look->notes, "parts are nested deeper than is shown");
	out = json_pack("{s:o, s:o, s:o, s:o}", "headers", headers, "parts", look->parts, "texts", look->texts, "notes",
			look->notes);
	free(look);
	return out;
}

static json_t *parse(struct slice bytes, magic_t magic)
{
	GMimeStream *stream = g_mime_stream_mem_new();
	GByteArray *array = g_byte_array_new_take((guint8 *)(uintptr_t)bytes.p, bytes.n); /* lent: taken back below */
	GMimeParser *parser;
	GMimeMessage *message;
	json_t *out = NULL;

	g_mime_stream_mem_set_byte_array((GMimeStreamMem *)stream, array);
	parser = g_mime_parser_new_with_stream(stream);
	message = g_mime_parser_construct_message(parser, NULL);
	if (message != NULL) {
		out = look_at(message, magic);
		g_object_unref(message);
	}
	g_object_unref(parser);
	g_object_unref(stream);
	(void)g_byte_array_free(array, FALSE);
	return out;
}

json_t *review_bytes(struct slice message)
{
	magic_t magic = magic_ready();
	json_t *out;

	g_mime_init();
	out = parse(message, magic);
	if (magic != NULL)
		magic_close(magic);
	return out;
}

/* ---- the child ---- */

enum { EXIT_FENCE = 10, EXIT_CONTENT, EXIT_PARSE, EXIT_WRITE };

#define CHILD_FILE 3
#define CHILD_PIPE 4

struct heap {
	char *p;
	size_t n, cap;
	bool cut;
};

static int heap_put(void *arg, struct slice piece)
{
	struct heap *h = arg;
	size_t room = REVIEW_BYTES - h->n, take = piece.n < room ? piece.n : room;

	if (h->n + take > h->cap) {
		size_t cap = h->cap * 2 > h->n + take ? h->cap * 2 : h->n + take + 65536;
		char *p = realloc(h->p, cap);
		if (p == NULL)
			return -1;
		h->p = p;
		h->cap = cap;
	}
	if (take > 0)
		memcpy(h->p + h->n, piece.p, take);
	h->n += take;
	h->cut = h->cut || take < piece.n;
	return h->cut ? -1 : 0;
}

static int pipe_put(void *arg, struct slice piece)
{
	const int *fd = arg;

	while (piece.n > 0) {
		ssize_t n = write(*fd, piece.p, piece.n);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		piece.p += n;
		piece.n -= (size_t)n;
	}
	return 0;
}

static int child_parse(struct source *file, const struct spool_format *format, magic_t magic)
{
	struct heap heap = { 0 };
	struct err e;
	int fd = CHILD_PIPE;

	if (format->content(file, heap_put, &heap, &e) != 0 && !heap.cut)
		return EXIT_CONTENT;
	json_t *mail = parse((struct slice){ heap.p ? heap.p : "", heap.n }, magic);
	if (mail == NULL)
		return EXIT_PARSE;
	if (heap.cut)
		note(json_object_get(mail, "notes"), "the message is larger than what is looked at");
	char *text = json_dumps(mail, JSON_COMPACT);
	return text != NULL && pipe_put(&fd, slice_str(text)) == 0 ? 0 : EXIT_WRITE;
}

static bool limits(void)
{
	const struct { int what; rlim_t most;
	} rows[] = {
		{ RLIMIT_CPU, CPU_S }, { RLIMIT_FSIZE, 0 }, { RLIMIT_CORE, 0 },
		{ RLIMIT_NOFILE, 64 }, { RLIMIT_NPROC, 0 }, { RLIMIT_AS, SHADOWED ? RLIM_INFINITY : MEMORY },
	};

	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct rlimit l = { rows[i].most, rows[i].most };
		if (rows[i].most != RLIM_INFINITY && setrlimit((__rlimit_resource_t)rows[i].what, &l) != 0)
			return false;
	}
	return true;
}

/* Only the file and the pipe come along; nothing here can write to the terminal. */
static bool child_descriptors(int file, int out)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int a = fcntl(file, F_DUPFD, 10), b = fcntl(out, F_DUPFD, 10);

	for (int i = 0; i < 3; i++)
		if (null < 0 || dup2(null, i) < 0)
			return false;
	return a >= 0 && b >= 0 && dup2(a, CHILD_FILE) >= 0 && dup2(b, CHILD_PIPE) >= 0 && close_range(5, ~0u, 0) == 0;
}

static _Noreturn void child(int fd, int out, const struct spool_format *format, uint64_t size, bool raw)
{
	struct source file;
	struct err e;
	magic_t magic = NULL;
	int to = CHILD_PIPE;

	if (!child_descriptors(fd, out))
		_exit(EXIT_FENCE);
	if (!raw) {
		magic = magic_ready();
		g_mime_init();
		charsets_load();
	}
	if (!limits() || sandbox_enter(SANDBOX_REVIEW, NULL, &e) != 0)
		_exit(EXIT_FENCE);
	file = source_fd(CHILD_FILE, size);
	if (raw)
		_exit(format->content(&file, pipe_put, &to, &e) == 0 ? 0 : EXIT_CONTENT);
	_exit(child_parse(&file, format, magic));
}

/* ---- the parent ---- */

struct helper {
	pid_t pid;
	int in;
};

static int helper_start(struct helper *h, int fd, const struct spool_format *format, bool raw, struct err *e)
{
	struct stat st;
	int ends[2];

	if (fstat(fd, &st) != 0)
		return err_sys(e, "look at the file");
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_HOSTILE, "the message is no regular file");
	if (pipe2(ends, O_CLOEXEC) != 0)
		return err_sys(e, "make a pipe");
	h->pid = fork();
	if (h->pid == 0)
		child(fd, ends[1], format, (uint64_t)st.st_size, raw);
	int keep = errno;
	(void)close(ends[1]);
	h->in = ends[0];
	if (h->pid > 0)
		return 0;
	(void)close(ends[0]);
	errno = keep;
	return err_sys(e, "start the reader");
}

static const char *exit_story(int status)
{
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL ? "it takes too long"
		       : WTERMSIG(status) == SIGSYS ? "its reader tried what it must not do"
						    : "it broke its reader";
	switch (WEXITSTATUS(status)) {
	case EXIT_FENCE:
		return "the reader could not be fenced in";
	case EXIT_CONTENT:
		return "the queue file is not whole or not of its format";
	case EXIT_PARSE:
		return "it is no mail";
	default:
		return "its reader failed";
	}
}

/* Kills what still runs; what the reader's end says. */
static int helper_end(struct helper *h, bool kill_it, struct err *e)
{
	int status = 0;

	(void)close(h->in);
	if (kill_it)
		(void)kill(h->pid, SIGKILL);
	while (waitpid(h->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	return err_set(e, ERR_HOSTILE, "the message could not be read (%s); use --raw", exit_story(status));
}

/* Up to n bytes before the deadline; 0 at the end, -1 when it passed. */
static ssize_t helper_read(struct helper *h, char *p, size_t n, int64_t deadline_ms)
{
	for (;;) {
		int64_t left = deadline_ms - clock_boot_ms();
		struct pollfd want = { .fd = h->in, .events = POLLIN };
		int rc = left > 0 ? poll(&want, 1, (int)left) : 0;
		if (rc == 0)
			return -1;
		ssize_t got = rc > 0 ? read(h->in, p, n) : -1;
		if (got >= 0 || errno != EINTR)
			return got;
	}
}

int review_raw(int fd, const struct spool_format *format, int (*put)(void *arg, struct slice), void *arg, struct err *e)
{
	struct helper h;
	char block[65536];
	ssize_t got;
	int stopped = 0;

	if (helper_start(&h, fd, format, true, e) != 0)
		return -1;
	/* Time starts anew with each block: whoever reads our output may be slow. */
	while ((got = helper_read(&h, block, sizeof block, clock_boot_ms() + WALL_MS)) > 0 && stopped == 0)
		stopped = put(arg, (struct slice){ block, (size_t)got });
	int rc = helper_end(&h, stopped != 0 || got < 0, e);
	return stopped != 0 ? err_set(e, ERR_GONE, "nobody reads any more") : rc;
}

json_t *review_mail(int fd, const struct spool_format *format, struct err *e)
{
	int64_t deadline = clock_boot_ms() + WALL_MS;
	own_mem char *text = NULL;
	size_t n = 0, cap = 0;
	ssize_t got = 0;
	struct helper h;

	if (helper_start(&h, fd, format, false, e) != 0)
		return NULL;
	for (;;) {
		if (n == cap) {
			char *p = cap < ANSWER_MAX ? realloc(text, cap + (1u << 20)) : NULL;
			got = p == NULL ? -1 : 0;
			if (p == NULL)
				break;
			text = p;
			cap += 1u << 20;
		}
		got = helper_read(&h, text + n, cap - n, deadline);
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	if (helper_end(&h, got < 0, e) != 0)
		return NULL;
	json_t *mail = json_loadb(text, n, JSON_ALLOW_NUL, NULL);
	if (!json_is_object(mail)) {
		json_decref(mail);
		(void)err_set(e, ERR_HOSTILE,
			      "the message could not be read (its reader's answer makes no sense); use --raw");
		return NULL;
	}
	return mail;
}
