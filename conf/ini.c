#include "conf/ini.h"

#include <iniparser.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mman.h>

#include "base/escape.h"
#include "base/own.h"
#include "base/sys.h"

/* Where the look at the lines has come to. */
struct look {
	struct mistakes *m;
	FILE *to; /* what iniparser gets: as many lines as the file has */
	int line;
	size_t keys; /* and sections */
	bool section; /* there was one */
	bool joined;  /* the line before ended in a backslash ... */
	size_t join_n; /* ... and so many bytes belong together so far */
};

static bool name_ok(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = ascii_lower(s.p[i]);

		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-'))
			return false;
	}
	return s.n > 0 && s.n <= INI_NAME_MAX;
}

/* Bytes that have no place in any line, comments included. */
static bool bytes_ok(struct look *l, struct slice s)
{
	while (s.n > 0) {
		size_t n = *s.p == '\t' ? 1 : escape_passes(s);

		if (n == 0 && *s.p == '\0')
			mistake(l->m, l->line, "a NUL byte: this is no text file, or it is damaged");
		else if (n == 0 && (unsigned char)*s.p < 0x80)
			mistake(l->m, l->line, "a control character (\\x%02x)", (unsigned)(unsigned char)*s.p);
		else if (n == 0)
			mistake(l->m, l->line, "not UTF-8, or an invisible character, at byte \\x%02x",
				(unsigned)(unsigned char)*s.p);
		if (n == 0)
			return false;
		s.p += n;
		s.n -= n;
	}
	return true;
}

static const char *quote_trap(struct slice v)
{
	char quote[1] = { v.p[0] };
	struct slice rest = { v.p + 1, v.n - 1 }, inner;

	if (!slice_cut(&rest, quote[0], &inner))
		return "the quote is not closed";
	if (inner.n > 0 && memchr(inner.p, '\\', inner.n) != NULL)
		return "no backslash can stand between quotes";
	rest = slice_trim(rest);
	if (rest.n > 0 && rest.p[0] != '#')
		return "text after the closing quote would be ignored";
	return NULL;
}

/* What iniparser would cut off a value without a word; NULL: nothing. */
static const char *value_trap(struct slice v, bool first)
{
	bool more = slice_ends(v, SLICE("\\"));

	if (first && v.n > 0 && (v.p[0] == '"' || v.p[0] == '\''))
		return quote_trap(v);
	for (size_t i = 0; i < v.n; i++) {
		if (v.p[i] == ';')
			return "everything from the ';' on would be ignored: put the value in quotes, "
			       "use ',' in a list and '#' for a comment";
		if (v.p[i] != '#')
			continue;
		if (i > 0 && v.p[i - 1] != ' ' && v.p[i - 1] != '\t')
			return "the value would be cut at '#': put it in quotes, or a blank before a comment";
		return more ? "a comment that ends in a backslash would swallow the next line" : NULL;
	}
	return NULL;
}

/* Is there room for one more? Said once if not. */
static bool room(struct look *l)
{
	if (++l->keys == INI_KEYS_MAX + 1)
		mistake(l->m, l->line, "more than %d keys and sections", INI_KEYS_MAX);
	return l->keys <= INI_KEYS_MAX;
}

static void look_section(struct look *l, struct slice s)
{
	struct slice inner, kind, rest = { s.p + 1, s.n - 1 };
	char show[SHOWN];

	l->section = true;
	if (!room(l))
		return;
	if (!slice_cut(&rest, ']', &inner)) {
		mistake(l->m, l->line, "the section's \"]\" is missing");
	} else if (slice_trim(rest).n > 0) {
		mistake(l->m, l->line, "text after the \"]\": a comment needs a line of its own");
	} else {
		inner = slice_trim(inner);
		kind = inner;
		rest = (struct slice){ inner.p + inner.n, 0 };
		for (size_t i = 0; i < inner.n && rest.n == 0; i++)
			if (inner.p[i] == ' ' || inner.p[i] == '\t') {
				kind.n = i;
				rest = slice_trim((struct slice){ inner.p + i, inner.n - i });
			}
		if (name_ok(kind) && (rest.n == 0 || name_ok(rest))) {
			fprintf(l->to, "[%.*s %.*s@%d]", (int)kind.n, kind.p, (int)rest.n, rest.p, l->line);
			return;
		}
		mistake(l->m, l->line, "[%s]: a section is [KIND] or [KIND NAME], its name 1 to %d of a-z 0-9 _ . -",
			shown(show, inner), INI_NAME_MAX);
	}
	fprintf(l->to, "[? @%d]", l->line);
}

