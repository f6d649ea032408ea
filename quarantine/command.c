#include "quarantine/command.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "quarantine/answer.h"
#include "quarantine/origin.h"
#include "quarantine/release.h"

#define ORIGINS_NAMED 32
#define TOP_ROWS 10
#define TERM_MOST_S (100LL * 366 * 86400)
#define HELD_STATES (1u << ROW_HELD | 1u << ROW_UNCERTAIN)
#define HERE_STATES (HELD_STATES | 1u << ROW_TAKING | 1u << ROW_STAGED | 1u << ROW_RELEASING | 1u << ROW_PURGING)
#define ALL_STATES ((1u << ROW_STATES) - 1)

/* What every command has at hand; why: the story of a failure for "end". */
struct run {
	struct store *store;
	const struct caller *caller;
	json_t *args;
	struct emit *emit;
	uint64_t done, failed, bytes;
	char message[600];
};

static int refuse(struct run *r, int code, const char *text)
{
	(void)slice_text(r->message, sizeof r->message, slice_str(text));
	return code;
}

static int refuse_err(struct run *r, const struct err *e)
{
	return refuse(r, e->kind == ERR_CONFIG ? CODE_USAGE : CODE_PARTLY, e->text);
}

static void audit(struct run *r, const char *action, const char *what, uint64_t count, const char *detail)
{
	struct audit_row a = { .time = clock_real_s(), .count = (int64_t)count };
	struct err e;

	(void)slice_text(a.who, sizeof a.who, slice_str(r->caller->who));
	(void)slice_text(a.tty, sizeof a.tty, slice_str(r->caller->tty));
	(void)slice_text(a.action, sizeof a.action, slice_str(action));
	(void)slice_text(a.what, sizeof a.what, slice_str(what));
	(void)slice_text(a.detail, sizeof a.detail, slice_str(detail));
	if (ledger_audit(r->store->ledger, &a, &e) != 0)
		log_error("audit trail: %s", e.text);
	log_notice("action=%s who=\"%s\" uid=%u what=\"%s\" count=%llu", action, a.who, (unsigned)r->caller->uid, what,
		   (unsigned long long)count);
}

/* ---- reading ---- */

static int each_row(void *arg, struct row *row)
{
	struct run *r = arg;

	r->done++;
	return emit_row(r->emit, answer_message(row, false), -1) == 0 ? 0 : 1;
}

static int run_list(struct run *r)
{
	struct selection q = { .states = HERE_STATES };
	struct err e;

	if (selection_read(r->args, &q, &e) != 0)
		return refuse_err(r, &e);
	if (q.nids > 0)
		q.states = ALL_STATES;
	int rc = ledger_each(r->store->ledger, &q, each_row, r, &e);
	free((void *)(size_t)q.ids);
	if (rc < 0)
		return refuse_err(r, &e);
	return r->done > 0 ? CODE_DONE : refuse(r, CODE_NOTHING, "no held message matches");
}

static int each_incident(void *arg, const struct incident *i)
{
	struct run *r = arg;

	r->done++;
	return emit_row(r->emit, answer_incident(i), -1) == 0 ? 0 : 1;
}

static int run_incidents(struct run *r)
{
	bool all = json_is_true(json_object_get(r->args, "all"));
	struct err e;

	if (ledger_incidents(r->store->ledger, all, each_incident, r, &e) < 0)
		return refuse_err(r, &e);
	return r->done > 0 ? CODE_DONE : refuse(r, CODE_NOTHING, all ? "no incident yet" : "no open incident");
}

struct top {
	json_t *list;
	const char *key;
};

static int each_top(void *arg, const char *value, uint64_t count)
{
	struct top *t = arg;
	json_t *one = json_pack("{s:I}", "count", (json_int_t)count);

	(void)json_object_set_new(one, t->key, answer_text(value));
	(void)json_array_append_new(t->list, one);
	return 0;
}

