#include "quarantine/render.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/escape.h"

#define GAP 2
#define WAIT_TABLE 512   /* rows that decide about the widths */
#define WAIT_STREAM 32   /* the same where rows are many and come slowly */
#define WIDEST_PADDING 48 /* no terminal: longer values stand out instead of pushing all others */
#define CELL_MAX (1u << 20)
#define LIST_SHOWN 3
#define ITEMS_SHOWN 50
#define JSON_DEPTH 64

enum shape { SHAPE_TEXT, SHAPE_NUMBER, SHAPE_SIZE, SHAPE_TIME, SHAPE_SPAN };

struct column {
	const char *title, *key;
	enum shape shape;
	size_t flex;  /* may shrink to this; 0: never cut */
	size_t least; /* shown only on terminals as wide as that */
};

static const struct column message_columns[] = {
	{ "ID", "id", SHAPE_TEXT, 0, 0 },
	{ "ARRIVED", "arrived", SHAPE_TIME, 0, 0 },
	{ "SIZE", "size", SHAPE_SIZE, 0, 0 },
	{ "RCPT", "recipient_count", SHAPE_NUMBER, 0, 0 },
	{ "ORIGIN", "origin", SHAPE_TEXT, 14, 0 },
	{ "SENDER", "sender", SHAPE_TEXT, 14, 110 },
	{ "RECIPIENTS", "recipients", SHAPE_TEXT, 14, 140 },
	{ "STATE", "state", SHAPE_TEXT, 0, 140 },
	{ "SUBJECT", "subject", SHAPE_TEXT, 12, 0 },
	{ 0 },
};
static const struct column incident_columns[] = {
	{ "ID", "id", SHAPE_TEXT, 0, 0 },
	{ "ORIGIN", "origin", SHAPE_TEXT, 12, 0 },
	{ "RULE", "rule", SHAPE_TEXT, 6, 0 },
	{ "SINCE", "since", SHAPE_TIME, 0, 0 },
	{ "RCPT", "recipients", SHAPE_NUMBER, 0, 0 },
	{ "TAKEN", "taken", SHAPE_NUMBER, 0, 0 },
	{ "GONE", "gone", SHAPE_NUMBER, 0, 0 },
	{ "HELD", "held", SHAPE_NUMBER, 0, 100 },
	{ "MODE", "mode", SHAPE_TEXT, 0, 110 },
	{ "STATE", "state", SHAPE_TEXT, 0, 0 },
	{ 0 },
};
static const struct column origin_columns[] = {
	{ "STATE", "state", SHAPE_TEXT, 0, 0 },
	{ "ORIGIN", "origin", SHAPE_TEXT, 16, 0 },
	{ "UNTIL", "until", SHAPE_TIME, 0, 0 },
	{ "SINCE", "since", SHAPE_TIME, 0, 110 },
	{ "INCIDENT", "incident", SHAPE_TEXT, 0, 90 },
	{ "BY", "by", SHAPE_TEXT, 8, 0 },
	{ "REASON", "reason", SHAPE_TEXT, 10, 0 },
	{ 0 },
};
static const struct column audit_columns[] = {
	{ "TIME", "time", SHAPE_TIME, 0, 0 },
	{ "WHO", "who", SHAPE_TEXT, 8, 0 },
	{ "TTY", "tty", SHAPE_TEXT, 8, 110 },
	{ "ACTION", "action", SHAPE_TEXT, 8, 0 },
	{ "COUNT", "count", SHAPE_NUMBER, 0, 0 },
	{ "WHAT", "what", SHAPE_TEXT, 12, 0 },
	{ "DETAIL", "detail", SHAPE_TEXT, 10, 0 },
	{ 0 },
};
static const struct column finding_columns[] = {
	{ "ID", "id", SHAPE_TEXT, 0, 0 },
	{ "SAFE", "safe", SHAPE_TEXT, 0, 0 },
	{ "REPAIRED", "repaired", SHAPE_TEXT, 0, 0 },
	{ "WHAT", "what", SHAPE_TEXT, 20, 0 },
	{ "PATH", "path", SHAPE_TEXT, 20, 0 },
	{ 0 },
};
static const struct column spool_columns[] = {
	{ "SPOOL", "name", SHAPE_TEXT, 8, 0 },
	{ "FORMAT", "format", SHAPE_TEXT, 0, 0 },
	{ "STATE", "state", SHAPE_TEXT, 0, 0 },
	{ "QUEUED", "queued", SHAPE_NUMBER, 0, 0 },
	{ "PATH", "path", SHAPE_TEXT, 16, 0 },
	{ "DETAIL", "detail", SHAPE_TEXT, 12, 0 },
	{ 0 },
};
static const struct column part_columns[] = {
	{ "!", "mark", SHAPE_TEXT, 0, 0 },
	{ "PART", "path", SHAPE_TEXT, 0, 0 },
	{ "SIZE", "size", SHAPE_SIZE, 0, 0 },
	{ "DECLARED", "type", SHAPE_TEXT, 16, 0 },
	{ "REAL", "real", SHAPE_TEXT, 16, 0 },
	{ "NAME", "name", SHAPE_TEXT, 12, 0 },
	{ 0 },
};

