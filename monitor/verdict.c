/* The rules: which reading is over which limit, and what becomes of it. */
#include <fnmatch.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "monitor/ward.h"

/* A reading of one rule's window. */
static uint64_t count(enum count_kind kind, const struct tally *t)
{
	switch (kind) {
	case COUNT_RECIPIENTS:
		return t->recipients;
	case COUNT_MESSAGES:
		return t->messages;
	case COUNT_BYTES:
		return t->bytes;
	case COUNT_KINDS:
		break;
	}
	return 0;
}

/* ---- overrides ---- */

static bool pattern_matches(const char *pattern, const char *name, bool *exact)
{
	struct slice p = slice_str(pattern), n = slice_str(name);
	struct net outer, inner;

	*exact = slice_ieq(p, n);
	if (*exact)
		return true;
	if (slice_drop_head(&p, SLICE("client:")) && slice_drop_head(&n, SLICE("client:")) && net_parse(p, &outer) &&
	    net_parse(n, &inner))
		return net_contains(&outer, &inner);
	return fnmatch(pattern, name, FNM_CASEFOLD) == 0;
}

/* Looked up once per origin and configuration: exact before pattern, else the first in the file. */
static void find_override(const struct ward *w, struct origin *o)
{
	o->override = 0;
	o->override_exact = 0;
	o->override_age = w->conf_age;
	for (size_t i = 0; i < w->conf->noverrides; i++)
		for (char **p = w->conf->overrides[i].match; *p != NULL; p++) {
			bool exact;
			if (!pattern_matches(*p, o->name, &exact) || (o->override != 0 && (!exact || o->override_exact)))
				continue;
			o->override = (uint16_t)(i + 1);
			o->override_exact = exact;
		}
}

/* Account before sender and domain before client. */
static int rank(const struct origin *o)
{
	static const int ranks[ORIGIN_KINDS] = { [ORIGIN_LOGIN] = 3, [ORIGIN_SCRIPT] = 3, [ORIGIN_UID] = 3,
						 [ORIGIN_SENDER] = 2, [ORIGIN_DOMAIN] = 2, [ORIGIN_CLIENT] = 1 };

	return ranks[o->kind] + (o->override_exact ? 10 : 0);
}

static const struct conf_override *override_of(struct ward *w, const uint32_t *origins, size_t n)
{
	const struct conf_override *best = NULL;
	int64_t now = w->conf->noverrides > 0 ? clock_real_s() : 0;
	int best_rank = -1;

	for (size_t i = 0; w->conf->noverrides > 0 && i < n; i++) {
		if (origins[i] == ORIGIN_NONE)
			continue;
		struct origin *o = &w->roster.origins[origins[i]];
		if (o->override_age != w->conf_age)
			find_override(w, o);
		if (o->override == 0 || rank(o) <= best_rank)
			continue;
		const struct conf_override *v = &w->conf->overrides[o->override - 1];
		if (v->until_s != 0 && now >= v->until_s)
			continue;
		best = v;
		best_rank = rank(o);
	}
	return best;
}

static uint64_t limit_of(const struct conf_rule *rule, const struct conf_override *v)
{
	for (size_t i = 0; v != NULL && i < v->nlimits; i++)
		if (strcmp(v->limits[i].rule, rule->name) == 0)
			return v->limits[i].limit;
	return rule->limit;
}

/* ---- incidents ---- */

struct open_incident *incident_of(struct ward *w, uint32_t origin)
{
	uint32_t at = w->roster.origins[origin].incident;

	return at == 0 ? NULL : &w->incidents[at - 1];
}

static struct open_incident *incident_new(struct ward *w, uint32_t origin)
{
	size_t at = 0;

	while (at < w->nincidents && w->incidents[at].rec.id != 0)
		at++;
	if (at == w->nincidents) {
		size_t cap = w->nincidents ? w->nincidents * 2 : 16;
		struct open_incident *more = realloc(w->incidents, cap * sizeof *more);
		if (more == NULL)
			return NULL;
		memset(more + w->nincidents, 0, (cap - w->nincidents) * sizeof *more);
		w->incidents = more;
		w->nincidents = cap;
	}
	struct open_incident *i = &w->incidents[at];
	memset(i, 0, sizeof *i);
	i->rec.id = w->next_incident++;
	i->rec.since = clock_real_s();
	i->opened_ms = clock_boot_ms();
	i->origin = origin;
	(void)slice_text(i->rec.origin, sizeof i->rec.origin, slice_str(w->roster.origins[origin].name));
	w->roster.origins[origin].incident = (uint32_t)at + 1;
	return i;
}