static void put_top(struct run *r, json_t *row, int64_t incident, const char *name, const char *column)
{
	struct top t = { json_array(), column };
	struct err e;

	(void)ledger_top(r->store->ledger, incident, column, TOP_ROWS, each_top, &t, &e);
	(void)json_object_set_new(row, name, t.list);
}

static int each_timeline(void *arg, const struct audit_row *a)
{
	json_t *list = arg;

	(void)json_array_append_new(list, json_pack("{s:I,s:o,s:o,s:I,s:o}", "time", (json_int_t)a->time, "action",
						    answer_text(a->action), "who", answer_text(a->who), "count",
						    (json_int_t)a->count, "detail", answer_text(a->detail)));
	return 0;
}

static int show_incident(struct run *r, int64_t id)
{
	struct incident i;
	struct err e;
	char what[48];
	int found = ledger_incident_get(r->store->ledger, id, &i, &e);

	if (found < 0)
		return refuse_err(r, &e);
	if (found == 0)
		return refuse(r, CODE_NOTHING, "there is no such incident");
	json_t *row = answer_incident(&i), *timeline = json_array();
	put_top(r, row, id, "subjects", "subject");
	put_top(r, row, id, "senders", "sender");
	put_top(r, row, id, "clients_top", "client");
	put_top(r, row, id, "sizes", "size");
	struct selection q = { .incident = id, .states = ALL_STATES };
	struct ledger_sum sum;
	if (ledger_sum(r->store->ledger, &q, &sum, &e) == 0)
		(void)json_object_set_new(row, "bytes", json_integer((json_int_t)sum.bytes));
	(void)snprintf(what, sizeof what, "incident %lld *", (long long)id);
	(void)json_array_append_new(timeline, json_pack("{s:I,s:s,s:s}", "time", (json_int_t)i.since, "action", "opened",
							"detail", i.rule));
	(void)ledger_audits(r->store->ledger, i.since, 0, what, each_timeline, timeline, &e);
	if (i.closed != 0)
		(void)json_array_append_new(timeline, json_pack("{s:I,s:s}", "time", (json_int_t)i.closed, "action", "closed"));
	(void)json_object_set_new(row, "timeline", timeline);
	r->done = 1;
	return emit_row(r->emit, row, -1) == 0 ? CODE_DONE : CODE_PARTLY;
}

static int show_message(struct run *r, int64_t id)
{
	struct row row;
	struct err e;
	int found = ledger_get(r->store->ledger, id, &row, &e);

	if (found < 0)
		return refuse_err(r, &e);
	if (found == 0)
		return refuse(r, CODE_NOTHING, "there is no such message");
	bool here = row.state == ROW_HELD || row.state == ROW_UNCERTAIN;
	own_fd fd = here ? cell_open_file(&r->store->cells, id, CELL_FILE, &e) : -1;
	r->done = 1;
	int rc = emit_row(r->emit, answer_message(&row, true), fd);
	row_free(&row);
	if (here && fd < 0)
		return refuse_err(r, &e);
	return rc == 0 ? CODE_DONE : CODE_PARTLY;
}

static int run_show(struct run *r)
{
	const char *id = json_string_value(json_object_get(r->args, "id"));
	uint64_t incident;
	int64_t message;

	if (id != NULL && message_id_parse(id, &message))
		return show_message(r, message);
	if (id != NULL && slice_u64(slice_str(id), INT64_MAX, &incident))
		return show_incident(r, (int64_t)incident);
	return refuse(r, CODE_USAGE, "show what? an incident (7) or a message (m12)");
}

static int run_count(struct run *r)
{
	struct selection q = { .states = HELD_STATES };
	struct ledger_sum sum;
	struct err e;

	if (selection_read(r->args, &q, &e) != 0)
		return refuse_err(r, &e);
	int rc = ledger_sum(r->store->ledger, &q, &sum, &e);
	free((void *)(size_t)q.ids);
	if (rc != 0)
		return refuse_err(r, &e);
	r->done = sum.messages;
	(void)emit_row(r->emit,
		       json_pack("{s:I,s:I,s:I,s:I}", "messages", (json_int_t)sum.messages, "bytes", (json_int_t)sum.bytes,
				 "origins", (json_int_t)sum.origins, "last", (json_int_t)sum.last),
		       -1);
	return sum.messages > 0 ? CODE_DONE : refuse(r, CODE_NOTHING, "no held message matches");
}

