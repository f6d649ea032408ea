/* What "spoolward status" says. */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/sandbox.h"
#include "monitor/ward.h"
#include "quarantine/answer.h"

static void problem(json_t *list, const char *text)
{
	(void)json_array_append_new(list, answer_text(text));
}

static json_t *spools(struct ward *w, json_t *problems)
{
	json_t *list = json_array();
	char text[QUEUE_ID_MAX + 64];

	for (size_t i = 0; i < w->store->nplaces; i++) {
		const struct ward_spool *s = &w->spools[i];
		const struct brief *b = &w->store->places[i].brief;
		const char *state = !s->told ? "starting" : !s->up ? "down" : s->blind ? "scanned" : "watched";
		(void)json_array_append_new(list, json_pack("{s:s,s:s,s:o,s:s,s:I,s:o}", "name", b->name, "format", b->format,
							    "path", answer_text(b->root), "state", state, "queued",
							    (json_int_t)w->roster.queued[i], "detail", answer_text(s->why)));
		if (!s->told || (s->up && !s->blind))
			continue;
		(void)snprintf(text, sizeof text, "spool %s is %s: %s", b->name, s->up ? "only scanned" : "not there", s->why);
		problem(problems, text);
	}
	return list;
}

static json_t *role(const char *name, pid_t pid, uint32_t restarts)
{
	return json_pack("{s:s,s:i,s:I}", "name", name, "pid", (int)pid, "restarts", (json_int_t)restarts);
}

json_t *ward_status(struct ward *w)
{
	json_t *row = json_object(), *problems = json_array(), *roles = json_array();
	char text[400];
	uint64_t open = 0;
	const struct roles *r = &w->roles;

	for (size_t i = 0; i < w->nincidents; i++)
		open += w->incidents[i].rec.id != 0;
	(void)json_object_set_new(row, "running", json_true());
	(void)json_object_set_new(row, "mode", json_string(mode_names[w->conf->mode]));
	(void)json_object_set_new(row, "version", json_string(VERSION));
	json_t *list = spools(w, problems);
	const struct { const char *key; uint64_t v; } numbers[] = {
		{ "queued", w->roster.nmessages },
		{ "held", atomic_load(&w->store->held_messages) },
		{ "held_bytes", atomic_load(&w->store->held_bytes) },
		{ "taking", take_waiting(w->taker) },
		{ "incidents_open", open },
		{ "events", w->events },
		{ "unseen", w->unseen },
		{ "rescans", w->rescans },
		{ "overflows", w->overflows },
		{ "hostile", w->hostile + r->hostile },
		{ "origins", w->roster.norigins },
		{ "origins_evicted", w->roster.evicted },
	};
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		(void)json_object_set_new(row, numbers[i].key, json_integer((json_int_t)numbers[i].v));
	(void)json_object_set_new(row, "blind_since", w->blind_since_s ? json_integer(w->blind_since_s) : json_null());
	(void)json_array_append_new(roles, role("ward", getpid(), 0));
	(void)json_array_append_new(roles, role("watch", r->watch, r->restarts));
	(void)json_array_append_new(roles, role("sift", r->sift, r->restarts));
	if (r->watch <= 0 || r->sift <= 0)
		problem(problems, "the watching roles are down");
	if (w->hook.wanted && w->hook.pid == 0)
		problem(problems, "the process that runs on_incident has died: restart the service");
	if (w->hook.dropped > 0)
		problem(problems, "on_incident is too slow: incidents were not told to it");
	if (w->full) {
		(void)snprintf(text, sizeof text, "the quarantine cannot take more: %s", w->full_why);
		problem(problems, text);
	}
	take_trouble(w->taker, text, sizeof text);
	if (text[0] != '\0')
		problem(problems, text);
	keeper_trouble(w->keeper, text, sizeof text);
	if (text[0] != '\0')
		problem(problems, text);
	(void)json_object_set_new(row, "fences", json_string(sandbox_missing()[0] ? sandbox_missing() : "all"));
	(void)json_object_set_new(row, "spools", list);
	(void)json_object_set_new(row, "roles", roles);
	(void)json_object_set_new(row, "problems", problems);
	return row;
}
