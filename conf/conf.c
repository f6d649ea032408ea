#include "conf/conf.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/own.h"
#include "conf/ini.h"
#include "conf/rows.h"

/* From the file's sections to the typed configuration. */
struct build {
	struct conf *c;
	struct mistakes *m;
	struct ini ini;
	struct built *built;
	size_t n, rows;
};

static void spool_free(struct conf_spool *s)
{
	free(s->name);
	free(s->path);
	free(s->config_dir);
	free(s->owner);
	free(s->stage);
	free(s->hashed);
	free(s->names);
	free(s->login_header);
	free(s->client_header);
	free(s->sender_header);
}

static void override_free(struct conf_override *o)
{
	free(o->name);
	for (char **p = o->match; p != NULL && *p != NULL; p++)
		free(*p);
	free(o->match);
	for (size_t i = 0; i < o->nlimits; i++)
		free(o->limits[i].rule);
}

void conf_free(struct conf *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->nspools; i++)
		spool_free(&c->spools[i]);
	for (size_t i = 0; i < c->nrules; i++)
		free(c->rules[i].name);
	for (size_t i = 0; i < c->noverrides; i++)
		override_free(&c->overrides[i]);
	free(c->spools);
	free(c->rules);
	free(c->overrides);
	free(c->file);
	free(c->state_dir);
	free(c->quarantine_dir);
	free(c->socket);
	free(c->group);
	free(c->operators);
	free(c->on_incident);
	free(c->hook_user);
	free(c);
}

static bool kind_find(const char *word, enum section_kind *out)
{
	for (int i = 0; i < SECTION_KINDS; i++)
		if (strcmp(word, section_rows[i].kind) == 0) {
			*out = (enum section_kind)i;
			return true;
		}
	return false;
}

static const char *kind_at(const void *list, size_t i)
{
	(void)list;
	return i < SECTION_KINDS ? section_rows[i].kind : NULL;
}

static const char *key_at(const void *kind, size_t i)
{
	for (const struct row *r = conf_rows; r->key != NULL; r++)
		if (r->section == *(const enum section_kind *)kind && i-- == 0)
			return r->key;
	return NULL;
}

static size_t most(enum section_kind k)
{
	static const size_t rows[SECTION_KINDS] = { 1, CONF_SPOOLS_MAX, CONF_RULES_MAX, CONF_OVERRIDES_MAX };

	return rows[k];
}

/* Room for an object of that kind; NULL: no memory, or too many (said). */
static void *object_new(struct build *b, enum section_kind kind, const struct ini_section *s)
{
	struct conf *c = b->c;
	size_t have[SECTION_KINDS] = { 0, c->nspools, c->nrules, c->noverrides };
	char *name = kind == SECTION_GLOBAL || have[kind] == most(kind) ? NULL : strdup(s->name);

	if (kind == SECTION_GLOBAL)
		return c;
	if (name == NULL) {
		if (have[kind] == most(kind))
			mistake(b->m, s->line, "more than %zu %s sections", most(kind), section_rows[kind].title);
		else
			mistake(b->m, s->line, "out of memory");
		return NULL;
	}
	if (kind == SECTION_SPOOL) {
		c->spools[c->nspools] = (struct conf_spool){ .name = name, .line = s->line, .hash_depth = -1 };
		return &c->spools[c->nspools++];
	}
	if (kind == SECTION_RULE) {
		c->rules[c->nrules] = (struct conf_rule){ .name = name, .line = s->line };
		return &c->rules[c->nrules++];
	}
	c->overrides[c->noverrides] = (struct conf_override){ .name = name, .line = s->line };
	return &c->overrides[c->noverrides++];
}