static int each_origin(void *arg, const struct origin_row *o)
{
	struct run *r = arg;

	r->done++;
	return emit_row(r->emit, answer_origin(o), -1) == 0 ? 0 : 1;
}

static int run_origins(struct run *r)
{
	struct err e;

	if (ledger_origins(r->store->ledger, each_origin, r, &e) < 0)
		return refuse_err(r, &e);
	return r->done > 0 ? CODE_DONE : refuse(r, CODE_NOTHING, "no origin is held or trusted");
}

static int each_audit(void *arg, const struct audit_row *a)
{
	struct run *r = arg;

	r->done++;
	return emit_row(r->emit, answer_audit(a), -1) == 0 ? 0 : 1;
}

static int run_log(struct run *r)
{
	struct selection q = { 0 };
	struct err e;
	char what[ORIGIN_TEXT + 8], *pattern = NULL;

	if (selection_read(r->args, &q, &e) != 0)
		return refuse_err(r, &e);
	if (!selection_empty(&q) && (q.origin || q.incident || q.nids > 0 || q.sender)) {
		pattern = what;
		if (q.incident != 0)
			(void)snprintf(what, sizeof what, "*incident %lld *", (long long)q.incident);
		else if (q.nids > 0)
			(void)snprintf(what, sizeof what, "*m%lld *", (long long)q.ids[0]);
		else
			(void)snprintf(what, sizeof what, "*%.*s*", (int)ORIGIN_TEXT, q.origin ? q.origin : q.sender);
	}
	int rc = ledger_audits(r->store->ledger, q.since, q.before, pattern, each_audit, r, &e);
	free((void *)(size_t)q.ids);
	if (rc < 0)
		return refuse_err(r, &e);
	return r->done > 0 ? CODE_DONE : refuse(r, CODE_NOTHING, "nothing was done yet");
}

static int run_status(struct run *r)
{
	const struct store_hooks *h = &r->store->hooks;
	json_t *row = h->status != NULL ? h->status(h->arg) : NULL;

	if (row == NULL)
		return refuse(r, CODE_NOT_RUNNING, "the daemon is not running");
	r->done = 1;
	bool healthy = json_array_size(json_object_get(row, "problems")) == 0;
	(void)emit_row(r->emit, row, -1);
	return healthy ? CODE_DONE : CODE_PARTLY;
}

static int each_finding(void *arg, const struct finding *f)
{
	struct run *r = arg;

	r->done++;
	r->failed += !f->repaired;
	return emit_row(r->emit, answer_finding(f), -1) == 0 ? 0 : 1;
}

static int run_fsck(struct run *r)
{
	bool repair = json_is_true(json_object_get(r->args, "repair"));
	struct err e;

	if (repair && r->caller->uid != 0 && r->caller->uid != geteuid())
		return refuse(r, CODE_DENIED, "--repair is for the owner of the store");
	if (fsck(r->store, repair, each_finding, r, &e) < 0)
		return refuse_err(r, &e);
	if (repair)
		audit(r, "fsck", "repair", r->done, "");
	(void)snprintf(r->message, sizeof r->message, "%llu findings, %llu left", (unsigned long long)r->done,
		       (unsigned long long)r->failed);
	return r->failed > 0 ? CODE_PARTLY : CODE_DONE;
}

/* ---- changing ---- */

struct chosen {
	int64_t *ids;
	size_t n, cap;
	char origins[ORIGINS_NAMED][ORIGIN_TEXT];
	size_t norigins;
	bool many;    /* more origins than are named */
	int64_t last; /* nothing with a higher id; 0: any */
};

