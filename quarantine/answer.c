#include "quarantine/answer.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/escape.h"
#include "base/own.h"

#define RCPTS_SHOWN 24000 /* bytes of addresses in one row: a record has an end */
#define IDS_MAX 100000

json_t *answer_text(const char *s)
{
	char safe[4096];
	json_t *j = json_string(s);

	if (j != NULL)
		return j;
	(void)text_utf8(safe, sizeof safe, slice_str(s));
	return json_string(safe);
}

static void put(json_t *j, const char *key, json_t *value)
{
	(void)json_object_set_new(j, key, value);
}

static json_t *recipients(const struct row *r)
{
	struct slice rest = slice_str(r->rcpts), line;
	json_t *list = json_array();
	size_t used = 0;

	while (used < RCPTS_SHOWN && slice_line(&rest, &line)) {
		(void)json_array_append_new(list, json_stringn(line.p, line.n));
		used += line.n + 3;
	}
	return list;
}

static void put_detail(json_t *j, const struct row *r)
{
	json_t *files = json_array();

	(void)json_array_append_new(files, json_pack("{s:s,s:I}", "name", CELL_FILE, "size", (json_int_t)r->size));
	put(j, "files", files);
	put(j, "format", json_string(r->format));
	put(j, "directory", json_integer(r->dir));
	put(j, "mode", json_integer(r->mode));
	put(j, "uid", json_integer(r->uid));
	put(j, "done_count", json_integer(r->done));
	put(j, "from", answer_text(r->from));
	put(j, "message_id", answer_text(r->message_id));
	put(j, "client", answer_text(r->client));
	put(j, "login", answer_text(r->login));
	put(j, "changed", json_integer(r->changed));
	if (r->new_id.n > 0)
		put(j, "new_queue_id", answer_text(r->new_id.text));
}

json_t *answer_message(const struct row *r, bool detail)
{
	char id[32], sha[2 * SHA256_SIZE + 1];
	json_t *j = json_object();

	(void)snprintf(id, sizeof id, "m%lld", (long long)r->id);
	hex_text(sha, r->sha256, SHA256_SIZE);
	put(j, "id", json_string(id));
	put(j, "spool", answer_text(r->spool));
	put(j, "queue_id", answer_text(r->queue_id.text));
	put(j, "state", json_string(row_state_names[r->state]));
	put(j, "incident", r->incident ? json_integer(r->incident) : json_null());
	put(j, "origin", answer_text(r->origin));
	put(j, "sender", answer_text(r->sender));
	put(j, "recipients", recipients(r));
	put(j, "recipient_count", json_integer(r->recipients));
	put(j, "size", json_integer((json_int_t)r->size));
	put(j, "subject", answer_text(r->readable ? r->subject : "(unreadable)"));
	put(j, "arrived", json_integer(r->arrived));
	put(j, "taken", json_integer(r->taken));
	put(j, "sha256", json_string(sha));
	if (detail)
		put_detail(j, r);
	return j;
}

json_t *answer_incident(const struct incident *i)
{
	json_t *j = json_object();
	char next[64];

	const struct { const char *key; int64_t v; } numbers[] = {
		{ "id", i->id },
		{ "since", i->since },
		{ "updated", i->updated },
		{ "recipients", (int64_t)i->recipients },
		{ "messages", (int64_t)i->messages },
		{ "taken", (int64_t)i->taken },
		{ "gone", (int64_t)i->gone },
		{ "held", (int64_t)i->held },
		{ "released", (int64_t)i->released },
		{ "purged", (int64_t)i->purged },
		{ "would_take", (int64_t)i->would_take },
		{ "limit", (int64_t)i->limit },
		{ "per", i->per_s },
		{ "clients", (int64_t)i->clients },
	};
	for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
		put(j, numbers[k].key, json_integer(numbers[k].v));
	put(j, "origin", answer_text(i->origin));
	put(j, "rule", answer_text(i->rule));
	put(j, "mode", answer_text(i->mode));
	put(j, "state", answer_text(i->state));
	put(j, "reason", answer_text(i->reason));
	(void)snprintf(next, sizeof next, "spoolward show %lld", (long long)i->id);
	put(j, "next", json_string(next));
	return j;
}

json_t *answer_origin(const struct origin_row *o)
{
	json_t *j = json_object();

	put(j, "origin", answer_text(o->origin));
	put(j, "state", json_string(o->state == HOLD_HELD ? "held" : "trusted"));
	put(j, "since", json_integer(o->since));
	put(j, "until", o->until ? json_integer(o->until) : json_null());
	put(j, "by", answer_text(o->by));
	put(j, "incident", o->incident ? json_integer(o->incident) : json_null());
	put(j, "reason", answer_text(o->reason));
	return j;
}