static bool section_ok(struct build *b, const struct ini_section *s, enum section_kind *kind)
{
	char near[HINT];

	if (s->kind[0] == '?')
		return false;
	if (!kind_find(s->kind, kind)) {
		mistake(b->m, s->line, "unknown section [%s%s%s]%s", s->kind, *s->name ? " " : "", s->name,
			hint(near, nearest(slice_str(s->kind), kind_at, NULL)));
		return false;
	}
	if (section_rows[*kind].named && *s->name == '\0') {
		mistake(b->m, s->line, "[%s] needs a name: %s", s->kind, section_rows[*kind].title);
		return false;
	}
	if (!section_rows[*kind].named && *s->name != '\0') {
		mistake(b->m, s->line, "[%s %s] takes no name: %s", s->kind, s->name, section_rows[*kind].title);
		return false;
	}
	for (const struct built *o = b->built; o < b->built + b->n; o++)
		if (o->kind == *kind && strcmp(o->name, s->name) == 0) {
			mistake(b->m, s->line, "[%s%s%s] is there twice, first in line %d", s->kind,
				*s->name ? " " : "", s->name, o->line);
			return false;
		}
	return true;
}

/* "unknown key", and where to look for the right one. */
static void unknown_key(struct build *b, const struct built *to, const struct ini_section *s, const struct ini_entry *e)
{
	char near[HINT], show[SHOWN];
	const char *gap = *s->name ? " " : "";

	for (const struct row *r = conf_rows; r->key != NULL; r++)
		if (strcmp(r->key, e->key) == 0) {
			mistake(b->m, e->line, "%s is a key of %s, not of [%s%s%s]", e->key,
				section_rows[r->section].title, s->kind, gap, s->name);
			return;
		}
	mistake(b->m, e->line, "unknown key \"%s\" in [%s%s%s]%s", shown(show, slice_str(e->key)), s->kind, gap, s->name,
		hint(near, nearest(slice_str(e->key), key_at, &to->kind)));
}

static void find_keys(struct build *b, struct built *to, const struct ini_section *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct ini_entry *e = &s->entries[i];
		size_t r = 0;

		while (r < b->rows && (conf_rows[r].section != to->kind || strcmp(conf_rows[r].key, e->key) != 0))
			r++;
		if (r == b->rows) {
			unknown_key(b, to, s, e);
		} else if (to->given[r].line > 0) {
			mistake(b->m, e->line, "%s is given twice, first in line %d", e->key, to->given[r].line);
		} else {
			to->given[r].line = e->line;
			to->given[r].value = e->value;
		}
	}
}

static void read_keys(struct build *b, const struct built *to)
{
	char show[SHOWN];
	struct err e;

	for (size_t r = 0; r < b->rows; r++) {
		const struct row *row = &conf_rows[r];
		const char *value = to->given[r].line > 0 ? to->given[r].value : row->fallback;

		if (row->section != to->kind)
			continue;
		if (value == NULL) {
			if (row->traits & ROW_REQUIRED)
				mistake(b->m, to->line, "[%s %s] has no %s", section_rows[to->kind].kind, to->name, row->key);
			continue;
		}
		if (row->type->read(row, slice_trim(slice_str(value)), to->object, &e) != 0)
			mistake(b->m, to->given[r].line, "%s = \"%s\": %s", row->key, shown(show, slice_str(value)), e.text);
	}
}

static void take_section(struct build *b, const struct ini_section *s)
{
	enum section_kind kind;
	struct built *to = &b->built[b->n];

	if (!section_ok(b, s, &kind))
		return;
	*to = (struct built){ .kind = kind, .name = s->name, .line = s->line, .object = object_new(b, kind, s) };
	to->given = to->object ? calloc(b->rows + 1, sizeof *to->given) : NULL;
	if (to->given == NULL) {
		if (to->object != NULL)
			mistake(b->m, s->line, "out of memory");
		return;
	}
	b->n++;
	find_keys(b, to, s);
	read_keys(b, to);
}