static int choose_row(void *arg, struct row *row)
{
	struct chosen *c = arg;
	size_t i;

	if (c->last != 0 && row->id > c->last)
		return 0;
	if (c->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 1024;
		int64_t *more = realloc(c->ids, cap * sizeof *more);
		if (more == NULL)
			return -1;
		c->ids = more;
		c->cap = cap;
	}
	c->ids[c->n++] = row->id;
	for (i = 0; i < c->norigins && strcmp(c->origins[i], row->origin) != 0; i++)
		;
	c->many = c->many || i == ORIGINS_NAMED;
	if (i == c->norigins && i < ORIGINS_NAMED)
		memcpy(c->origins[c->norigins++], row->origin, ORIGIN_TEXT);
	return 0;
}

static int choose(struct run *r, struct chosen *c, char *what, size_t cap, struct err *e)
{
	struct selection q = { .states = HELD_STATES };

	if (selection_read(r->args, &q, e) != 0)
		return -1;
	if (selection_empty(&q) && !json_is_true(json_object_get(r->args, "all")))
		return err_set(e, ERR_CONFIG, "say which messages, or --all");
	selection_text(&q, what, cap);
	int rc = ledger_each(r->store->ledger, &q, choose_row, c, e);
	free((void *)(size_t)q.ids);
	return rc;
}

typedef int batch_fn(struct store *, const int64_t *ids, size_t n, struct move_result *, struct err *);

