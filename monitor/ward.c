#include "monitor/ward.h"

#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/wire.h"
#include "monitor/sighting.h"
#include "quarantine/recover.h"

#define LINGER_S 900            /* a message that went is remembered so long */
#define RETURNED_S (10 * 86400) /* released ids are remembered so long: longer than a queue keeps mail */
#define WEEK_MS (7 * 86400000LL)
#define TICK_BUCKETS 8192
#define READER_HANGS_MS 30000

enum note_kind { NOTE_RETURNING, NOTE_SETTLED, NOTE_ORIGIN };

struct note {
	struct note *next;
	enum note_kind kind;
	uint16_t spool;
	struct queue_id id;
	uint64_t ino, old_ino, size;
	struct queue_id old_id;
	int64_t incident;
	enum row_state state;
	struct origin_row origin;
};

/* ---- from other threads ---- */

static void note(struct ward *w, struct note *n)
{
	uint64_t one = 1;

	if (n == NULL) {
		log_error("no memory for a note");
		return;
	}
	(void)pthread_mutex_lock(&w->notes_lock);
	*w->notes_last = n;
	w->notes_last = &n->next;
	(void)pthread_mutex_unlock(&w->notes_lock);
	(void)sys_write(w->notes_fd, &one, sizeof one);
}

static struct note *note_new(enum note_kind kind)
{
	struct note *n = calloc(1, sizeof *n);

	if (n != NULL)
		n->kind = kind;
	return n;
}

/* The release renames only after this has returned, so the note lies here before any card can. */
static void on_returning(void *arg, uint16_t spool, struct slice id, uint64_t ino, const struct row *was)
{
	struct note *n = note_new(NOTE_RETURNING);

	if (n != NULL) {
		n->spool = spool;
		n->ino = ino;
		n->old_ino = was->ino;
		n->old_id = was->queue_id;
		(void)queue_id_set(&n->id, id);
	}
	note(arg, n);
}

static void on_settled(void *arg, const struct row *r)
{
	struct note *n = note_new(NOTE_SETTLED);

	if (n != NULL) {
		n->incident = r->incident;
		n->state = r->state;
		n->size = r->size;
	}
	note(arg, n);
}

static void on_origin(void *arg, const struct origin_row *o)
{
	struct note *n = note_new(NOTE_ORIGIN);

	if (n != NULL)
		n->origin = *o;
	note(arg, n);
}

static json_t *on_status(void *arg)
{
	struct ward *w = arg;

	(void)pthread_mutex_lock(&w->notes_lock);
	json_t *copy = w->status != NULL ? json_deep_copy(w->status) : NULL;
	(void)pthread_mutex_unlock(&w->notes_lock);
	/* the picture is a second old; these two may have changed by the asker's own hand */
	if (copy != NULL) {
		(void)json_object_set_new(copy, "held", json_integer((json_int_t)atomic_load(&w->store->held_messages)));
		(void)json_object_set_new(copy, "held_bytes", json_integer((json_int_t)atomic_load(&w->store->held_bytes)));
	}
	return copy;
}

static struct open_incident *incident_by_id(struct ward *w, int64_t id)
{
	for (size_t i = 0; id != 0 && i < w->nincidents; i++)
		if (w->incidents[i].rec.id == id)
			return &w->incidents[i];
	return NULL;
}

static void returned(struct ward *w, uint16_t spool, struct slice id, uint64_t ino)
{
	struct message *m = roster_find(&w->roster, spool, id);

	if (m != NULL && (m->state == MESSAGE_FREE || m->state == MESSAGE_WAITING || m->state == MESSAGE_RELEASED))
		return; /* that id lives: it is another message by now */
	if (m == NULL)
		m = roster_add(&w->roster, spool, id, ino);
	if (m == NULL)
		return;
	if (ino != 0)
		m->ino = ino;
	roster_state(&w->roster, m, MESSAGE_PARDONED, clock_boot_ms());
}