json_t *answer_audit(const struct audit_row *a)
{
	json_t *j = json_object();

	put(j, "time", json_integer(a->time));
	put(j, "who", answer_text(a->who));
	put(j, "tty", answer_text(a->tty));
	put(j, "action", answer_text(a->action));
	put(j, "what", answer_text(a->what));
	put(j, "count", json_integer(a->count));
	put(j, "detail", answer_text(a->detail));
	return j;
}

json_t *answer_finding(const struct finding *f)
{
	json_t *j = json_object();
	char id[32] = "";

	if (f->id != 0)
		(void)snprintf(id, sizeof id, "m%lld", (long long)f->id);
	put(j, "what", json_string(f->what));
	put(j, "id", json_string(id));
	put(j, "path", answer_text(f->path));
	put(j, "safe", json_boolean(f->safe));
	put(j, "repaired", json_boolean(f->repaired));
	return j;
}

int emit_row(struct emit *emit, json_t *row, int fd)
{
	return emit->put(emit, json_pack("{s:o}", "row", row), fd);
}

int emit_failed(struct emit *emit, const char *id, const char *why)
{
	return emit->put(emit, json_pack("{s:{s:s,s:o}}", "failed", "id", id, "why", answer_text(why)), -1);
}

int emit_progress(struct emit *emit, uint64_t done, uint64_t total, const char *what)
{
	return emit->put(emit,
			 json_pack("{s:{s:I,s:I,s:s}}", "progress", "done", (json_int_t)done, "total", (json_int_t)total,
				   "what", what),
			 -1);
}

bool message_id_parse(const char *text, int64_t *id)
{
	struct slice s = slice_str(text);
	uint64_t n;

	if (!slice_drop_head(&s, SLICE("m")) || !slice_u64(s, INT64_MAX, &n) || n == 0)
		return false;
	*id = (int64_t)n;
	return true;
}

static int read_ids(const json_t *list, struct selection *out, struct err *e)
{
	size_t n = json_array_size(list);

	if (n == 0)
		return 0;
	int64_t *ids = n <= IDS_MAX ? calloc(n, sizeof *ids) : NULL;
	if (ids == NULL)
		return err_set(e, ERR_AGAIN, "too many ids: %d at most", IDS_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *text = json_string_value(json_array_get(list, i));
		if (text == NULL || !message_id_parse(text, &ids[i])) {
			free(ids);
			return err_set(e, ERR_CONFIG, "%.60s is no message id (they look like m12)", text ? text : "?");
		}
	}
	out->ids = ids;
	out->nids = n;
	return 0;
}

static const char *text_of(const json_t *args, const char *key)
{
	const char *s = json_string_value(json_object_get(args, key));

	return s != NULL && s[0] != '\0' ? s : NULL;
}

int selection_read(const json_t *args, struct selection *out, struct err *e)
{
	out->incident = json_integer_value(json_object_get(args, "incident"));
	out->origin = text_of(args, "origin");
	out->sender = text_of(args, "sender");
	out->recipient = text_of(args, "recipient");
	out->subject = text_of(args, "subject");
	out->spool = text_of(args, "spool");
	out->larger = (uint64_t)json_integer_value(json_object_get(args, "larger"));
	out->before = json_integer_value(json_object_get(args, "before"));
	out->since = json_integer_value(json_object_get(args, "since"));
	return read_ids(json_object_get(args, "ids"), out, e);
}

bool selection_empty(const struct selection *q)
{
	return q->incident == 0 && !q->origin && !q->sender && !q->recipient && !q->subject && !q->spool && q->larger == 0 &&
	       q->before == 0 && q->since == 0 && q->nids == 0;
}

void selection_text(const struct selection *q, char *out, size_t cap)
{
	size_t n = 0;
	const struct { const char *name, *value; } texts[] = {
		{ "origin", q->origin },   { "sender", q->sender }, { "recipient", q->recipient },
		{ "subject", q->subject }, { "spool", q->spool },
	};

	out[0] = '\0';
	if (q->incident != 0)
		n += (size_t)snprintf(out, cap, "incident %lld ", (long long)q->incident);
	for (size_t i = 0; i < sizeof texts / sizeof *texts && n < cap; i++)
		if (texts[i].value != NULL)
			n += (size_t)snprintf(out + n, cap - n, "%s %s ", texts[i].name, texts[i].value);
	if (q->larger != 0 && n < cap)
		n += (size_t)snprintf(out + n, cap - n, "larger %llu ", (unsigned long long)q->larger);
	if (q->before != 0 && n < cap)
		n += (size_t)snprintf(out + n, cap - n, "before @%lld ", (long long)q->before);
	if (q->since != 0 && n < cap)
		n += (size_t)snprintf(out + n, cap - n, "since @%lld ", (long long)q->since);
	for (size_t i = 0; i < q->nids && n < cap; i++)
		n += (size_t)snprintf(out + n, cap - n, "m%lld ", (long long)q->ids[i]);
	n = strlen(out);
	if (n > 0)
		out[n - 1] = '\0';
	else
		(void)snprintf(out, cap, "all");
}