/* A page is a list of these; what a row lacks is left out. */
static const struct column incident_page[] = {
	{ "origin", "origin", SHAPE_TEXT, 0, 0 },         { "mode", "mode", SHAPE_TEXT, 0, 0 },
	{ "since", "since", SHAPE_TIME, 0, 0 },           { "updated", "updated", SHAPE_TIME, 0, 0 },
	{ "recipients", "recipients", SHAPE_NUMBER, 0, 0 }, { "messages", "messages", SHAPE_NUMBER, 0, 0 },
	{ "clients", "clients", SHAPE_NUMBER, 0, 0 },     { "bytes", "bytes", SHAPE_SIZE, 0, 0 },
	{ "would take", "would_take", SHAPE_NUMBER, 0, 0 }, { "taken", "taken", SHAPE_NUMBER, 0, 0 },
	{ "gone", "gone", SHAPE_NUMBER, 0, 0 },           { "held", "held", SHAPE_NUMBER, 0, 0 },
	{ "released", "released", SHAPE_NUMBER, 0, 0 },   { "purged", "purged", SHAPE_NUMBER, 0, 0 },
	{ "reason", "reason", SHAPE_TEXT, 0, 0 },         { 0 },
};
static const struct { const char *title, *key; } incident_lists[] = {
	{ "subjects", "subjects" }, { "senders", "senders" }, { "clients", "clients_top" }, { "sizes", "sizes" },
	{ "timeline", "timeline" },
};
static const struct column message_page[] = {
	{ "spool", "spool", SHAPE_TEXT, 0, 0 },             { "queue id", "queue_id", SHAPE_TEXT, 0, 0 },
	{ "state", "state", SHAPE_TEXT, 0, 0 },             { "incident", "incident", SHAPE_TEXT, 0, 0 },
	{ "origin", "origin", SHAPE_TEXT, 0, 0 },           { "login", "login", SHAPE_TEXT, 0, 0 },
	{ "client", "client", SHAPE_TEXT, 0, 0 },           { "sender", "sender", SHAPE_TEXT, 0, 0 },
	{ "recipients", "recipients", SHAPE_TEXT, 0, 0 },   { "to deliver", "recipient_count", SHAPE_NUMBER, 0, 0 },
	{ "delivered", "done_count", SHAPE_NUMBER, 0, 0 },  { "size", "size", SHAPE_SIZE, 0, 0 },
	{ "arrived", "arrived", SHAPE_TIME, 0, 0 },         { "taken", "taken", SHAPE_TIME, 0, 0 },
	{ "message id", "message_id", SHAPE_TEXT, 0, 0 },   { "sha256", "sha256", SHAPE_TEXT, 0, 0 },
	{ 0 },
};
static const struct column status_numbers[] = {
	{ "queued", "queued", SHAPE_NUMBER, 0, 0 },         { "held", "held", SHAPE_NUMBER, 0, 0 },
	{ "open incidents", "incidents_open", SHAPE_NUMBER, 0, 0 }, { "events", "events", SHAPE_NUMBER, 0, 0 },
	{ "unseen", "unseen", SHAPE_NUMBER, 0, 0 },         { "rescans", "rescans", SHAPE_NUMBER, 0, 0 },
	{ "hostile", "hostile", SHAPE_NUMBER, 0, 0 },       { "fences", "fences", SHAPE_TEXT, 0, 0 },
	{ 0 },
};