void incident_alert(struct ward *w, struct open_incident *i, const char *state)
{
	const struct incident *r = &i->rec;
	char origin[ORIGIN_TEXT * 2], since[CLOCK_TEXT], would[64] = "";

	(void)escape_text(origin, sizeof origin, slice_str(r->origin), ESCAPE_QUOTED);
	clock_text(r->since, since);
	if (r->would_take > 0)
		(void)snprintf(would, sizeof would, " would_take=%llu", (unsigned long long)r->would_take);
	log_warn("incident=%lld state=%s origin=\"%s\" rule=%s recipients=%llu limit=%llu per=%lld since=%s taken=%llu "
		 "gone=%llu%s clients=%llu next=\"spoolward show %lld\"",
		 (long long)r->id, state, origin, r->rule, (unsigned long long)r->recipients, (unsigned long long)r->limit,
		 (long long)r->per_s, since, (unsigned long long)i->taken, (unsigned long long)i->gone, would,
		 (unsigned long long)r->clients, (long long)r->id);
	i->rec.taken = i->taken;
	i->rec.gone = i->gone;
	/* the hook hears of stages, not of growth */
	if (!i->announced || i->rec.closed != 0)
		hook_tell(&w->hook, r, state);
	i->announced = true;
	i->grown = false;
	i->alerted_ms = clock_boot_ms();
}

/* rec: the incident that means it, written with it; NULL for none. */
void origin_hold(struct ward *w, uint32_t origin, enum origin_hold state, int64_t until_s, const struct incident *rec,
		 const char *by, const char *reason)
{
	struct origin *o = &w->roster.origins[origin];
	struct origin_row row = { .state = state, .since = clock_real_s(), .until = until_s, .incident = rec ? rec->id : 0 };

	o->state = (uint8_t)state;
	o->until_s = until_s;
	(void)slice_text(row.origin, sizeof row.origin, slice_str(o->name));
	(void)slice_text(row.by, sizeof row.by, slice_str(by));
	(void)slice_text(row.reason, sizeof row.reason, slice_str(reason));
	if (rec != NULL)
		keeper_hold(w->keeper, rec, &row);
	else
		keeper_origin(w->keeper, &row);
	if (state == HOLD_HELD)
		sweep_due(w);
}

void incident_close(struct ward *w, struct open_incident *i, const char *why)
{
	i->rec.closed = i->rec.updated = clock_real_s();
	(void)snprintf(i->rec.state, sizeof i->rec.state, "closed");
	if (!i->announced)
		incident_alert(w, i, "opened");
	incident_alert(w, i, "closed");
	log_info("incident=%lld closed: %s", (long long)i->rec.id, why);
	keeper_incident(w->keeper, &i->rec);
	w->roster.origins[i->origin].incident = 0;
	memset(i, 0, sizeof *i);
}

/* alert < observed < quarantined: an incident only rises. */
static int stage_of(const char *state)
{
	return strcmp(state, "quarantined") == 0 ? 2 : strcmp(state, "observed") == 0 ? 1 : 0;
}

static void set_rule(struct open_incident *i, const struct conf_rule *rule, uint64_t limit, const struct tally *t)
{
	(void)slice_text(i->rec.rule, sizeof i->rec.rule, slice_str(rule->name));
	i->rec.limit = limit;
	i->rec.per_s = rule->per_s;
	(void)snprintf(i->rec.reason, sizeof i->rec.reason, "%llu %s in %llds, the limit of rule %s is %llu",
		       (unsigned long long)count(rule->count, t), count_kind_names[rule->count], (long long)rule->per_s,
		       rule->name, (unsigned long long)limit);
}

static void breach(struct ward *w, uint32_t origin, const struct conf_rule *rule, uint64_t limit, const struct tally *t)
{
	struct open_incident *i = incident_of(w, origin);
	bool enforce = w->conf->mode == MODE_ENFORCE;
	const char *state = rule->action == ACTION_ALERT ? "alerted" : enforce ? "quarantined" : "observed";

	if (i != NULL && stage_of(state) <= stage_of(i->rec.state))
		return;
	bool fresh = i == NULL;
	if (fresh) {
		i = incident_new(w, origin);
		if (i == NULL)
			return;
		i->rec.recipients = t->recipients;
		i->rec.messages = t->messages;
	}
	set_rule(i, rule, limit, t);
	(void)snprintf(i->rec.state, sizeof i->rec.state, "%s", state);
	(void)snprintf(i->rec.mode, sizeof i->rec.mode, "%s", mode_names[w->conf->mode]);
	i->rec.updated = clock_real_s();
	i->changed = true;
	if (strcmp(state, "observed") == 0)
		i->rec.would_take = w->roster.origins[origin].queued;
	i->announced = false; /* a change of stage is a line of its own, after its sweep */
	i->opened_ms = clock_boot_ms();
	if (strcmp(state, "quarantined") == 0)
		origin_hold(w, origin, HOLD_HELD, 0, &i->rec, "spoolwardd", rule->name);
	else
		keeper_incident(w->keeper, &i->rec);
}

