#include <stdio.h>
#include <stdlib.h>

#include "base/escape.h"
#include "conf/mistake.h"
#include "conf/rows.h"

#define BAD(...) err_set(e, ERR_CONFIG, __VA_ARGS__)

static void *place(const struct row *r, void *object)
{
	return (char *)object + r->at;
}

/* A second value for the same place cannot happen, but would not leak. */
static int keep(char **at, struct slice text, struct err *e)
{
	free(*at);
	*at = strndup(text.p, text.n);
	return *at != NULL ? 0 : BAD("out of memory");
}

static bool within(const struct row *r, uint64_t v)
{
	return v >= r->lo && v <= r->hi;
}

static int read_number(const struct row *r, struct slice text, uint64_t *v, struct err *e)
{
	if (!slice_u64(text, UINT64_MAX, v))
		return BAD("not a whole number");
	if (!within(r, *v))
		return BAD("must be from %llu to %llu", (unsigned long long)r->lo, (unsigned long long)r->hi);
	return 0;
}

static int read_count(const struct row *r, struct slice text, void *object, struct err *e)
{
	return read_number(r, text, place(r, object), e);
}

/* A small number where -1 says "not given". */
static int read_level(const struct row *r, struct slice text, void *object, struct err *e)
{
	uint64_t v;

	if (read_number(r, text, &v, e) != 0)
		return -1;
	*(int64_t *)place(r, object) = (int64_t)v;
	return 0;
}

static int read_size(const struct row *r, struct slice text, void *object, struct err *e)
{
	char lo[AMOUNT], hi[AMOUNT];
	uint64_t v;

	if (!conf_size(text, &v))
		return BAD("not a size as 1000, 10K, 5M, 2G");
	if (!within(r, v))
		return BAD("must be from %s to %s", size_text(lo, r->lo), size_text(hi, r->hi));
	*(uint64_t *)place(r, object) = v;
	return 0;
}

/* What it counts stands in another key: conf_check() looks again. */
static int read_limit(const struct row *r, struct slice text, void *object, struct err *e)
{
	return read_size(r, text, object, e) == 0 ? 0 : BAD("not a whole number from 1 on (bytes also as 10K, 5M, 2G)");
}

static int read_duration(const struct row *r, struct slice text, void *object, struct err *e)
{
	char lo[AMOUNT], hi[AMOUNT];
	int64_t v;

	if (!conf_duration(text, &v))
		return BAD("not a time span as 30s, 10m, 2h, 7d, 1h30m");
	if (!within(r, (uint64_t)v))
		return BAD("must be from %s to %s", duration_text(lo, r->lo), duration_text(hi, r->hi));
	*(int64_t *)place(r, object) = v;
	return 0;
}

static int read_text(const struct row *r, struct slice text, void *object, struct err *e)
{
	if (text.n == 0 && (r->traits & ROW_EMPTY) == 0)
		return BAD("is empty");
	if (text.n > 0 && !within(r, text.n))
		return BAD("is too long: %llu bytes are the most", (unsigned long long)r->hi);
	return keep(place(r, object), text, e);
}

/* A component that leaves the directory, or none at all. */
static bool strays(struct slice path)
{
	struct slice part;
	bool more = true;

	while (more) {
		more = slice_cut(&path, '/', &part);
		if (!more)
			part = path;
		if (slice_eq(part, SLICE("..")) || slice_eq(part, SLICE(".")))
			return true;
	}
	return false;
}

static int read_path(const struct row *r, struct slice text, void *object, struct err *e)
{
	if (text.n > 0 && text.p[0] != '/')
		return BAD("not an absolute path");
	if (strays(text))
		return BAD("must not hold \".\" or \"..\"");
	while (text.n > 1 && slice_drop_tail(&text, SLICE("/")))
		;
	if (text.n > 0 && text.n < r->lo)
		return BAD("cannot be \"/\"");
	return read_text(r, text, object, e);
}