static void pause_for(uint64_t ms)
{
	struct timespec t = { (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 };

	(void)clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

/* Batch after batch until all are done, or the one who asked went away. drip: messages a minute, 0 without limit. */
static int move_all(struct run *r, const struct chosen *c, batch_fn *batch, const char *what, uint64_t drip)
{
	struct move_result results[MOVE_BATCH];
	struct err e;
	char id[32];
	size_t step = drip == 0 ? MOVE_BATCH : 1;

	for (size_t at = 0; at < c->n; at += step) {
		size_t n = c->n - at < step ? c->n - at : step;
		if (batch(r->store, c->ids + at, n, results, &e) < 0)
			return refuse_err(r, &e);
		for (size_t i = 0; i < n; i++) {
			if (results[i].why[0] == '\0') {
				r->done++;
				r->bytes += results[i].bytes;
				continue;
			}
			r->failed++;
			(void)snprintf(id, sizeof id, "m%lld", (long long)c->ids[at + i]);
			(void)emit_failed(r->emit, id, results[i].why);
		}
		if (emit_progress(r->emit, at + n, c->n, what) != 0)
			return refuse(r, CODE_PARTLY, "the one who asked went away");
		if (drip > 0 && at + n < c->n)
			pause_for(60000 / drip);
	}
	return r->failed > 0 ? CODE_PARTLY : CODE_DONE;
}

struct whose {
	struct store *store;
	const char *origin;
};

static int close_incident(void *arg, const struct incident *i)
{
	struct whose *who = arg;
	struct incident closed = *i;
	struct err e;

	if (strcmp(i->origin, who->origin) != 0)
		return 0;
	closed.closed = closed.updated = clock_real_s();
	(void)snprintf(closed.state, sizeof closed.state, "closed");
	return ledger_incident_put(who->store->ledger, &closed, &e);
}

/* Writes an origin's new state and tells the daemon; without a daemon the incident is closed here. */
static int set_origin(struct run *r, const char *origin, enum origin_hold state, int64_t for_s, struct err *e)
{
	struct origin_row o = { .state = state, .since = clock_real_s() };
	struct whose who = { r->store, origin };

	o.until = for_s > 0 ? o.since + (for_s < TERM_MOST_S ? for_s : TERM_MOST_S) : 0;
	(void)slice_text(o.origin, sizeof o.origin, slice_str(origin));
	(void)slice_text(o.by, sizeof o.by, slice_str(r->caller->who));
	(void)snprintf(o.reason, sizeof o.reason, "by hand");
	if (ledger_origin_put(r->store->ledger, &o, e) != 0)
		return -1;
	if (r->store->hooks.origin_changed != NULL)
		r->store->hooks.origin_changed(r->store->hooks.arg, &o);
	else if (state != HOLD_HELD && (ledger_incidents(r->store->ledger, false, close_incident, &who, e) < 0 ||
					ledger_trail_forget(r->store->ledger, origin, e) != 0))
		return -1;
	return 0;
}

static int trust_chosen(struct run *r, const struct chosen *c, int64_t for_s, struct err *e)
{
	if (c->many)
		return err_set(e, ERR_CONFIG, "these messages have more than %d origins: trust them one by one", ORIGINS_NAMED);
	for (size_t i = 0; i < c->norigins; i++) {
		if (c->origins[i][0] == '\0')
			continue;
		if (set_origin(r, c->origins[i], HOLD_TRUSTED, for_s, e) != 0)
			return -1;
		audit(r, "trust", c->origins[i], 1, "with a release");
	}
	return 0;
}

struct still {
	const struct chosen *chosen;
	const char *held;
};

static int each_still(void *arg, const struct origin_row *o)
{
	static _Thread_local char name[ORIGIN_TEXT];
	struct still *s = arg;

	for (size_t i = 0; o->state == HOLD_HELD && i < s->chosen->norigins; i++)
		if (strcmp(o->origin, s->chosen->origins[i]) == 0) {
			memcpy(name, o->origin, sizeof name);
			s->held = name;
			return 1;
		}
	return 0;
}

/* A release does not end a hold: whoever releases should know what comes next. */
static void tell_next(struct run *r, const struct chosen *c)
{
	struct still s = { c, NULL };
	struct err e;

	if (ledger_origins(r->store->ledger, each_still, &s, &e) == 1 && s.held != NULL)
		(void)snprintf(r->message, sizeof r->message,
			       "%s is still held, what it sends next too; next: spoolward lift '%s'", s.held, s.held);
}

static int run_release(struct run *r)
{
	int64_t trust = json_integer_value(json_object_get(r->args, "trust"));
	int64_t drip = json_integer_value(json_object_get(r->args, "drip"));
	struct chosen c = { 0 };
	struct err e;
	char what[ORIGIN_TEXT];

	if (choose(r, &c, what, sizeof what, &e) != 0 || (trust > 0 && c.n > 0 && trust_chosen(r, &c, trust, &e) != 0)) {
		free(c.ids);
		return refuse_err(r, &e);
	}
	int code = c.n == 0 ? refuse(r, CODE_NOTHING, "no held message matches")
			    : move_all(r, &c, release_batch, "released", drip > 0 ? (uint64_t)drip : 0);
	free(c.ids);
	if (c.n > 0)
		audit(r, "release", what, r->done, r->failed ? "some failed" : "");
	if (code == CODE_DONE)
		tell_next(r, &c);
	return code;
}

static int run_purge(struct run *r)
{
	struct chosen c = { .last = json_integer_value(json_object_get(r->args, "last")) };
	struct err e;
	char what[ORIGIN_TEXT];

	if (choose(r, &c, what, sizeof what, &e) != 0) {
		free(c.ids);
		return refuse_err(r, &e);
	}
	int code = c.n == 0 ? refuse(r, CODE_NOTHING, "no held message matches") : move_all(r, &c, purge_batch, "purged", 0);
	free(c.ids);
	if (c.n > 0)
		audit(r, "purge", what, r->done, r->failed ? "some failed" : "");
	return code;
}

static int origin_argument(struct run *r, struct origin_name *out)
{
	const char *text = json_string_value(json_object_get(r->args, "origin"));

	if (text != NULL && origin_parse(slice_str(text), out))
		return CODE_DONE;
	return refuse(r, CODE_USAGE, "an origin looks like login:joe@example.com, uid:1001 or client:192.0.2.7");
}

static int change_origin(struct run *r, enum origin_hold state, const char *action)
{
	struct origin_name name;
	struct err e;
	int64_t for_s = json_integer_value(json_object_get(r->args, "for"));
	int code = origin_argument(r, &name);

	if (code != CODE_DONE)
		return code;
	if (state == HOLD_TRUSTED && for_s <= 0)
		return refuse(r, CODE_USAGE, "trust needs an end: --for 7d");
	if (set_origin(r, name.text, state, for_s, &e) != 0)
		return refuse_err(r, &e);
	r->done = 1;
	audit(r, action, name.text, 1, "");
	return CODE_DONE;
}

static int run_hold(struct run *r)
{
	int code = change_origin(r, HOLD_HELD, "hold");

	if (code == CODE_DONE && r->store->conf->mode == MODE_OBSERVE)
		return refuse(r, code, "noted, but mode = observe moves nothing: set mode = enforce to hold mail");
	return code;
}

static int named_origin(void *arg, const struct origin_row *o)
{
	return strcmp(arg, o->origin) == 0;
}

static int run_lift(struct run *r)
{
	struct origin_name name;
	struct err e;
	int code = origin_argument(r, &name);

	if (code != CODE_DONE)
		return code;
	int found = ledger_origins(r->store->ledger, named_origin, name.text, &e);
	if (found < 0)
		return refuse_err(r, &e);
	if (found == 0)
		return refuse(r, CODE_NOTHING, "that origin is neither held nor trusted");
	return change_origin(r, HOLD_NONE, "lift");
}

static int run_trust(struct run *r)
{
	return change_origin(r, HOLD_TRUSTED, "trust");
}

/* ---- the table ---- */

#define WRAP(name)                                                                                              \
	static int wrap_##name(struct store *s, const struct caller *c, json_t *args, struct emit *emit)        \
	{                                                                                                       \
		struct run r = { .store = s, .caller = c, .args = args, .emit = emit };                         \
		return finish(&r, run_##name(&r));                                                              \
	}

static int finish(struct run *r, int code)
{
	(void)r->emit->put(r->emit,
			   json_pack("{s:{s:i,s:I,s:I,s:I,s:o}}", "end", "code", code, "done", (json_int_t)r->done, "failed",
				     (json_int_t)r->failed, "bytes", (json_int_t)r->bytes, "message", answer_text(r->message)),
			   -1);
	return code;
}

WRAP(status)
WRAP(incidents)
WRAP(list)
WRAP(show)
WRAP(count)
WRAP(release)
WRAP(purge)
WRAP(hold)
WRAP(lift)
WRAP(trust)
WRAP(origins)
WRAP(log)
WRAP(fsck)

const struct command commands[] = {
	{ "status", ROLE_VIEWER, false, wrap_status, "health" },
	{ "incidents", ROLE_VIEWER, false, wrap_incidents, "origins over a limit" },
	{ "list", ROLE_VIEWER, false, wrap_list, "held messages" },
	{ "show", ROLE_VIEWER, false, wrap_show, "one incident or message" },
	{ "count", ROLE_VIEWER, false, wrap_count, "what a selection selects" },
	{ "origins", ROLE_VIEWER, false, wrap_origins, "who is held or trusted" },
	{ "log", ROLE_VIEWER, false, wrap_log, "who did what when" },
	{ "release", ROLE_OPERATOR, true, wrap_release, "back to the MTA" },
	{ "purge", ROLE_OPERATOR, true, wrap_purge, "destroy" },
	{ "hold", ROLE_OPERATOR, true, wrap_hold, "hold an origin by hand" },
	{ "lift", ROLE_OPERATOR, true, wrap_lift, "stop holding or trusting an origin" },
	{ "trust", ROLE_OPERATOR, true, wrap_trust, "exempt an origin for a time" },
	{ "fsck", ROLE_OPERATOR, false, wrap_fsck, "compare ledger and cells" },
	{ NULL, ROLE_VIEWER, false, NULL, NULL },
};

const struct command *command_find(const char *name)
{
	for (const struct command *c = commands; c->name != NULL; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

int command_run(const struct command *c, struct store *s, const struct caller *caller, json_t *args, struct emit *emit)
{
	return c->run(s, caller, args, emit);
}