/* Members that are unix seconds. By kind, since "taken" is a number of messages elsewhere. */
static const char *const time_keys[RENDER_KINDS][6] = {
	[RENDER_STATUS] = { "blind_since" },
	[RENDER_INCIDENT] = { "since", "updated", "time", "first", "last" },
	[RENDER_MESSAGE] = { "arrived", "taken" },
	[RENDER_ORIGIN] = { "since", "until" },
	[RENDER_AUDIT] = { "time" },
};

static bool is_time(enum render_kind kind, const char *key)
{
	for (size_t i = 0; key != NULL && i < 6 && time_keys[kind][i] != NULL; i++)
		if (strcmp(time_keys[kind][i], key) == 0)
			return true;
	return false;
}

const char *member_text(const json_t *row, const char *key)
{
	const char *s = json_string_value(json_object_get(row, key));

	return s ? s : "";
}

int64_t member_number(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

void render_size(char out[RENDER_NUMBER], int64_t bytes)
{
	static const char units[] = "KMGTPE";
	double v = (double)bytes;
	size_t unit = 0;

	if (bytes < 1024) {
		(void)snprintf(out, RENDER_NUMBER, "%" PRId64, bytes);
		return;
	}
	for (v /= 1024; v >= 1023.95 && unit + 1 < sizeof units - 1; v /= 1024)
		unit++;
	(void)snprintf(out, RENDER_NUMBER, v < 99.95 ? "%.1f%c" : "%.0f%c", v, units[unit]);
}

void render_count(char out[RENDER_NUMBER], int64_t count)
{
	char plain[RENDER_NUMBER];
	int n = snprintf(plain, sizeof plain, "%" PRId64, count);
	size_t used = 0;

	for (int i = 0; i < n; i++) {
		out[used++] = plain[i];
		if ((n - i - 1) % 3 == 0 && i + 1 < n && plain[i] != '-')
			out[used++] = ',';
	}
	out[used] = '\0';
}

void render_span(char out[RENDER_NUMBER], int64_t seconds)
{
	static const struct {
		int64_t s;
		char name;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
	size_t used = 0;

	out[used++] = '0';
	out[used] = '\0';
	for (size_t i = used = 0; seconds > 0 && i < sizeof units / sizeof *units; i++) {
		if (seconds < units[i].s)
			continue;
		int n = snprintf(out + used, RENDER_NUMBER - used, "%" PRId64 "%c", seconds / units[i].s,
				 units[i].name);
		used += n > 0 && (size_t)n < RENDER_NUMBER - used ? (size_t)n : 0;
		seconds %= units[i].s;
	}
}

/* ---- JSON for programs ---- */

/* One character, well formed: its length; else 0. Unlike escape_passes() it says which. */
static size_t character(struct slice s, uint32_t *out)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	uint32_t v = n == 1 ? c : c & (0xffu >> (n + 1));

	if (n > s.n || (c & 0xc0) == 0x80 || c > 0xf4)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)s.p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | ((unsigned char)s.p[i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v <= 0xdfff))
		return 0;
	*out = v;
	return n;
}

static void put_escape(FILE *out, uint32_t c)
{
	if (c > 0xffff)
		(void)fprintf(out, "\\u%04x\\u%04x", (unsigned)(0xd7c0 + (c >> 10)), (unsigned)(0xdc00 + (c & 0x3ff)));
	else
		(void)fprintf(out, "\\u%04x", (unsigned)c);
}

static void put_string(FILE *out, const char *p, size_t n)
{
	struct slice s = { p, n };

	(void)fputc('"', out);
	while (s.n > 0) {
		uint32_t c = 0xfffd; /* what is no character */
		size_t take = character(s, &c);
		if (take > 0 && (s.p[0] == '"' || s.p[0] == '\\'))
			(void)fprintf(out, "\\%c", s.p[0]);
		else if (take > 0 && escape_passes(s) == take)
			(void)fwrite(s.p, 1, take, out);
		else
			put_escape(out, c);
		take = take ? take : 1;
		s.p += take;
		s.n -= take;
	}
	(void)fputc('"', out);
}

static void put_json(FILE *out, const json_t *v, const char *key, enum render_kind kind, unsigned depth);