/* By hand: the windows start from nothing, so that what was forgiven does not trip again. */
static void origin_by_hand(struct ward *w, const struct origin_row *row)
{
	struct origin_name name;

	if (!origin_parse(slice_str(row->origin), &name))
		return;
	uint32_t at = roster_origin(&w->roster, name.text, name.kind, clock_boot_ms());
	if (at == ORIGIN_NONE)
		return;
	struct origin *o = &w->roster.origins[at];
	struct open_incident *i = incident_of(w, at);
	o->state = (uint8_t)row->state;
	o->until_s = row->until;
	if (row->state == HOLD_HELD) {
		sweep_due(w);
		return;
	}
	trail_clear(&o->trail);
	w->changed = true;
	ward_save(w); /* or a restart would bring the old windows back */
	if (i != NULL)
		incident_close(w, i, row->state == HOLD_TRUSTED ? "trusted by hand" : "lifted by hand");
}

static void take_note(struct ward *w, const struct note *n)
{
	struct open_incident *i;

	switch (n->kind) {
	case NOTE_RETURNING:
		returned(w, n->spool, queue_id_slice(&n->id), n->ino);
		returned(w, n->spool, queue_id_slice(&n->old_id), n->old_ino);
		break;
	case NOTE_SETTLED:
		w->coming -= w->coming > 0;
		w->coming_bytes -= n->size < w->coming_bytes ? n->size : w->coming_bytes;
		i = incident_by_id(w, n->incident);
		if (i == NULL)
			break;
		i->taken += n->state != ROW_GONE;
		i->gone += n->state == ROW_GONE;
		i->grown = true;
		break;
	case NOTE_ORIGIN:
		origin_by_hand(w, &n->origin);
		break;
	}
}

void ward_notes(struct ward *w)
{
	uint64_t count;

	if (read(w->notes_fd, &count, sizeof count) != sizeof count)
		return;
	(void)pthread_mutex_lock(&w->notes_lock);
	struct note *n = w->notes;
	w->notes = NULL;
	w->notes_last = &w->notes;
	(void)pthread_mutex_unlock(&w->notes_lock);
	while (n != NULL) {
		struct note *next = n->next;
		take_note(w, n);
		free(n);
		n = next;
	}
}

/* ---- start and end ---- */

void ward_conf(struct ward *w, const struct conf *conf)
{
	w->conf = conf;
	w->store->conf = conf;
	w->conf_age++;
	w->longest_ms = 60000;
	for (size_t r = 0; r < conf->nrules; r++)
		if (conf->rules[r].per_s * 1000 > w->longest_ms)
			w->longest_ms = conf->rules[r].per_s * 1000;
	if (w->longest_ms > WEEK_MS)
		w->longest_ms = WEEK_MS;
	sweep_due(w); /* mode may be enforce now */
}

int ward_init(struct ward *w, struct store *s, struct err *e)
{
	w->store = s;
	w->notes_last = &w->notes;
	(void)pthread_mutex_init(&w->notes_lock, NULL);
	w->notes_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w->spools = calloc(s->nplaces + 1, sizeof *w->spools);
	if (w->notes_fd < 0 || w->spools == NULL || !roster_init(&w->roster, s->conf->max_origins))
		return err_sys(e, "start");
	ward_conf(w, s->conf);
	s->hooks = (struct store_hooks){ w, on_returning, on_settled, on_origin, on_status };
	w->next_incident = ledger_incident_last(s->ledger, e) + 1;
	return w->next_incident > 0 ? 0 : -1;
}

static int load_origin(void *arg, const struct origin_row *row)
{
	struct ward *w = arg;
	struct origin_name name;

	if (!origin_parse(slice_str(row->origin), &name))
		return 0;
	uint32_t at = roster_origin(&w->roster, name.text, name.kind, clock_boot_ms());
	if (at == ORIGIN_NONE)
		return 0;
	w->roster.origins[at].state = (uint8_t)row->state;
	w->roster.origins[at].until_s = row->until;
	return 0;
}