/* What holds without a file: the daemon's own keys, and rules if the file has none. */
static void take_defaults(struct build *b)
{
	static const struct { const char *name; uint64_t limit; int64_t per_s; enum conf_action action; } rules[] = {
		{ "burst", 150, 600, ACTION_QUARANTINE },
		{ "hourly", 300, 3600, ACTION_QUARANTINE },
		{ "minute", 60, 60, ACTION_ALERT },
		{ "daily", 1000, 86400, ACTION_ALERT },
	};
	bool global = false, ruled = false;

	for (size_t i = 0; i < b->ini.n; i++) {
		global = global || strcmp(b->ini.sections[i].kind, section_rows[SECTION_GLOBAL].kind) == 0;
		ruled = ruled || strcmp(b->ini.sections[i].kind, section_rows[SECTION_RULE].kind) == 0;
	}
	if (!global) {
		struct ini_section none = { .kind = (char[]){ "spoolward" }, .name = (char[]){ "" } };

		take_section(b, &none);
	}
	for (size_t i = 0; !ruled && i < sizeof rules / sizeof *rules; i++) {
		struct conf_rule *r = &b->c->rules[b->c->nrules++];

		*r = (struct conf_rule){ .name = strdup(rules[i].name), .limit = rules[i].limit, .per_s = rules[i].per_s,
					 .count = COUNT_RECIPIENTS, .action = rules[i].action,
					 .origins = 1u << ORIGIN_LOGIN | 1u << ORIGIN_UID | 1u << ORIGIN_SCRIPT };
		if (r->name == NULL)
			mistake(b->m, 0, "out of memory");
	}
}

static bool build_room(struct build *b)
{
	size_t kinds[SECTION_KINDS] = { 0 };
	enum section_kind k;

	while (conf_rows[b->rows].key != NULL)
		b->rows++;
	for (size_t i = 0; i < b->ini.n; i++)
		if (kind_find(b->ini.sections[i].kind, &k) && kinds[k] < most(k))
			kinds[k]++;
	b->c->spools = calloc(kinds[SECTION_SPOOL] + 1, sizeof *b->c->spools);
	b->c->rules = calloc(kinds[SECTION_RULE] + 4, sizeof *b->c->rules);
	b->c->overrides = calloc(kinds[SECTION_OVERRIDE] + 1, sizeof *b->c->overrides);
	b->built = calloc(b->ini.n + 2, sizeof *b->built);
	return b->c->spools != NULL && b->c->rules != NULL && b->c->overrides != NULL && b->built != NULL;
}

int conf_parse(const char *name, struct slice text, struct conf **out, char **mistakes)
{
	struct mistakes m = { .file = name };
	struct build b = { .c = calloc(1, sizeof *b.c), .m = &m };

	*out = NULL;
	*mistakes = NULL;
	if (b.c == NULL || (b.c->file = strdup(name)) == NULL) {
		mistake(&m, 0, "out of memory");
	} else if (ini_parse(text, &b.ini, &m) == 0) {
		if (build_room(&b)) {
			take_defaults(&b);
			for (size_t i = 0; i < b.ini.n; i++)
				take_section(&b, &b.ini.sections[i]);
			conf_check(b.c, b.built, b.n, &m);
		} else {
			mistake(&m, 0, "out of memory");
		}
	}
	for (size_t i = 0; i < b.n; i++)
		free(b.built[i].given);
	free(b.built);
	ini_free(&b.ini);
	if (m.n == 0) {
		*out = b.c;
		return 0;
	}
	conf_free(b.c);
	*mistakes = mistakes_text(&m);
	return -1;
}

int conf_read(const char *path, char **text, size_t *n, struct err *e)
{
	/* a FIFO must not hang us */
	own_fd fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	own_mem char *buf = malloc(CONF_FILE_MAX + 1);
	struct stat st;
	size_t at = 0;
	ssize_t got;

	if (fd < 0 || fstat(fd, &st) != 0)
		return err_sys(e, "cannot be read");
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_CONFIG, "is no regular file");
	if (buf == NULL)
		return err_set(e, ERR_AGAIN, "out of memory");
	while ((got = read(fd, buf + at, CONF_FILE_MAX + 1 - at)) != 0) {
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(e, "cannot be read");
		at += (size_t)got;
	}
	if (at > CONF_FILE_MAX)
		return err_set(e, ERR_CONFIG, "is larger than %u bytes", CONF_FILE_MAX);
	*text = buf;
	*n = at;
	buf = NULL;
	return 0;
}

int conf_load(const char *path, struct conf **out, char **mistakes)
{
	own_mem char *text = NULL;
	size_t n;
	struct err e;

	*out = NULL;
	*mistakes = NULL;
	if (conf_read(path, &text, &n, &e) != 0) {
		if (asprintf(mistakes, "%s: %s\n", path, e.text) < 0)
			*mistakes = NULL;
		return -1;
	}
	return conf_parse(path, (struct slice){ text, n }, out, mistakes);
}