static void put_object(FILE *out, const json_t *v, enum render_kind kind, unsigned depth)
{
	const char *comma = "", *key;
	json_t *member;

	(void)fputc('{', out);
	/* the iterator wants a json_t that it could change; it does not */
	json_object_foreach((json_t *)(uintptr_t)v, key, member) {
		(void)fputs(comma, out);
		put_string(out, key, strlen(key));
		(void)fputc(':', out);
		put_json(out, member, key, kind, depth + 1);
		comma = ",";
	}
	(void)fputc('}', out);
}

static void put_time(FILE *out, int64_t when)
{
	char text[CLOCK_TEXT];

	clock_text(when, text);
	if (when == 0)
		(void)fputs("null", out);
	else
		(void)fprintf(out, "\"%s\"", text);
}

static void put_json(FILE *out, const json_t *v, const char *key, enum render_kind kind, unsigned depth)
{
	if (v == NULL || depth > JSON_DEPTH) {
		(void)fputs("null", out);
	} else if (json_is_object(v)) {
		put_object(out, v, kind, depth);
	} else if (json_is_array(v)) {
		(void)fputc('[', out);
		for (size_t i = 0; i < json_array_size(v); i++) {
			(void)fputs(i > 0 ? "," : "", out);
			put_json(out, json_array_get(v, i), key, kind, depth + 1);
		}
		(void)fputc(']', out);
	} else if (json_is_string(v)) {
		put_string(out, json_string_value(v), json_string_length(v));
	} else if (json_is_integer(v) && is_time(kind, key)) {
		put_time(out, json_integer_value(v));
	} else {
		(void)json_dumpf(v, out, JSON_ENCODE_ANY | JSON_COMPACT);
	}
}

void render_json(FILE *out, const json_t *value, enum render_kind kind)
{
	put_json(out, value, NULL, kind, 0);
	(void)fputc('\n', out);
}

/* ---- text for people ---- */

/* Grows as needed; what does not fit any more is left out. */
struct text {
	char *p;
	size_t n, cap;
};

static char *text_room(struct text *t, size_t more)
{
	if (t->n + more + 1 > t->cap) {
		size_t cap = (t->n + more + 1) * 2;
		char *p = t->n + more < CELL_MAX ? realloc(t->p, cap) : NULL;
		if (p == NULL)
			return NULL;
		t->p = p;
		t->cap = cap;
	}
	return t->p + t->n;
}

static void text_add(struct text *t, struct slice s)
{
	char *to = text_room(t, s.n * 4 + 1);

	if (to != NULL)
		t->n += escape_text(to, s.n * 4 + 1, s, ESCAPE_PLAIN);
}

static void text_trusted(struct text *t, const char *s)
{
	size_t n = strlen(s);
	char *to = text_room(t, n);

	if (to == NULL)
		return;
	memcpy(to, s, n + 1);
	t->n += n;
}

static void text_integer(struct text *t, int64_t v, enum shape shape, bool brief)
{
	char out[CLOCK_TEXT > RENDER_NUMBER ? CLOCK_TEXT : RENDER_NUMBER];

	if (shape == SHAPE_TIME && v == 0) {
		text_trusted(t, "-");
		return;
	}
	if (shape == SHAPE_TIME) {
		clock_text(v, out);
		if (brief && strlen(out) == 25) /* without the seconds it is still ISO 8601 */
			memmove(out + 16, out + 19, 7);
	} else if (shape == SHAPE_SIZE) {
		render_size(out, v);
	} else if (shape == SHAPE_SPAN) {
		render_span(out, v);
	} else {
		(void)snprintf(out, sizeof out, "%" PRId64, v);
	}
	text_trusted(t, out);
}

static void text_value(struct text *t, const json_t *v, enum shape shape, bool brief, unsigned depth)
{
	size_t n = json_array_size(v);

	if (json_is_string(v)) {
		text_add(t, (struct slice){ json_string_value(v), json_string_length(v) });
	} else if (json_is_integer(v)) {
		text_integer(t, json_integer_value(v), shape, brief);
	} else if (json_is_boolean(v)) {
		text_trusted(t, json_is_true(v) ? "yes" : "no");
	} else if (json_is_array(v) && depth < 4) {
		for (size_t i = 0; i < n; i++) {
			if (brief && i == LIST_SHOWN)
				break;
			text_trusted(t, i > 0 ? ", " : "");
			text_value(t, json_array_get(v, i), shape, brief, depth + 1);
		}
		text_trusted(t, brief && n > LIST_SHOWN ? ", .." : "");
	} else if (json_is_real(v)) {
		char out[40];
		(void)snprintf(out, sizeof out, "%.4g", json_real_value(v));
		text_trusted(t, out);
	} else if (v != NULL && !json_is_null(v)) {
		text_trusted(t, "?");
	}
}