static int read_below(const struct row *r, struct slice text, void *object, struct err *e)
{
	while (slice_drop_tail(&text, SLICE("/")))
		;
	if (text.n > 0 && text.p[0] == '/')
		return BAD("must be a path below the queue's top directory, without \"/\" before it");
	if (strays(text))
		return BAD("must not hold \".\" or \"..\"");
	return read_text(r, text, object, e);
}

static int read_word(const struct row *r, struct slice text, void *object, struct err *e)
{
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || text.p[i] > '~' || text.p[i] == ':' || text.p[i] == '/')
			return BAD("must be one word");
	return read_text(r, text, object, e);
}

static int read_account(const struct row *r, struct slice text, void *object, struct err *e)
{
	uint64_t number;

	/* (uid_t)-1 means "no change" to the kernel */
	if (text.n > 0 && text.p[0] >= '0' && text.p[0] <= '9' && !slice_u64(text, UINT32_MAX - 1, &number))
		return BAD("neither a user name nor a user number");
	return read_word(r, text, object, e);
}

/* "one of a, b, c" plus a hint. */
static int one_of(struct err *e, const char *const *names, size_t n, struct slice text)
{
	char list[200] = "", near[HINT];
	size_t at = 0;

	for (size_t i = 0; i < n && at < sizeof list; i++)
		at += (size_t)snprintf(list + at, sizeof list - at, "%s%s", i > 0 ? ", " : "", names[i]);
	return BAD("must be one of %s%s", list, hint(near, nearest_of(text, names, n)));
}

static int read_enum(const struct row *r, struct slice text, void *object, struct err *e)
{
	for (unsigned i = 0; i <= r->hi; i++)
		if (slice_eq(text, slice_str(r->names[i]))) {
			memcpy(place(r, object), &i, sizeof i);
			return 0;
		}
	return one_of(e, r->names, (size_t)r->hi + 1, text);
}
_Static_assert(sizeof(enum conf_mode) == sizeof(unsigned) && sizeof(enum conf_action) == sizeof(unsigned) &&
	       sizeof(enum count_kind) == sizeof(unsigned), "read_enum() writes an unsigned");

static int read_yes(const struct row *r, struct slice text, void *object, struct err *e)
{
	bool yes = slice_eq(text, SLICE("yes"));

	if (!yes && !slice_eq(text, SLICE("no")))
		return BAD("must be yes or no");
	*(bool *)place(r, object) = yes;
	return 0;
}

static int read_origins(const struct row *r, struct slice text, void *object, struct err *e)
{
	unsigned bits = 0;
	struct slice one;
	enum origin_kind kind;
	char show[SHOWN], why[sizeof e->text];

	while (list_next(&text, true, &one)) {
		if (!origin_kind_find(one, &kind)) {
			(void)one_of(e, origin_kind_names, ORIGIN_KINDS, one);
			(void)snprintf(why, sizeof why, "%s", e->text);
			return BAD("\"%s\" %.200s", shown(show, one), why);
		}
		if (bits & 1u << kind)
			return BAD("%s is there twice", origin_kind_names[kind]);
		bits |= 1u << kind;
	}
	if (bits == 0)
		return BAD("is empty");
	*(unsigned *)place(r, object) = bits;
	return 0;
}

static int read_networks(const struct row *r, struct slice text, void *object, struct err *e)
{
	struct conf *c = object;
	struct slice one;
	char show[SHOWN];

	(void)r;
	while (list_next(&text, true, &one)) {
		struct net n;

		if (!net_parse(one, &n))
			return BAD("\"%s\" is no network as 192.0.2.0/24 or 2001:db8::/32", shown(show, one));
		if (n.bits == 0)
			return BAD("\"%s\" is the whole internet", shown(show, one));
		if (c->ntrusted == CONF_NETS_MAX)
			return BAD("more than %d networks", CONF_NETS_MAX);
		c->trusted[c->ntrusted++] = n;
	}
	return 0;
}

