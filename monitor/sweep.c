/* Taking: at once for what arrives, in parts for what is queued already. */
#include <stdio.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "monitor/ward.h"

#define SWEEP_BUCKETS 4096
#define SWEEP_CLAIMS 64 /* between two looks at what arrives */

/* Held by the accountable origin, or by a local user, sender or domain that could not be forged: not by the client of a
 * login, behind which others may sit. A trusted or exempt account's mail is not held for what its domain did. */
bool message_held(const struct ward *w, const struct message *m, uint32_t *origin)
{
	for (unsigned k = 0; k < ORIGINS_MAX; k++) {
		if (m->origin[k] == ORIGIN_NONE)
			continue;
		const struct origin *o = &w->roster.origins[m->origin[k]];
		if (o->state != HOLD_HELD || (k > 0 && o->kind == ORIGIN_CLIENT))
			continue;
		if (k > 0 && (m->excused || (m->accountable && w->roster.origins[m->origin[0]].state == HOLD_TRUSTED)))
			return false;
		*origin = m->origin[k];
		return true;
	}
	return false;
}

void sweep_due(struct ward *w)
{
	w->sweep.again = w->sweep.due;
	w->sweep.due = true;
}

static bool room(struct ward *w)
{
	int64_t now = clock_boot_ms();

	w->full = !store_room(w->store, w->coming, w->coming_bytes, w->full_why, sizeof w->full_why);
	if (w->full && now - w->full_said_ms > w->conf->alert_every_s * 1000) {
		w->full_said_ms = now;
		log_error("the quarantine cannot take more, mail stays with the MTA: %s", w->full_why);
	}
	w->sweep.left = w->sweep.left || w->full; /* the rest when there is room again */
	return !w->full;
}

void message_take(struct ward *w, struct message *m, uint32_t origin)
{
	struct place *p = &w->store->places[m->spool];
	struct slice id = { m->id, m->id_n };
	struct open_incident *i = incident_of(w, origin);
	struct claimed c;
	struct err e;

	if (w->conf->mode != MODE_ENFORCE || !(p->format->dirs[m->dir].traits & DIR_TAKE) || !room(w))
		return;
	bool wait = (m->flags & CARD_NOT_BUSY) != 0 || (m->busy_s != 0 && clock_real_s() >= m->busy_s);
	switch (place_claim(p, m->dir, m->depth, id, m->ino, wait, &c, &e)) {
	case CLAIM_DONE:
		roster_state(&w->roster, m, MESSAGE_TAKEN, clock_boot_ms());
		m->was_taken = true;
		w->coming++;
		w->coming_bytes += (uint64_t)c.st.st_size;
		if (take_add(w->taker, m->spool, c.name, c.dir, c.depth, id, i ? i->rec.id : 0,
			     w->roster.origins[m->accountable ? m->origin[0] : origin].name, 0) != 0)
			log_error("no memory for %s: it waits in the stage for the next start", c.name);
		keeper_wake(w->keeper);
		break;
	case CLAIM_GONE:
		/* a late word of a message that is ours already is no second loss, and one loss is told once */
		roster_state(&w->roster, m, m->was_taken ? MESSAGE_TAKEN : MESSAGE_GONE, clock_boot_ms());
		if (i != NULL && !m->was_taken && !m->missed) {
			m->missed = true;
			i->gone++;
			i->rec.missed++;
			i->changed = i->grown = true;
		}
		break;
	case CLAIM_DOWN:
		break; /* the spool is away: it is looked at when it comes back */
	case CLAIM_WAIT: /* its next move asks again */
		m->state = MESSAGE_WAITING;
		break;
	case CLAIM_FAILED:
		w->failures++;
		if (e.kind != ERR_HOSTILE && i != NULL)
			w->sweep.left = true;
		log_warn("spool %s: %s", p->brief.name, e.text);
		break;
	}
}

struct sweeping {
	struct ward *w;
	unsigned claims;
};

static void sweep_one(void *arg, struct message *m)
{
	struct sweeping *s = arg;
	uint32_t origin;

	if (m->state != MESSAGE_FREE || m->dir != s->w->sweep.dir || !message_held(s->w, m, &origin))
		return;
	s->claims++;
	message_take(s->w, m, origin);
}

/* Directory after directory, in the order in which mail moves: what would leave soonest goes first. A message that
 * moves behind the sweep's back is met by its own event. */
bool ward_sweep(struct ward *w)
{
	struct sweeping s = { w, 0 };
	unsigned ndirs = 0;

	if (!w->sweep.due)
		return false;
	for (size_t i = 0; i < w->store->nplaces; i++)
		if (w->store->places[i].format->ndirs > ndirs)
			ndirs = (unsigned)w->store->places[i].format->ndirs;
	for (unsigned step = 0; step < SWEEP_BUCKETS / 16 && s.claims < SWEEP_CLAIMS; step++) {
		if (roster_walk(&w->roster, &w->sweep.at, 16, sweep_one, &s))
			continue;
		w->sweep.at = 0;
		if (++w->sweep.dir < ndirs)
			continue;
		w->sweep.dir = 0;
		w->sweep.due = w->sweep.again;
		w->sweep.again = false;
		return w->sweep.due;
	}
	return true;
}