/* The escaped value of a cell; valid until the next one. */
static const char *cell(struct text *t, const json_t *row, const struct column *c, bool brief)
{
	t->n = 0;
	text_value(t, json_object_get(row, c->key), c->shape, brief, 0);
	if (t->p == NULL)
		return "";
	t->p[t->n] = '\0';
	return t->p;
}

static bool brief(const struct render *r)
{
	return r->terminal && r->width < 100;
}

static size_t char_bytes(const char *s)
{
	size_t n = 1;

	while (((unsigned char)s[n] & 0xc0) == 0x80)
		n++;
	return n;
}

/* At most width columns, and bounded in bytes: a character of no width may come a thousandfold.
 * Returns the columns printed. */
static size_t put_cut(FILE *out, const char *text, size_t width)
{
	size_t used = 0, columns = escape_columns(text);

	if (columns <= width && strlen(text) <= width * 8 + 16) {
		(void)fputs(text, out);
		return columns;
	}
	columns = 0;
	while (text[used] != '\0') {
		char one[8] = "";
		size_t n = char_bytes(text + used);
		memcpy(one, text + used, n < sizeof one ? n : sizeof one - 1);
		size_t more = escape_columns(one);
		if (columns + more + 2 > width || used + n > width * 8)
			break;
		columns += more;
		used += n;
	}
	(void)fwrite(text, 1, used, out);
	(void)fputs("..", out);
	return columns + 2;
}

static bool right(const struct column *c)
{
	return c->shape == SHAPE_NUMBER || c->shape == SHAPE_SIZE;
}

/* Blanks are owed until something follows: no line ends in them. */
static void put_cell(const struct render *r, const struct column *c, const char *text, size_t width, size_t *owed)
{
	size_t columns = escape_columns(text), pad = columns < width ? width - columns : 0;

	if (right(c))
		*owed += pad;
	if (*text != '\0') {
		(void)fprintf(r->out, "%*s", (int)*owed, "");
		*owed = 0;
		if (r->terminal && c->flex > 0)
			columns = put_cut(r->out, text, width);
		else
			(void)fputs(text, r->out);
	}
	*owed += (right(c) || columns > width ? 0 : width - columns) + GAP;
}

static size_t columns_of(const struct column *cs)
{
	size_t n = 0;

	while (cs[n].title != NULL)
		n++;
	return n;
}

static void bold(const struct render *r, bool on)
{
	if (r->bold)
		(void)fputs(on ? "\033[1m" : "\033[0m", r->out);
}

static bool shown(const struct render *r, const struct column *c)
{
	return !r->terminal || r->width >= c->least;
}

/* Natural widths first; then the widest of those that may shrink gives way. */
static void fit(struct render *r, const struct column *cs, const json_t *rows, size_t *widths)
{
	size_t n = columns_of(cs), total = 0, cap = r->terminal ? 200 : WIDEST_PADDING;
	struct text t = { 0 };

	for (size_t i = 0; i < n; i++) {
		widths[i] = shown(r, &cs[i]) ? strlen(cs[i].title) : 0;
		for (size_t k = 0; widths[i] > 0 && k < json_array_size(rows); k++) {
			size_t w = escape_columns(cell(&t, json_array_get(rows, k), &cs[i], brief(r)));
			widths[i] = w > widths[i] ? w < cap ? w : cap : widths[i];
		}
		total += widths[i] > 0 ? widths[i] + GAP : 0;
	}
	free(t.p);
	while (r->terminal && total > r->width + GAP) {
		size_t widest = n;
		for (size_t i = 0; i < n; i++)
			if (cs[i].flex > 0 && widths[i] > cs[i].flex && (widest == n || widths[i] > widths[widest]))
				widest = i;
		if (widest == n)
			break;
		widths[widest]--;
		total--;
	}
}

static void put_line(const struct render *r, const struct column *cs, const json_t *row, const size_t *widths)
{
	struct text t = { 0 };
	size_t owed = 0;

	for (size_t i = 0; cs[i].title != NULL; i++)
		if (widths[i] > 0)
			put_cell(r, &cs[i], row ? cell(&t, row, &cs[i], brief(r)) : cs[i].title, widths[i], &owed);
	free(t.p);
	(void)fputc('\n', r->out);
}