static int load_incident(void *arg, const struct incident *i)
{
	struct ward *w = arg;
	struct origin_name name;

	if (!origin_parse(slice_str(i->origin), &name))
		return 0;
	uint32_t at = roster_origin(&w->roster, name.text, name.kind, clock_boot_ms());
	if (at == ORIGIN_NONE || w->roster.origins[at].incident != 0)
		return 0;
	size_t slot = w->nincidents;
	struct open_incident *more = realloc(w->incidents, (slot + 1) * sizeof *more);
	if (more == NULL)
		return 0;
	w->incidents = more;
	w->nincidents = slot + 1;
	more[slot] = (struct open_incident){ .rec = *i, .origin = at, .taken = i->taken, .gone = i->gone, .announced = true,
					     .alerted_ms = clock_boot_ms() };
	w->roster.origins[at].incident = (uint32_t)slot + 1;
	/* lifted, and the end of the incident was not written any more */
	if (strcmp(i->state, "quarantined") == 0 && w->roster.origins[at].state != HOLD_HELD)
		incident_close(w, &more[slot], "its hold was lifted");
	return 0;
}

struct loading {
	struct ward *w;
	int64_t base_ms; /* where an age of 0 lies on the clock of now */
};

static int load_trail(void *arg, const char *text, struct slice blob)
{
	struct loading *l = arg;
	struct origin_name name;

	if (!origin_parse(slice_str(text), &name))
		return 0;
	uint32_t at = roster_origin(&l->w->roster, name.text, name.kind, l->base_ms);
	if (at != ORIGIN_NONE && !trail_load(&l->w->roster.origins[at].trail, l->base_ms, blob))
		trail_clear(&l->w->roster.origins[at].trail);
	return 0;
}

static int load_returned(void *arg, struct row *r)
{
	struct ward *w = arg;
	struct place *p = store_place(w->store, r->spool);

	if (p == NULL || r->new_id.n == 0 || clock_real_s() - r->changed > RETURNED_S)
		return 0;
	returned(w, p->index, queue_id_slice(&r->new_id), 0);
	returned(w, p->index, queue_id_slice(&r->queue_id), r->ino);
	return 0;
}

int ward_load(struct ward *w, struct err *e)
{
	struct selection back = { .states = 1u << ROW_RELEASED | 1u << ROW_RELEASING };
	struct loading l = { w, 0 };
	int64_t now_s = clock_real_s();

	if (ledger_origins(w->store->ledger, load_origin, w, e) < 0 ||
	    ledger_incidents(w->store->ledger, false, load_incident, w, e) < 0 ||
	    ledger_each(w->store->ledger, &back, load_returned, w, e) < 0)
		return -1;
	/* the time that went by while nobody counted is the difference of the wall clock; it may have jumped */
	int64_t saved = 0;
	if (ledger_meta_get(w->store->ledger, META_TRAILS_SAVED, &saved, e) != 0)
		return -1;
	int64_t down_ms = saved > 0 && now_s > saved ? (now_s - saved) * 1000 : 0;
	l.base_ms = clock_boot_ms() - down_ms;
	w->saved_s = saved;
	return ledger_trails(w->store->ledger, load_trail, &l, e) < 0 ? -1 : 0;
}

void ward_free(struct ward *w)
{
	roster_free(&w->roster);
	free(w->spools);
	free(w->incidents);
	if (w->status != NULL)
		json_decref(w->status);
	while (w->notes != NULL) {
		struct note *n = w->notes;
		w->notes = n->next;
		free(n);
	}
	(void)pthread_mutex_destroy(&w->notes_lock);
	if (w->notes_fd >= 0)
		(void)close(w->notes_fd);
}

/* ---- cards ---- */

/* When was it sent, on our clock? An event means now; a scan finds mail that may have waited long. */
static int64_t sent_at(const struct card *c, int64_t now_ms)
{
	int64_t age_s = clock_real_s() - c->arrived_s;

	if (!(c->flags & CARD_SCANNED) || c->arrived_s == 0 || age_s <= 0)
		return now_ms;
	return age_s > WEEK_MS / 1000 ? now_ms - WEEK_MS : now_ms - age_s * 1000;
}