/* One KIND:PATTERN. */
static int match_ok(struct slice one, struct err *e)
{
	struct slice kind, pattern = one;
	enum origin_kind k;
	struct net n;
	char show[SHOWN], near[HINT];

	if (!slice_cut(&pattern, ':', &kind) || pattern.n == 0)
		return BAD("\"%s\" is no KIND:PATTERN as login:joe@example.com", shown(show, one));
	if (!origin_kind_find(kind, &k))
		return BAD("\"%s\" is no kind of origin%s", shown(show, kind),
			   hint(near, nearest_of(kind, origin_kind_names, ORIGIN_KINDS)));
	if (k != ORIGIN_SCRIPT && (memchr(pattern.p, ' ', pattern.n) || memchr(pattern.p, '\t', pattern.n)))
		return BAD("\"%s\" holds a blank; patterns are separated by commas", shown(show, one));
	if (k == ORIGIN_CLIENT && !net_parse(pattern, &n) &&
	    (memchr(pattern.p, '/', pattern.n) != NULL || memchr(pattern.p, '*', pattern.n) == NULL))
		return BAD("\"%s\" is no address or network", shown(show, pattern));
	return 0;
}

static int read_matches(const struct row *r, struct slice text, void *object, struct err *e)
{
	char ***at = place(r, object), **list;
	struct slice one;
	size_t n = 0;

	while (list_next(&text, false, &one)) {
		if (match_ok(one, e) != 0)
			return -1;
		list = reallocarray(*at, n + 2, sizeof *list);
		if (list == NULL)
			return BAD("out of memory");
		*at = list;
		list[n] = strndup(one.p, one.n);
		list[n + 1] = NULL;
		if (list[n++] == NULL)
			return BAD("out of memory");
	}
	return n > 0 ? 0 : BAD("is empty");
}

/* The rules' names and what they count are known later: conf_check() looks again. */
static int read_limits(const struct row *r, struct slice text, void *object, struct err *e)
{
	struct conf_override *o = object;
	struct slice one, rule;
	char show[SHOWN];

	while (list_next(&text, true, &one)) {
		struct slice limit = one;
		uint64_t v;

		if (!slice_cut(&limit, ':', &rule) || rule.n == 0 || !conf_size(limit, &v) || !within(r, v))
			return BAD("\"%s\" is no RULE:LIMIT as hourly:5000", shown(show, one));
		if (o->nlimits == CONF_LIMITS_MAX)
			return BAD("more than %d limits", CONF_LIMITS_MAX);
		o->limits[o->nlimits].limit = v;
		if (keep(&o->limits[o->nlimits].rule, rule, e) != 0)
			return -1;
		/* the section's own name was lower-cased by the parser */
		for (char *p = o->limits[o->nlimits].rule; *p != '\0'; p++)
			*p = ascii_lower(*p);
		o->nlimits++;
	}
	return o->nlimits > 0 ? 0 : BAD("is empty");
}

static int read_time(const struct row *r, struct slice text, void *object, struct err *e)
{
	if (!conf_time(text, true, place(r, object)))
		return BAD("not a day as 2026-12-31 or a time as 2026-12-31T18:00");
	return 0;
}

static int read_format(const struct row *r, struct slice text, void *object, struct err *e)
{
	const struct spool_format *f = spool_format_find(text);
	const char *names[SPOOL_FORMATS_MAX];
	size_t n = 0;

	if (f != NULL) {
		*(const struct spool_format **)place(r, object) = f;
		return 0;
	}
	while (n < SPOOL_FORMATS_MAX && spool_formats[n] != NULL) {
		names[n] = spool_formats[n]->name;
		n++;
	}
	return one_of(e, names, n, text);
}

const struct value_type type_count = { "number", read_count }, type_size = { "size", read_size },
	type_limit = { "number or size", read_limit }, type_duration = { "time span", read_duration },
	type_level = { "number", read_level }, type_path = { "absolute path", read_path },
	type_below = { "relative path", read_below }, type_word = { "word", read_word },
	type_account = { "user", read_account }, type_text = { "text", read_text }, type_enum = { "word", read_enum },
	type_yes = { "yes or no", read_yes }, type_origins = { "list", read_origins },
	type_networks = { "list of networks", read_networks }, type_matches = { "list of patterns", read_matches },
	type_limits = { "list of limits", read_limits }, type_time = { "day or time", read_time },
	type_format = { "word", read_format };
