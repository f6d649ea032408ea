#include <stdlib.h>

#include "conf/mistake.h"
#include "conf/rows.h"

static size_t row_of(enum section_kind section, const char *key)
{
	size_t i = 0;

	while (conf_rows[i].key != NULL && (conf_rows[i].section != section || strcmp(conf_rows[i].key, key) != 0))
		i++;
	return i;
}

/* The line where that key stands in the section, or the section's own. */
static int line_of(const struct built *b, const char *key)
{
	int line = b->given[row_of(b->kind, key)].line;

	return line > 0 ? line : b->line;
}

static bool was_given(const struct built *b, const char *key)
{
	return b->given[row_of(b->kind, key)].line > 0;
}

static bool can_hash(const struct spool_format *f)
{
	for (size_t i = 0; i < f->ndirs; i++)
		if (f->dirs[i].traits & DIR_HASHED)
			return true;
	return false;
}

/* A drop folder, whose top directory is the queue, knows of a message only what its headers say. */
static bool in_headers(const struct spool_format *f)
{
	return f->ndirs > 0 && *f->dirs[0].name == '\0';
}

/* Is path the directory, or below it? */
static bool inside(const char *path, const char *dir)
{
	struct slice p = slice_str(path);

	return slice_drop_head(&p, slice_str(dir)) && (p.n == 0 || p.p[0] == '/');
}

static void check_keys(const struct conf_spool *s, const struct built *b, struct mistakes *m)
{
	unsigned cannot = (in_headers(s->format) ? 0 : (unsigned)ROW_HEADERS) |
			  (can_hash(s->format) ? 0 : (unsigned)ROW_HASHED) |
			  (s->format->ask != NULL ? 0 : (unsigned)ROW_ASKED);

	for (size_t i = 0; conf_rows[i].key != NULL; i++)
		if (b->given[i].line > 0 && (conf_rows[i].traits & cannot))
			mistake(m, b->given[i].line, "%s has no meaning for format = %s", conf_rows[i].key,
				s->format->name);
}

static void check_stage(const struct conf_spool *s, const struct built *b, struct mistakes *m)
{
	for (size_t i = 0; s->stage != NULL && i < s->format->ndirs; i++)
		if (*s->format->dirs[i].name != '\0' && inside(s->stage, s->format->dirs[i].name))
			mistake(m, line_of(b, "stage"), "stage = %s: the MTA looks for mail in %s", s->stage,
				s->format->dirs[i].name);
}

static void check_spool(const struct conf *c, const struct built *b, struct mistakes *m)
{
	const struct conf_spool *s = b->object;

	if (s->format != NULL) {
		check_keys(s, b, m);
		check_stage(s, b, m);
		if (s->path == NULL && s->format->ask == NULL && !was_given(b, "path"))
			mistake(m, b->line, "[spool %s] has no path: format = %s needs one", b->name, s->format->name);
	}
	for (const struct conf_spool *o = c->spools; o < s && s->path != NULL; o++)
		if (o->path != NULL && strcmp(o->path, s->path) == 0)
			mistake(m, line_of(b, "path"), "path = %s is also the path of [spool %s] in line %d", s->path,
				o->name, o->line);
	if (s->path != NULL && ((c->quarantine_dir != NULL && strcmp(s->path, c->quarantine_dir) == 0) ||
				(c->state_dir != NULL && strcmp(s->path, c->state_dir) == 0)))
		mistake(m, line_of(b, "path"), "path = %s is Spoolward's own directory", s->path);
}

static void check_rule(const struct built *b, struct mistakes *m)
{
	const struct conf_rule *r = b->object;
	size_t row = row_of(SECTION_RULE, "limit");
	uint64_t plain;

	if (r->count != COUNT_BYTES && b->given[row].value != NULL && r->limit > 0 &&
	    !slice_u64(slice_str(b->given[row].value), UINT64_MAX, &plain))
		mistake(m, b->given[row].line, "limit = %s: only bytes are written so, this rule counts %s",
			b->given[row].value, count_kind_names[r->count]);
}

struct rule_list {
	const struct conf_rule *rules;
	size_t n;
};

static const char *rule_at(const void *list, size_t i)
{
	const struct rule_list *l = list;

	return i < l->n ? l->rules[i].name : NULL;
}

static void check_override(const struct conf *c, const struct built *b, struct mistakes *m)
{
	const struct conf_override *o = b->object;
	struct rule_list list = { c->rules, c->nrules };
	char near[HINT];

	for (size_t i = 0; i < o->nlimits; i++) {
		const char *rule = o->limits[i].rule;
		size_t k = 0;

		while (k < c->nrules && strcmp(c->rules[k].name, rule) != 0)
			k++;
		if (k == c->nrules)
			mistake(m, line_of(b, "limits"), "there is no [rule %s]%s", rule,
				hint(near, nearest(slice_str(rule), rule_at, &list)));
		for (k = 0; k < i; k++)
			if (strcmp(o->limits[k].rule, rule) == 0)
				mistake(m, line_of(b, "limits"), "limits names %s twice", rule);
	}
	if (!o->exempt && !was_given(b, "exempt") && !was_given(b, "limits"))
		mistake(m, b->line, "[override %s] changes nothing: give it exempt = yes, or limits", b->name);
	if (o->exempt && o->nlimits > 0)
		mistake(m, line_of(b, "limits"), "limits have no meaning beside exempt = yes");
}

static void check_global(struct conf *c, const struct built *b, struct mistakes *m)
{
	char warn[AMOUNT], expire[AMOUNT];

	if (b != NULL && was_given(b, "expire_warn")) {
		if (c->expire_s > 0 && c->expire_warn_s >= c->expire_s)
			mistake(m, line_of(b, "expire_warn"), "expire_warn = %s is not shorter than expire = %s",
				duration_text(warn, (uint64_t)c->expire_warn_s),
				duration_text(expire, (uint64_t)c->expire_s));
	} else if (c->expire_warn_s > c->expire_s / 2) {
		c->expire_warn_s = c->expire_s / 2;
	}
	if (c->nspools == 0)
		mistake(m, 0, "no [spool NAME] section: which queue should be watched?");
}

void conf_check(struct conf *c, const struct built *b, size_t n, struct mistakes *m)
{
	const struct built *global = NULL;

	for (size_t i = 0; i < n; i++) {
		if (b[i].kind == SECTION_GLOBAL)
			global = global ? global : &b[i];
		else if (b[i].kind == SECTION_SPOOL)
			check_spool(c, &b[i], m);
		else if (b[i].kind == SECTION_RULE)
			check_rule(&b[i], m);
		else
			check_override(c, &b[i], m);
	}
	check_global(c, global, m);
}