static void look_key(struct look *l, struct slice s)
{
	struct slice key, value = s;
	const char *trap;
	char show[SHOWN];

	if (!slice_cut(&value, '=', &key)) {
		mistake(l->m, l->line, "\"%s\" has no \"=\"", shown(show, s));
		return;
	}
	key = slice_trim(key);
	value = slice_trim(value);
	trap = value_trap(value, true);
	if (trap != NULL)
		mistake(l->m, l->line, "%s: %s", shown(show, key), trap);
	else if (!name_ok(key))
		mistake(l->m, l->line, "\"%s\" is no key: 1 to %d of a-z 0-9 _ . - stand before \"=\"",
			shown(show, key), INI_NAME_MAX);
	else if (!l->section)
		mistake(l->m, l->line, "%s stands before any [section]", shown(show, key));
	else if (room(l)) {
		l->joined = slice_ends(value, SLICE("\\"));
		fprintf(l->to, "%.*s@%d = %.*s", (int)key.n, key.p, l->line, (int)value.n, value.p);
	}
}

/* s follows a line that ended in a backslash; true if it is meant so. */
static void look_joined(struct look *l, struct slice s)
{
	struct slice t = slice_trim(s);
	const char *trap = value_trap(t, false);

	l->joined = false;
	if (t.n == 0 || s.p == t.p) {
		mistake(l->m, l->line - 1, "the backslash at the end joins the next line; "
			"if that is meant, the next line must begin with a blank");
	} else if (trap != NULL) {
		mistake(l->m, l->line, "%s", trap);
	} else {
		l->joined = slice_ends(t, SLICE("\\"));
		fprintf(l->to, " %.*s", (int)t.n, t.p);
	}
}

static void look_line(struct look *l, struct slice s)
{
	struct slice t = slice_trim(s);
	bool joined = l->joined;

	l->join_n = joined ? l->join_n + s.n + 1 : s.n;
	l->joined = false;
	if (!bytes_ok(l, s))
		return;
	if (l->join_n > INI_LINE_MAX) {
		mistake(l->m, l->line, "a line of %zu bytes; %d is the most", l->join_n, INI_LINE_MAX);
	} else if (joined) {
		look_joined(l, s);
	} else if (t.n == 0) {
		return;
	} else if (t.p[0] == '#' || t.p[0] == ';') {
		if (slice_ends(t, SLICE("\\")))
			mistake(l->m, l->line, "a comment that ends in a backslash would swallow the next line");
	} else if (t.p[0] == '[') {
		look_section(l, t);
	} else {
		look_key(l, t);
	}
}

/* The text as iniparser may have it; NULL: no memory. */
static char *look_all(struct slice text, size_t *n, struct mistakes *m)
{
	char *out = NULL;
	struct look l = { .m = m, .to = open_memstream(&out, n) };
	struct slice line;

	if (l.to == NULL)
		return NULL;
	if (slice_drop_head(&text, SLICE("\xef\xbb\xbf")))
		mistake(m, 1, "the file begins with a byte order mark: save it as UTF-8 without one");
	while (slice_line(&text, &line)) {
		l.line++;
		look_line(&l, line);
		/* also behind the last: iniparser can lose a line that has none */
		(void)fputc('\n', l.to);
	}
	if (l.joined)
		mistake(m, l.line, "the file ends after a backslash");
	if (fclose(l.to) != 0) {
		free(out);
		return NULL;
	}
	return out;
}

/* iniparser's callback has no argument for its user. */
static struct mistakes *told;