/* The message of the first pass, in whatever spool it went through. */
static struct message *first_pass(struct ward *w, const struct card *c)
{
	struct slice first = CARD_GET(c, first);

	for (uint16_t i = 0; first.n > 0 && i < w->store->nplaces; i++) {
		struct message *m = roster_find(&w->roster, i, first);
		if (m != NULL)
			return m;
	}
	return NULL;
}

static void inherit(struct ward *w, struct message *m, const uint32_t origins[ORIGINS_MAX], bool accountable)
{
	uint32_t copy[ORIGINS_MAX];

	memcpy(copy, origins, sizeof copy);
	for (unsigned i = 0; i < ORIGINS_MAX; i++)
		roster_name(&w->roster, m, i, copy[i]);
	m->accountable = accountable;
}

static void count_new(struct ward *w, struct message *m, const struct card *c, int64_t now_ms)
{
	struct tally add = { .bytes = c->size, .messages = 1, .recipients = c->recipients };
	struct origin_names names;

	origin_names(c, w->conf, &names);
	for (size_t i = 0; i < names.n; i++)
		roster_name(&w->roster, m, (unsigned)i,
			    roster_origin(&w->roster, names.name[i].text, names.name[i].kind, now_ms));
	m->accountable = names.accountable && m->origin[0] != ORIGIN_NONE;
	/* in the windows that were saved before the restart already */
	if ((c->flags & CARD_SCANNED) != 0 && c->arrived_s != 0 && c->arrived_s <= w->saved_s)
		return;
	verdict(w, m, m->origin, names.n, &add, sent_at(c, now_ms));
}

static bool forget_other(struct ward *w, struct message *m, uint64_t ino)
{
	if (m == NULL || m->ino == ino || (m->state == MESSAGE_PARDONED && m->ino == 0))
		return false;
	roster_remove(&w->roster, m); /* the id was used again */
	return true;
}

static void card_new(struct ward *w, const struct card *c)
{
	int64_t now_ms = clock_boot_ms();
	struct slice id = CARD_GET(c, id);
	struct message *m = roster_find(&w->roster, c->spool, id), *first;

	if (forget_other(w, m, c->ino))
		m = NULL;
	bool known = m != NULL;
	if (!known && (m = roster_add(&w->roster, c->spool, id, c->ino)) == NULL) {
		w->failures++;
		return;
	}
	m->ino = c->ino;
	m->dir = c->dir;
	m->depth = c->depth;
	m->recipients = c->recipients;
	m->flags = (uint8_t)c->flags;
	m->busy_s = c->busy_s < UINT32_MAX ? (uint32_t)c->busy_s : 0;
	m->scan = w->spools[c->spool].scan;
	if (known) {
		if (m->state == MESSAGE_WAITING)
			m->state = MESSAGE_FREE;
		if (m->state == MESSAGE_PARDONED)
			roster_state(&w->roster, m, MESSAGE_RELEASED, now_ms);
		else if (m->state == MESSAGE_GONE || m->state == MESSAGE_TAKEN)
			roster_state(&w->roster, m, MESSAGE_FREE, now_ms);
	} else if ((c->flags & CARD_RENAMED) != 0 && w->last_gone.set && w->last_gone.ino == c->ino) {
		inherit(w, m, w->last_gone.origin, w->last_gone.accountable);
	} else if ((first = first_pass(w, c)) != NULL && first != m) {
		inherit(w, m, first->origin, first->accountable);
		if (first->state == MESSAGE_RELEASED || first->state == MESSAGE_PARDONED)
			roster_state(&w->roster, m, MESSAGE_RELEASED, now_ms);
	} else {
		count_new(w, m, c, now_ms);
	}
	/* what a later pass is made of (a filter, a forward) names the first pass of this one */
	if (m->state == MESSAGE_RELEASED && CARD_GET(c, first).n > 0 && first_pass(w, c) != m)
		returned(w, c->spool, CARD_GET(c, first), 0);
	uint32_t origin;
	if (m->state == MESSAGE_FREE && message_held(w, m, &origin))
		message_take(w, m, origin);
}