static void put_table(struct render *r, const struct column *cs, const json_t *rows)
{
	size_t widths[RENDER_COLUMNS];

	fit(r, cs, rows, widths);
	bold(r, true);
	put_line(r, cs, NULL, widths);
	bold(r, false);
	for (size_t i = 0; i < json_array_size(rows); i++)
		put_line(r, cs, json_array_get(rows, i), widths);
}

void render_word(FILE *out, const char *text)
{
	struct text t = { 0 };

	text_add(&t, slice_str(text));
	(void)fputs(t.p ? t.p : "", out);
	free(t.p);
}

void render_text(FILE *out, struct slice bytes)
{
	struct slice line;
	struct text t = { 0 };

	while (slice_line(&bytes, &line)) {
		t.n = 0;
		while (line.n > 0) { /* in pieces: a line may be as long as the message */
			struct slice piece = { line.p, 0 };
			while (piece.n < line.n && piece.n < 4096 && line.p[piece.n] != '\t')
				piece.n++;
			while (piece.n > 4000 && piece.n < line.n && ((unsigned char)line.p[piece.n] & 0xc0) == 0x80)
				piece.n--;
			t.n = 0;
			text_add(&t, piece);
			(void)fwrite(t.p ? t.p : "", 1, t.p ? t.n : 0, out);
			line.p += piece.n;
			line.n -= piece.n;
			if (line.n > 0 && line.p[0] == '\t') {
				(void)fputs("    ", out);
				line.p++;
				line.n--;
			}
		}
		(void)fputc('\n', out);
	}
	free(t.p);
}

/* ---- pages ---- */

static void put_title(const struct render *r, const char *title)
{
	bold(r, true);
	(void)fprintf(r->out, "%s\n", title);
	bold(r, false);
}

static void put_fields(const struct render *r, const struct column *cs, const json_t *row)
{
	struct text t = { 0 };

	for (; cs->title != NULL; cs++) {
		const json_t *v = json_object_get(row, cs->key);
		if (v == NULL || json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0))
			continue;
		(void)fprintf(r->out, "  %-15s %s\n", cs->title, cell(&t, row, cs, false));
	}
	free(t.p);
}

/* One of "top subjects" and the like: its count, then whatever else it says. */
static void put_item(const struct render *r, const json_t *item)
{
	struct text t = { 0 };
	const char *key;
	json_t *v;

	if (!json_is_object(item)) {
		text_value(&t, item, SHAPE_TEXT, false, 0);
	} else {
		json_object_foreach((json_t *)(uintptr_t)item, key, v) {
			if (strcmp(key, "count") == 0)
				continue;
			text_trusted(&t, t.n > 0 ? "  " : "");
			text_value(&t, v, is_time(RENDER_INCIDENT, key) ? SHAPE_TIME : SHAPE_TEXT, false, 0);
		}
	}
	v = json_object_get(item, "count");
	if (json_is_integer(v))
		(void)fprintf(r->out, "  %8" PRId64 "  ", (int64_t)json_integer_value(v));
	else
		(void)fputs("            ", r->out);
	(void)fprintf(r->out, "%s\n", t.p && t.n ? t.p : "(empty)");
	free(t.p);
}

static void put_items(const struct render *r, const char *title, const json_t *items)
{
	size_t n = json_array_size(items);

	if (n == 0)
		return;
	put_title(r, title);
	for (size_t i = 0; i < n && i < ITEMS_SHOWN; i++)
		put_item(r, json_array_get(items, i));
	if (n > ITEMS_SHOWN)
		(void)fprintf(r->out, "            and %zu more\n", n - ITEMS_SHOWN);
}

static const char *field(struct text *t, const json_t *row, const char *key)
{
	const struct column c = { key, key, SHAPE_TEXT, 0, 0 };

	return cell(t, row, &c, false);
}

static void put_why(const struct render *r, const json_t *row, struct text *t)
{
	char per[RENDER_NUMBER];

	render_span(per, member_number(row, "per"));
	(void)fprintf(r->out, "  %-15s rule %s", "why", field(t, row, "rule"));
	if (json_object_get(row, "limit") != NULL)
		(void)fprintf(r->out, ", limit %s in %s", field(t, row, "limit"), per);
	(void)fputc('\n', r->out);
}