static int tell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int tell(const char *fmt, ...)
{
	char text[300], show[SHOWN];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	mistake(told, 0, "%s", shown(show, slice_trim(slice_str(text))));
	return 0;
}

static dictionary *load(const char *text, size_t n, struct mistakes *m)
{
	own_fd fd = memfd_create("configuration", MFD_CLOEXEC);
	char path[32];
	dictionary *d;

	if (fd < 0 || sys_write(fd, text, n) != 0) {
		mistake(m, 0, "no memory file for the parser: %s", strerror(errno));
		return NULL;
	}
	(void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	told = m;
	(void)iniparser_set_error_callback(tell);
	d = iniparser_load(path);
	(void)iniparser_set_error_callback(NULL);
	told = NULL;
	return d;
}

/* "something@12": cuts the number off and returns it; 0 if there is none. */
static int cut_line(char *s)
{
	char *at = strrchr(s, '@');
	uint64_t line;

	if (at == NULL || !slice_u64(slice_str(at + 1), 1000000000, &line))
		return 0;
	*at = '\0';
	return (int)line;
}

static bool add_section(struct ini *ini, const char *key)
{
	struct ini_section *s = &ini->sections[ini->n];
	char *blank;

	*s = (struct ini_section){ .kind = strdup(key) };
	if (s->kind == NULL)
		return false;
	ini->n++;
	s->line = cut_line(s->kind);
	blank = strchr(s->kind, ' ');
	s->name = strdup(blank ? blank + 1 : "");
	if (blank != NULL)
		*blank = '\0';
	return s->name != NULL;
}

static bool add_entry(struct ini *ini, const char *key, const char *value)
{
	struct ini_section *s = ini->n > 0 ? &ini->sections[ini->n - 1] : NULL;
	const char *colon = strchr(key, ':');
	struct ini_entry *e;

	if (s == NULL || colon == NULL)
		return false;
	/* room doubles at each power of two */
	if (s->n == 0 || (s->n & (s->n - 1)) == 0) {
		e = reallocarray(s->entries, s->n ? 2 * s->n : 1, sizeof *e);
		if (e == NULL)
			return false;
		s->entries = e;
	}
	e = &s->entries[s->n];
	*e = (struct ini_entry){ .key = strdup(colon + 1), .value = strdup(value) };
	s->n++;
	if (e->key == NULL || e->value == NULL)
		return false;
	e->line = cut_line(e->key);
	return true;
}

/* The dictionary keeps the order of the file as long as nothing is unset. */
static bool take_all(const dictionary *d, struct ini *out)
{
	/* the type of size is not the same in 4.1 and 4.2 */
	for (size_t i = 0; i < (size_t)d->size; i++) {
		if (d->key[i] == NULL)
			continue;
		if (d->val[i] == NULL ? !add_section(out, d->key[i]) : !add_entry(out, d->key[i], d->val[i]))
			return false;
	}
	return true;
}

int ini_parse(struct slice text, struct ini *out, struct mistakes *m)
{
	size_t n = 0;
	own_mem char *clean = look_all(text, &n, m);
	dictionary *d;
	bool ok;

	*out = (struct ini){ 0 };
	if (clean == NULL) {
		mistake(m, 0, "out of memory");
		return -1;
	}
	d = load(clean, n, m);
	if (d == NULL) {
		mistake(m, 0, "could not be parsed");
		return -1;
	}
	out->sections = calloc((size_t)d->n + 1, sizeof *out->sections);
	ok = out->sections != NULL && take_all(d, out);
	iniparser_freedict(d);
	if (ok)
		return 0;
	mistake(m, 0, "out of memory");
	ini_free(out);
	return -1;
}

void ini_free(struct ini *ini)
{
	for (size_t i = 0; i < ini->n; i++) {
		struct ini_section *s = &ini->sections[i];

		for (size_t k = 0; k < s->n; k++) {
			free(s->entries[k].key);
			free(s->entries[k].value);
		}
		free(s->entries);
		free(s->kind);
		free(s->name);
	}
	free(ini->sections);
	*ini = (struct ini){ 0 };
}