static void card_moved(struct ward *w, const struct card *c)
{
	struct message *m = roster_find(&w->roster, c->spool, CARD_GET(c, id));
	uint32_t origin;

	if (m == NULL)
		return; /* a scan names it again */
	m->dir = c->dir;
	m->depth = c->depth;
	m->scan = w->spools[c->spool].scan;
	if (m->state == MESSAGE_GONE)
		roster_state(&w->roster, m, MESSAGE_FREE, clock_boot_ms());
	if (m->state == MESSAGE_PARDONED)
		roster_state(&w->roster, m, MESSAGE_RELEASED, clock_boot_ms());
	if (m->state == MESSAGE_WAITING)
		m->state = MESSAGE_FREE;
	if (m->state == MESSAGE_FREE && message_held(w, m, &origin))
		message_take(w, m, origin);
}

static void card_gone(struct ward *w, const struct card *c)
{
	struct message *m = roster_find(&w->roster, c->spool, CARD_GET(c, id));

	if (m == NULL || m->state == MESSAGE_TAKEN)
		return;
	w->last_gone.set = true;
	w->last_gone.ino = m->ino;
	w->last_gone.accountable = m->accountable;
	memcpy(w->last_gone.origin, m->origin, sizeof m->origin);
	bool pardoned = m->state == MESSAGE_RELEASED || m->state == MESSAGE_PARDONED;
	roster_state(&w->roster, m, pardoned ? MESSAGE_PARDONED : MESSAGE_GONE, clock_boot_ms());
}

struct scan_end {
	struct ward *w;
	uint16_t spool;
	uint32_t scan;
};

static void drop_unseen(void *arg, struct message *m)
{
	struct scan_end *s = arg;

	if (m->spool != s->spool || m->scan == s->scan)
		return;
	if (m->state == MESSAGE_FREE || m->state == MESSAGE_WAITING)
		roster_state(&s->w->roster, m, MESSAGE_GONE, clock_boot_ms());
	else if (m->state == MESSAGE_RELEASED)
		roster_state(&s->w->roster, m, MESSAGE_PARDONED, clock_boot_ms());
}

static void spool_changed(struct ward *w, const struct card *c)
{
	struct ward_spool *s = &w->spools[c->spool];
	struct place *p = &w->store->places[c->spool];
	char why[QUEUE_ID_MAX * 2];
	struct err e;

	(void)escape_text(why, sizeof why, CARD_GET(c, id), ESCAPE_QUOTED);
	(void)slice_text(s->why, sizeof s->why, slice_str(why));
	s->told = true;
	if (c->kind == CARD_SPOOL_DOWN) {
		s->up = false;
		place_down(p);
		log_error("spool %s is not there: %s", p->brief.name, why);
		return;
	}
	if (c->kind == CARD_BLIND) {
		if (!s->blind)
			log_error("spool %s is only scanned, not watched: %s", p->brief.name, why);
		s->blind = true;
		return;
	}
	bool was_up = p->stage_fd >= 0;
	if (place_up(p, w->store->cells.fd, &e) != 0) {
		log_error("%s: nothing can be taken there", e.text);
		(void)slice_text(s->why, sizeof s->why, slice_str(e.text));
		s->up = false;
		return;
	}
	if (!was_up)
		log_notice("spool %s is there: %s", p->brief.name, p->brief.root);
	s->up = true;
	s->blind = false;
	s->why[0] = '\0';
	if (!s->recovered && recover_place(w->store, p, &e) != 0)
		log_error("spool %s: recovery: %s (tried again)", p->brief.name, e.text);
	if (!s->recovered && recover_takes(w->store, p, w->taker, &e) != 0)
		log_error("spool %s: recovery: %s", p->brief.name, e.text);
	/* once: later the stage holds what the taker has in hand. What a mount brings back waits for the next start */
	s->recovered = true;
	keeper_wake(w->keeper);
}