static void put_incident(struct render *r, const json_t *row)
{
	struct text t = { 0 };

	bold(r, true);
	(void)fprintf(r->out, "incident %s", field(&t, row, "id"));
	(void)fprintf(r->out, ": %s\n", field(&t, row, "state"));
	bold(r, false);
	put_why(r, row, &t);
	put_fields(r, incident_page, row);
	for (size_t i = 0; i < sizeof incident_lists / sizeof *incident_lists; i++)
		put_items(r, incident_lists[i].title, json_object_get(row, incident_lists[i].key));
	if (*member_text(row, "next") != '\0')
		(void)fprintf(r->out, "next: %s\n", field(&t, row, "next"));
	free(t.p);
}

static void put_roles(struct render *r, const json_t *roles, struct text *t)
{
	if (json_array_size(roles) == 0)
		return;
	(void)fprintf(r->out, "  %-15s", "roles");
	for (size_t i = 0; i < json_array_size(roles); i++) {
		const json_t *role = json_array_get(roles, i);
		(void)fprintf(r->out, "%s %s", i > 0 ? "," : "", field(t, role, "name"));
		(void)fprintf(r->out, " (pid %" PRId64, member_number(role, "pid"));
		if (member_number(role, "restarts") > 0)
			(void)fprintf(r->out, ", restarted %" PRId64 " times", member_number(role, "restarts"));
		(void)fputc(')', r->out);
	}
	(void)fputc('\n', r->out);
}

static void put_status(struct render *r, const json_t *row)
{
	const json_t *problems = json_object_get(row, "problems"), *spools = json_object_get(row, "spools");
	struct text t = { 0 };

	bold(r, true);
	(void)fprintf(r->out, "spoolward %s: ", field(&t, row, "version"));
	(void)fprintf(r->out, "%s", json_is_false(json_object_get(row, "running")) ? "not running" : "running");
	(void)fprintf(r->out, ", mode %s\n", field(&t, row, "mode"));
	bold(r, false);
	put_fields(r, status_numbers, row);
	put_roles(r, json_object_get(row, "roles"), &t);
	if (json_array_size(spools) > 0)
		put_table(r, spool_columns, spools);
	if (member_number(row, "blind_since") > 0) {
		char when[CLOCK_TEXT];
		clock_text(member_number(row, "blind_since"), when);
		(void)fprintf(r->out, "problem: blind since %s\n", when);
	}
	for (size_t i = 0; i < json_array_size(problems); i++) {
		t.n = 0;
		text_value(&t, json_array_get(problems, i), SHAPE_TEXT, false, 0);
		(void)fprintf(r->out, "problem: %s\n", t.p ? t.p : "");
	}
	free(t.p);
}

static void put_header(const struct render *r, const json_t *header, struct text *t)
{
	bold(r, true);
	(void)fprintf(r->out, "%s:", field(t, header, "name"));
	bold(r, false);
	(void)fprintf(r->out, " %s\n", field(t, header, "value"));
}

static void put_parts(struct render *r, const json_t *parts)
{
	json_t *rows = json_array();

	for (size_t i = 0; i < json_array_size(parts); i++) {
		json_t *row = json_copy(json_array_get(parts, i));
		bool mark = json_is_true(json_object_get(row, "contradicts"));
		(void)json_object_set_new(row, "mark", json_string(mark ? "!" : ""));
		(void)json_array_append_new(rows, row);
	}
	(void)fputc('\n', r->out);
	put_table(r, part_columns, rows);
	json_decref(rows);
}