/* One more message of an origin that has an incident. */
static void grow(struct ward *w, struct open_incident *i, const struct message *m, const struct tally *t)
{
	i->rec.recipients += t->recipients;
	i->rec.messages += t->messages;
	i->rec.updated = clock_real_s();
	if (strcmp(i->rec.state, "observed") == 0)
		i->rec.would_take++;
	i->changed = i->grown = true;
	for (unsigned k = 0; m != NULL && k < ORIGINS_MAX; k++) {
		uint32_t c = m->origin[k], n = 0;
		if (c == ORIGIN_NONE || w->roster.origins[c].kind != ORIGIN_CLIENT || c == i->origin)
			continue;
		while (n < i->nclients && i->clients[n] != c)
			n++;
		if (n == i->nclients && n < CLIENTS_COUNTED)
			i->clients[i->nclients++] = c;
		i->rec.clients = i->nclients;
	}
}

void verdict(struct ward *w, struct message *m, const uint32_t *origins, size_t n, const struct tally *add,
	     int64_t when_ms)
{
	const struct conf_override *v = override_of(w, origins, n);
	int64_t now_ms = clock_boot_ms();

	m->excused = v != NULL && v->exempt;
	bool trusted = m->accountable && w->roster.origins[m->origin[0]].state == HOLD_TRUSTED;
	for (size_t k = 0; k < n; k++) {
		if (origins[k] == ORIGIN_NONE)
			continue;
		/* what an excused account sends does not weigh on its domain either */
		if (k > 0 && (m->excused || trusted))
			break;
		struct origin *o = &w->roster.origins[origins[k]];
		if (!trail_add(&o->trail, when_ms, add))
			w->failures++;
		o->last_ms = now_ms;
		struct open_incident *i = incident_of(w, origins[k]);
		if (i != NULL)
			grow(w, i, m, add);
		if (o->state == HOLD_TRUSTED || m->excused)
			continue;
		for (size_t r = 0; r < w->conf->nrules; r++) {
			const struct conf_rule *rule = &w->conf->rules[r];
			if (!(rule->origins & 1u << o->kind))
				continue;
			struct tally t = trail_since(&o->trail, now_ms - rule->per_s * 1000);
			uint64_t limit = limit_of(rule, v);
			if (count(rule->count, &t) > limit)
				breach(w, origins[k], rule, limit, &t);
		}
	}
	w->changed = true;
}

/* An incident that only alerts ends by itself when the reading has come down to half of the limit. */
static bool calm(const struct ward *w, const struct open_incident *i, int64_t now_ms)
{
	for (size_t r = 0; r < w->conf->nrules; r++) {
		const struct conf_rule *rule = &w->conf->rules[r];
		if (strcmp(rule->name, i->rec.rule) != 0)
			continue;
		struct tally t = trail_since(&w->roster.origins[i->origin].trail, now_ms - rule->per_s * 1000);
		return count(rule->count, &t) <= i->rec.limit / 2;
	}
	return true; /* the rule is no longer in the configuration */
}

void incident_tick(struct ward *w, int64_t now_ms)
{
	for (size_t k = 0; k < w->nincidents; k++) {
		struct open_incident *i = &w->incidents[k];
		if (i->rec.id == 0)
			continue;
		/* the first line tells what was done, so it waits for the first sweep, but not for long */
		bool swept = !w->sweep.due && take_waiting(w->taker) == 0;
		if (!i->announced && (swept || now_ms - i->opened_ms > 3000))
			incident_alert(w, i, i->rec.state);
		else if (i->announced && i->grown && now_ms - i->alerted_ms >= w->conf->alert_every_s * 1000)
			incident_alert(w, i, i->rec.state);
		if (stage_of(i->rec.state) < 2 && calm(w, i, now_ms)) {
			incident_close(w, i, "the rate came down");
			continue;
		}
		if (i->changed) {
			i->changed = false;
			keeper_incident(w->keeper, &i->rec);
		}
	}
}