static void card_scan(struct ward *w, const struct card *c)
{
	struct scan_end s = { w, c->spool, w->spools[c->spool].scan };
	uint32_t at = 0;

	if (c->kind == CARD_SCAN_BEGIN) {
		w->spools[c->spool].scan++;
		w->spools[c->spool].scan_ms = clock_boot_ms();
		return;
	}
	if (!w->spools[c->spool].scanned)
		log_info("spool %s: %llu messages found in %lld ms", w->store->places[c->spool].brief.name,
			 (unsigned long long)w->roster.nmessages, (long long)(clock_boot_ms() - w->spools[c->spool].scan_ms));
	w->rescans += w->spools[c->spool].scanned;
	w->spools[c->spool].scanned = true;
	w->blind_since_s = 0;
	(void)roster_walk(&w->roster, &at, UINT32_MAX, drop_unseen, &s);
}

/* Everything that came in one record: sizes and borders first, then what each card may say. */
static bool card_ok(struct ward *w, const struct card *c, size_t n)
{
	if (!card_check(c, n) || c->spool >= w->store->nplaces)
		return false;
	const struct place *p = &w->store->places[c->spool];
	if (c->kind > CARD_UNSEEN)
		return true;
	if (c->dir >= p->format->ndirs || c->depth > SPOOL_DEPTH_MAX)
		return false;
	return c->kind == CARD_UNSEEN || spool_id_ok(p->format, &p->set, c->dir, CARD_GET(c, id));
}

static void card_act(struct ward *w, const struct card *c)
{
	w->events++;
	switch (c->kind) {
	case CARD_NEW:
		card_new(w, c);
		break;
	case CARD_MOVED:
		card_moved(w, c);
		break;
	case CARD_GONE:
		card_gone(w, c);
		break;
	case CARD_HOSTILE:
		if (w->hostile++ % 1000 == 0)
			log_warn("spool %s holds a file that is no message", w->store->places[c->spool].brief.name);
		break;
	case CARD_UNSEEN:
		w->unseen++;
		break;
	case CARD_SCAN_BEGIN:
	case CARD_SCAN_END:
		card_scan(w, c);
		break;
	case CARD_OVERFLOW:
		w->overflows++;
		log_warn("more events than could be read: spool %s is scanned", w->store->places[c->spool].brief.name);
		break;
	default:
		spool_changed(w, c);
		break;
	}
}

bool ward_cards(struct ward *w)
{
	static _Alignas(8) char record[CARDS_RECORD];
	struct card c;
	ssize_t n = wire_recv(w->roles.cards_fd, record, sizeof record, NULL, 0, NULL);

	if (n <= 0)
		return n < 0 && errno == EAGAIN;
	/* whatever came back before these cards were sent was noted before its rename: so the note lies here by now */
	ward_notes(w);
	for (size_t at = 0; at < (size_t)n;) {
		size_t rest = (size_t)n - at, size;
		memcpy(&c, record + at, rest < sizeof c ? rest : sizeof c);
		size = rest < offsetof(struct card, text) ? SIZE_MAX : CARD_SIZE(&c);
		if (size > rest || size > sizeof c || !card_ok(w, &c, size)) {
			log_error("the reader sent a card that breaks the rules");
			return false;
		}
		card_act(w, &c);
		at += ALIGN8(size);
	}
	return true;
}

/* ---- time ---- */

static void forget_gone(void *arg, struct message *m)
{
	struct ward *w = arg;
	uint32_t now_s = (uint32_t)(clock_boot_ms() / 1000);
	int64_t keep = m->state == MESSAGE_PARDONED ? RETURNED_S : LINGER_S;

	if ((m->state == MESSAGE_GONE || m->state == MESSAGE_TAKEN || m->state == MESSAGE_PARDONED) &&
	    now_s - m->gone_s > keep)
		roster_remove(&w->roster, m);
}