void render_mail(struct render *r, const json_t *mail)
{
	const json_t *headers = json_object_get(mail, "headers"), *parts = json_object_get(mail, "parts");
	const json_t *texts = json_object_get(mail, "texts"), *notes = json_object_get(mail, "notes");
	struct text t = { 0 };

	(void)fputc('\n', r->out);
	for (size_t i = 0; i < json_array_size(headers); i++)
		put_header(r, json_array_get(headers, i), &t);
	if (json_array_size(parts) > 0)
		put_parts(r, parts);
	for (size_t i = 0; i < json_array_size(texts); i++) {
		const json_t *body = json_object_get(json_array_get(texts, i), "text");
		(void)fprintf(r->out, "\n--- part %s", field(&t, json_array_get(texts, i), "path"));
		(void)fprintf(r->out, ", %s\n", field(&t, json_array_get(texts, i), "type"));
		if (json_is_string(body))
			render_text(r->out, (struct slice){ json_string_value(body), json_string_length(body) });
		if (json_is_true(json_object_get(json_array_get(texts, i), "cut")))
			(void)fputs("--- cut here\n", r->out);
	}
	for (size_t i = 0; i < json_array_size(notes); i++) {
		t.n = 0;
		text_value(&t, json_array_get(notes, i), SHAPE_TEXT, false, 0);
		(void)fprintf(r->out, "note: %s\n", t.p ? t.p : "");
	}
	free(t.p);
}

static void put_message(struct render *r, const json_t *row)
{
	const json_t *mail = json_object_get(row, "mail");
	struct text t = { 0 };

	bold(r, true);
	(void)fprintf(r->out, "message %s\n", field(&t, row, "id"));
	bold(r, false);
	put_fields(r, message_page, row);
	if (mail != NULL)
		render_mail(r, mail);
	free(t.p);
}

/* ---- rows as they come ---- */

static const struct column *const tables[RENDER_KINDS] = {
	[RENDER_INCIDENT] = incident_columns, [RENDER_MESSAGE] = message_columns, [RENDER_ORIGIN] = origin_columns,
	[RENDER_AUDIT] = audit_columns, [RENDER_FINDING] = finding_columns,
};
static void (*const pages[RENDER_KINDS])(struct render *, const json_t *) = {
	[RENDER_STATUS] = put_status, [RENDER_INCIDENT] = put_incident, [RENDER_MESSAGE] = put_message,
};

static void begin(struct render *r)
{
	const struct column *cs = tables[r->kind];

	r->begun = true;
	fit(r, cs, r->waiting, r->widths);
	bold(r, true);
	put_line(r, cs, NULL, r->widths);
	bold(r, false);
	for (size_t i = 0; i < json_array_size(r->waiting); i++)
		put_line(r, cs, json_array_get(r->waiting, i), r->widths);
	json_decref(r->waiting);
	r->waiting = NULL;
	(void)fflush(r->out); /* somebody waits for the first rows */
}

void render_row(struct render *r, const json_t *row)
{
	size_t wait = r->kind == RENDER_MESSAGE ? WAIT_STREAM : WAIT_TABLE;

	if (r->json) {
		render_json(r->out, row, r->kind);
	} else if (pages[r->kind] != NULL && (r->page || tables[r->kind] == NULL)) {
		pages[r->kind](r, row);
	} else if (tables[r->kind] == NULL) {
		render_json(r->out, row, r->kind);
	} else if (r->begun) {
		put_line(r, tables[r->kind], row, r->widths);
	} else {
		if (r->waiting == NULL)
			r->waiting = json_array();
		(void)json_array_append(r->waiting, (json_t *)(uintptr_t)row);
		if (json_array_size(r->waiting) >= wait)
			begin(r);
	}
}

void render_end(struct render *r)
{
	if (r->waiting != NULL)
		begin(r);
	r->begun = false;
}

/* ---- progress ---- */

#define BAR 30

void render_progress(FILE *err, const json_t *progress, bool terminal)
{
	int64_t done = member_number(progress, "done"), total = member_number(progress, "total");
	char done_text[RENDER_NUMBER], total_text[RENDER_NUMBER];
	struct text t = { 0 };
	int full = total > 0 && done > 0 ? (int)((double)(done < total ? done : total) / (double)total * BAR) : 0;

	render_count(done_text, done);
	render_count(total_text, total);
	(void)fputs(terminal ? "\r" : "", err);
	(void)put_cut(err, field(&t, progress, "what"), 20);
	(void)fputc(' ', err);
	if (terminal) {
		(void)fputc('[', err);
		for (int i = 0; i < BAR; i++)
			(void)fputc(i < full ? '#' : '.', err);
		(void)fputs("] ", err);
	}
	(void)fprintf(err, "%s of %s%s", done_text, total_text, terminal ? " " : "\n");
	(void)fflush(err);
	free(t.p);
}

void render_progress_end(FILE *err, bool terminal)
{
	if (terminal)
		(void)fprintf(err, "\r%*s\r", 78, "");
}