/* Holds and trusts with an end. */
static void end_of_terms(struct ward *w, int64_t now_s)
{
	char name[ORIGIN_TEXT * 2];

	for (uint32_t i = 0; i < w->roster.origins_cap; i++) {
		struct origin *o = &w->roster.origins[i];
		if (o->name == NULL || o->state == HOLD_NONE || o->until_s == 0 || now_s < o->until_s)
			continue;
		(void)escape_text(name, sizeof name, slice_str(o->name), ESCAPE_QUOTED);
		log_notice("origin=\"%s\" is no longer %s: its time is over", name,
			   o->state == HOLD_HELD ? "held" : "trusted");
		origin_hold(w, i, HOLD_NONE, 0, NULL, "spoolwardd", "time is over");
		struct open_incident *incident = incident_of(w, i);
		if (incident != NULL)
			incident_close(w, incident, "the hold ended");
	}
}

/* One file for half a minute: the reader hangs over it. It dies by the signal that a hostile file would raise. */
static void watch_reader(struct ward *w, int64_t now_ms)
{
	uint64_t ino = atomic_load(&w->roles.slot->now_ino);

	if (ino == 0 || ino != w->reading_ino || w->roles.sift <= 0) {
		w->reading_ino = ino;
		w->reading_since_ms = now_ms;
	} else if (now_ms - w->reading_since_ms > READER_HANGS_MS) {
		log_error("the reader hangs");
		(void)kill(w->roles.sift, SIGABRT);
		w->reading_since_ms = now_ms;
	}
}

void ward_tick(struct ward *w, int64_t now_ms)
{
	static int64_t slow_ms;

	incident_tick(w, now_ms);
	watch_reader(w, now_ms);
	if (take_waiting(w->taker) == 0)
		w->coming = w->coming_bytes = 0; /* some ended without a word */
	if (!roster_walk(&w->roster, &w->linger_at, TICK_BUCKETS, forget_gone, w))
		w->linger_at = 0;
	if (now_ms >= slow_ms) {
		slow_ms = now_ms + 10000;
		end_of_terms(w, clock_real_s());
		for (uint32_t i = 0; i < w->roster.origins_cap; i++)
			roster_trim(&w->roster, i, now_ms - w->longest_ms);
		w->full = w->full && !store_room(w->store, w->coming, w->coming_bytes, w->full_why, sizeof w->full_why);
		if (w->sweep.left) {
			w->sweep.left = false;
			sweep_due(w);
		}
	}
	json_t *fresh = ward_status(w);
	(void)pthread_mutex_lock(&w->notes_lock);
	json_t *old = w->status;
	w->status = fresh;
	(void)pthread_mutex_unlock(&w->notes_lock);
	if (old != NULL)
		json_decref(old);
}

void ward_save(struct ward *w)
{
	static char blob[TRAIL_BLOB_MOST];
	struct trails_post *t;
	int64_t now_ms = clock_boot_ms();

	if (!w->changed)
		return;
	t = calloc(1, sizeof *t);
	if (t == NULL || (t->row = calloc(w->roster.norigins + 1, sizeof *t->row)) == NULL) {
		free(t);
		return;
	}
	t->saved_at = clock_real_s();
	for (uint32_t i = 0; i < w->roster.origins_cap && t->n <= w->roster.norigins; i++) {
		const struct origin *o = &w->roster.origins[i];
		if (o->name == NULL || o->trail.n == 0)
			continue;
		size_t n = trail_save(&o->trail, now_ms, blob);
		t->row[t->n].origin = strdup(o->name);
		t->row[t->n].blob = malloc(n);
		t->row[t->n].size = n;
		if (t->row[t->n].origin == NULL || t->row[t->n].blob == NULL) {
			free(t->row[t->n].origin);
			free(t->row[t->n].blob);
			break;
		}
		memcpy(t->row[t->n++].blob, blob, n);
	}
	w->changed = false;
	keeper_trails(w->keeper, t);
}

void ward_sensors_down(struct ward *w)
{
	if (w->blind_since_s == 0)
		w->blind_since_s = clock_real_s();
	w->last_gone.set = false;
}
