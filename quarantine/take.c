#include "quarantine/take.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sys.h"
#include "quarantine/origin.h"
#include "quarantine/recover.h"

/* The order of writes, and why. The file is in the stage, out of the MTA's reach, before any of this.
 *   1. ledger: STAGED, with the digest that the walk found   -> from here on the row says what the file is
 *   2. cell:   file and description                           -> rename, or copy + compare
 *   3. syncfs of the quarantine                               -> the cell is durable ...
 *      (a copy: and of the spool, before the copy gets its name: the file cannot come back from the stage to the MTA)
 *   4. ledger: HELD                                           -> ... before anybody is told that it is held
 *   5. the stage file of a copy is removed                    -> until then both exist, and the row says which counts
 * A crash between any two leaves the file in the stage, in the cell, or in both; recovery begins again at 1. */

#define TAKE_BATCH 128
#define BACKOFF_FIRST_MS 5
#define BACKOFF_MOST_MS 2000
#define TROUBLE_MOST_MS 30000
#define FINISH_MS 10000

struct item {
	struct item *next;
	int64_t due_ms, row, incident;
	unsigned dir, depth;
	int backoff_ms;
	uint16_t spool;
	struct queue_id id;
	char staged[STAGE_NAME], origin[ORIGIN_TEXT];
	/* while a batch works on it */
	struct row r;
	bool in_cell, walked, dropped, failed;
	int copy_fd, fd;
	bool clearing; /* at rest, but for the file in the stage, which could not be removed */
};

struct taker {
	struct store *store;
	const struct walker *walker;
	pthread_mutex_t lock;
	struct item *first, **last; /* waiting, in the order of arrival */
	size_t waiting;
	struct err trouble;
	unsigned hurts; /* of this step */
	int64_t finish_ms; /* when what is half was tried last, and is tried again */
	struct card cards[WALK_BATCH];
	struct walk *walks; /* WALK_BATCH of them */
};

int taker_new(struct store *s, const struct walker *w, struct taker **out, struct err *e)
{
	struct taker *t = calloc(1, sizeof *t);

	*out = NULL;
	if (t == NULL || (t->walks = calloc(WALK_BATCH, sizeof *t->walks)) == NULL) {
		free(t);
		return err_sys(e, "start the taker");
	}
	t->store = s;
	t->walker = w;
	t->last = &t->first;
	(void)pthread_mutex_init(&t->lock, NULL);
	*out = t;
	return 0;
}

static void item_free(struct item *i)
{
	row_free(&i->r);
	free(i);
}

void taker_free(struct taker *t)
{
	if (t == NULL)
		return;
	while (t->first != NULL) {
		struct item *i = t->first;
		t->first = i->next;
		item_free(i);
	}
	(void)pthread_mutex_destroy(&t->lock);
	free(t->walks);
	free(t);
}

static void enqueue(struct taker *t, struct item *i)
{
	(void)pthread_mutex_lock(&t->lock);
	i->next = NULL;
	*t->last = i;
	t->last = &i->next;
	t->waiting++;
	(void)pthread_mutex_unlock(&t->lock);
}

int take_add(struct taker *t, uint16_t spool, const char *staged, unsigned dir, unsigned depth, struct slice id,
	     int64_t incident, const char *origin, int64_t row)
{
	struct item *i = calloc(1, sizeof *i);

	if (i == NULL)
		return -1; /* the stage remembers it: the next start finds it */
	i->spool = spool;
	i->dir = dir;
	i->depth = depth;
	i->incident = incident;
	i->row = row;
	i->copy_fd = i->fd = -1;
	i->backoff_ms = BACKOFF_FIRST_MS;
	(void)queue_id_set(&i->id, id);
	(void)slice_text(i->staged, sizeof i->staged, slice_str(staged));
	(void)slice_text(i->origin, sizeof i->origin, slice_str(origin));
	enqueue(t, i);
	return 0;
}

size_t take_waiting(struct taker *t)
{
	(void)pthread_mutex_lock(&t->lock);
	size_t n = t->waiting;
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}

void take_trouble(struct taker *t, char *out, size_t cap)
{
	(void)pthread_mutex_lock(&t->lock);
	(void)slice_text(out, cap, slice_str(t->trouble.text));
	(void)pthread_mutex_unlock(&t->lock);
}

static void trouble(struct taker *t, const struct err *e)
{
	(void)pthread_mutex_lock(&t->lock);
	bool news = e != NULL && strcmp(t->trouble.text, e->text) != 0;
	if (e != NULL) {
		t->trouble = *e;
		t->hurts++;
	} else if (t->hurts == 0) {
		t->trouble.text[0] = '\0';
	}
	(void)pthread_mutex_unlock(&t->lock);
	if (news)
		log_error("taking goes slowly, files wait in the stage: %s", e->text);
}

/* The items that are due, out of the queue; *next_ms: when another will be. */
static size_t pick(struct taker *t, int64_t now_ms, struct item **batch, int64_t *next_ms)
{
	size_t n = 0;

	*next_ms = INT64_MAX;
	(void)pthread_mutex_lock(&t->lock);
	struct item **at = &t->first;
	while (*at != NULL) {
		struct item *i = *at;
		if (i->due_ms <= now_ms && n < TAKE_BATCH) {
			*at = i->next;
			batch[n++] = i;
			t->waiting--;
			continue;
		}
		if (i->due_ms < *next_ms)
			*next_ms = i->due_ms;
		at = &i->next;
	}
	t->last = at;
	(void)pthread_mutex_unlock(&t->lock);
	return n;
}

static void put_off(struct item *i, int64_t now_ms, int most_ms)
{
	i->due_ms = now_ms + i->backoff_ms;
	i->backoff_ms = i->backoff_ms * 2 < most_ms ? i->backoff_ms * 2 : most_ms;
}

/* It is not in the stage: an earlier step, or an earlier process, had brought it to its cell; or somebody removed it. */
static void find_in_cell(struct taker *t, struct item *i, int64_t now_ms)
{
	struct err e;

	int has = i->row != 0 ? cell_has(&t->store->cells, i->row, CELL_FILE, &e) : 0;
	i->in_cell = has == 1;
	i->dropped = has == 0;
	if (i->dropped) {
		log_warn("%s is no longer in the stage of spool %s", i->staged, t->store->places[i->spool].brief.name);
		return;
	}
	row_free(&i->r);
	int found = has < 0 ? -1 : ledger_get(t->store->ledger, i->row, &i->r, &e);
	if (found == 1 && i->r.state == ROW_STAGED)
		return;
	if (found == 1) { /* it is at rest: nothing is left to do, and nothing to forget */
		i->in_cell = false;
		i->dropped = true;
		i->row = 0;
		return;
	}
	if (found == 0)
		(void)err_set(&e, ERR_BUG, "m%lld is in its cell, but has no row", (long long)i->row);
	trouble(t, &e);
	i->failed = true;
	put_off(i, now_ms, TROUBLE_MOST_MS);
}

static int remove_staged(const struct place *p, const struct item *i)
{
	return p->stage_fd >= 0 && (sys_unlink(p->stage_fd, i->staged) == 0 || errno == ENOENT) ? 0 : -1;
}

/* Opens the staged file and sees whether the MTA has let go of it. */
static void open_staged(struct taker *t, struct item *i, int64_t now_ms)
{
	struct place *p = &t->store->places[i->spool];
	struct stat st;
	struct err e;

	i->in_cell = i->walked = i->dropped = i->failed = false;
	if (i->clearing) {
		i->dropped = remove_staged(p, i) == 0;
		i->failed = !i->dropped;
		if (i->failed)
			put_off(i, now_ms, TROUBLE_MOST_MS);
		return;
	}
	i->fd = p->stage_fd < 0 ? (errno = ENODEV, -1)
				: openat(p->stage_fd, i->staged, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (i->fd < 0 && errno == ENOENT) {
		find_in_cell(t, i, now_ms);
		return;
	}
	int still = i->fd < 0 ? err_sys(&e, "open %s", i->staged) : place_still(i->fd, &e);
	/* only now: until it is still it may grow, or be marked */
	if (still >= 0 && fstat(i->fd, &st) != 0)
		still = err_sys(&e, "look at %s", i->staged);
	if (still >= 0) {
		i->r.dev = st.st_dev, i->r.ino = st.st_ino, i->r.size = (uint64_t)st.st_size;
		i->r.mode = st.st_mode & 07777, i->r.uid = st.st_uid, i->r.gid = st.st_gid, i->r.mtime = st.st_mtime;
	}
	if (still == 1)
		return;
	if (still < 0)
		trouble(t, &e);
	i->failed = true;
	put_off(i, now_ms, still < 0 ? TROUBLE_MOST_MS : BACKOFF_MOST_MS);
}

static void copy_text(char *to, size_t cap, struct slice from)
{
	(void)text_utf8(to, cap, from);
}

/* The recipients as the ledger keeps them: one a line, nothing in them that ends a line. */
static char *rcpts_text(const struct walk *w)
{
	struct slice rest = WALK_GET(w, rcpts), one;
	size_t cap = rest.n * 3 + 2, n = 0;
	char *out = malloc(cap);

	while (out != NULL && slice_cut(&rest, '\0', &one)) {
		size_t from = n;
		n += text_utf8(out + n, cap - n, one);
		for (; from < n; from++)
			if ((unsigned char)out[from] < 0x20)
				out[from] = '?';
		out[n++] = '\n';
	}
	if (out != NULL)
		out[n] = '\0';
	return out;
}

static void fill_row(struct taker *t, struct item *i, const struct card *c, const struct walk *w)
{
	struct origin_names names;
	struct row *r = &i->r;

	copy_text(r->sender, sizeof r->sender, CARD_GET(c, sender));
	copy_text(r->login, sizeof r->login, CARD_GET(c, login));
	copy_text(r->client, sizeof r->client, CARD_GET(c, client));
	copy_text(r->subject, sizeof r->subject, WALK_GET(w, subject));
	copy_text(r->from, sizeof r->from, WALK_GET(w, from));
	copy_text(r->message_id, sizeof r->message_id, WALK_GET(w, message_id));
	row_free(r);
	r->rcpts = rcpts_text(w);
	r->arrived = c->arrived_s ? c->arrived_s : r->mtime;
	r->recipients = w->open;
	r->done = w->done;
	r->readable = (w->flags & WALK_WHOLE) != 0;
	r->nstamps = w->nstamps;
	memcpy(r->stamps, w->stamps, sizeof r->stamps);
	memcpy(r->sha256, w->sha256, sizeof r->sha256);
	origin_names(c, t->store->conf, &names);
	if (i->origin[0] == '\0' && names.accountable)
		(void)slice_text(i->origin, sizeof i->origin, slice_str(names.name[0].text));
}

/* Bytes that no walk understood are kept as they are: the administrator decides, not the parser. */
static void walk_done(struct taker *t, struct item *i, const struct walk_job *job, int64_t now_ms)
{
	if (job->result == WALK_OK || (job->result == WALK_UNREADABLE && job->walk->size == i->r.size)) {
		fill_row(t, i, job->card, job->walk);
		i->r.readable = i->r.readable && job->result == WALK_OK;
		i->walked = true;
		if (!i->r.readable)
			log_warn("%s cannot be read: it is held as it is", i->staged);
	} else { /* the reader is being started again; a file that it dies over comes back as unreadable */
		i->failed = true;
		put_off(i, now_ms, BACKOFF_MOST_MS);
	}
}

static bool digest_known(const unsigned char sha256[SHA256_SIZE])
{
	static const unsigned char none[SHA256_SIZE];

	return memcmp(sha256, none, SHA256_SIZE) != 0;
}

static void run_walks(struct taker *t, struct item **batch, size_t n, bool digest_of_copy, int64_t now_ms)
{
	struct walk_job jobs[WALK_BATCH];
	struct item *who[WALK_BATCH];
	size_t k = 0;

	for (size_t at = 0; at <= n; at++) {
		if (at < n) {
			struct item *i = batch[at];
			bool due = digest_of_copy ? i->copy_fd >= 0 && !i->failed
						  : !i->in_cell && !i->dropped && !i->failed;
			if (!due)
				continue;
			who[k] = i;
			jobs[k] = (struct walk_job){ .spool = i->spool, .fd = digest_of_copy ? i->copy_fd : i->fd,
						     .digest_only = digest_of_copy, .card = &t->cards[k], .walk = &t->walks[k] };
			k++;
		}
		if (k == 0 || (k < WALK_BATCH && at < n))
			continue;
		t->walker->run(t->walker->arg, jobs, k);
		for (size_t j = 0; j < k; j++) {
			if (!digest_of_copy) {
				walk_done(t, who[j], &jobs[j], now_ms);
				continue;
			}
			/* a row without a walk has no digest to compare with: then the size must do */
			bool known = digest_known(who[j]->r.sha256);
			if (jobs[j].result == WALK_AGAIN || jobs[j].walk->size != who[j]->r.size ||
			    (known && memcmp(jobs[j].walk->sha256, who[j]->r.sha256, SHA256_SIZE) != 0)) {
				log_error("the copy of %s differs from it: copied again", who[j]->staged);
				who[j]->failed = true;
				put_off(who[j], now_ms, TROUBLE_MOST_MS);
			}
		}
		k = 0;
	}
}

/* The MTA had delivered it to the last recipient: nobody is left to write to. */
static bool escaped(const struct item *i)
{
	return i->walked && i->r.readable && i->r.recipients == 0 && i->r.done > 0;
}

static void complete_row(struct taker *t, struct item *i)
{
	struct place *p = &t->store->places[i->spool];
	struct row *r = &i->r;

	r->id = i->row;
	r->state = escaped(i) ? ROW_GONE : i->walked ? ROW_STAGED : ROW_TAKING;
	r->queue_id = i->id;
	r->dir = i->dir;
	r->depth = i->depth;
	r->incident = i->incident;
	r->changed = clock_real_s();
	if (r->taken == 0)
		r->taken = r->changed;
	(void)slice_text(r->spool, sizeof r->spool, slice_str(p->brief.name));
	(void)slice_text(r->format, sizeof r->format, slice_str(p->format->name));
	(void)slice_text(r->origin, sizeof r->origin, slice_str(i->origin));
}

static int write_rows(struct taker *t, struct item **batch, size_t n, struct err *e)
{
	struct ledger *l = t->store->ledger;

	if (ledger_begin(l, e) != 0)
		return -1;
	for (size_t k = 0; k < n; k++) {
		struct item *i = batch[k];
		/* a file that is not still gets its row too, once: then the ledger knows all that is in the stage */
		if (i->dropped || i->in_cell || i->clearing || (i->failed && i->row != 0))
			continue;
		complete_row(t, i);
		if (ledger_put(l, &i->r, e) != 0) {
			ledger_undo(l);
			return -1;
		}
	}
	for (size_t k = 0; k < n; k++)
		if (batch[k]->dropped && !batch[k]->clearing && batch[k]->row != 0 && ledger_forget(l, batch[k]->row, e) != 0) {
			ledger_undo(l);
			return -1;
		}
	if (ledger_commit(l, e) != 0)
		return -1;
	for (size_t k = 0; k < n; k++)
		if (!batch[k]->dropped && batch[k]->r.id != 0)
			batch[k]->row = batch[k]->r.id;
	return 0;
}

static void settled(struct taker *t, struct item *i)
{
	if (t->store->hooks.settled != NULL)
		t->store->hooks.settled(t->store->hooks.arg, &i->r);
}

static void fill_cell(struct taker *t, struct item *i, int64_t now_ms)
{
	struct place *p = &t->store->places[i->spool];
	struct err e;
	int rc;

	if (i->in_cell) {
		rc = cell_write_info(&t->store->cells, &i->r, &e);
	} else if (p->same_mount) {
		rc = cell_move_in(&t->store->cells, p, i->staged, &i->r, &e);
		if (rc != 0 && e.kind == ERR_EXISTS && !cell_is(&t->store->cells, &i->r))
			(void)err_set(&e, ERR_BUG, "the cell of m%lld holds another message: spoolward fsck", (long long)i->row);
		else if (rc != 0 && e.kind == ERR_EXISTS) /* left from before the crash that this is the recovery of */
			rc = cell_remove(&t->store->cells, i->row, &e) == 0
				     ? cell_move_in(&t->store->cells, p, i->staged, &i->r, &e)
				     : -1;
	} else {
		rc = cell_copy_in(&t->store->cells, p, i->staged, &i->r, &i->copy_fd, &e);
	}
	if (rc != 0) {
		trouble(t, &e);
		i->failed = true;
		put_off(i, now_ms, TROUBLE_MOST_MS);
	}
}

/* The claim of what is copied is on another disk than its cell: if a power cut undid it and left the cell, the MTA would have
 * the message and we too. */
static int sync_claims(struct taker *t, struct item **batch, size_t n, struct err *e)
{
	for (size_t p = 0; p < t->store->nplaces; p++) {
		const struct place *place = &t->store->places[p];
		bool used = false;
		for (size_t k = 0; k < n; k++)
			used = used || (batch[k]->spool == p && batch[k]->copy_fd >= 0 && !batch[k]->failed);
		if (used && (place->stage_fd < 0 ? (errno = ENODEV, -1) : sys_syncfs(place->stage_fd)) != 0)
			return err_sys(e, "sync spool %s", place->brief.name);
	}
	return 0;
}

/* Copies: durable, compared, their claims durable, named, durable. */
static int finish_copies(struct taker *t, struct item **batch, size_t n, int64_t now_ms, struct err *e)
{
	bool any = false;

	for (size_t k = 0; k < n; k++)
		any = any || (batch[k]->copy_fd >= 0 && !batch[k]->failed);
	if (!any)
		return 0;
	store_hold_places(t->store, false);
	run_walks(t, batch, n, true, now_ms);
	store_hold_places(t->store, true);
	if (sync_claims(t, batch, n, e) != 0)
		return -1;
	for (size_t k = 0; k < n; k++)
		if (batch[k]->copy_fd >= 0 && !batch[k]->failed && cell_copy_done(&t->store->cells, batch[k]->row, e) != 0)
			return -1;
	return cells_sync(&t->store->cells, e);
}

static bool held_now(const struct item *i)
{
	return !i->dropped && !i->failed && i->r.state == ROW_STAGED;
}

static int write_held(struct taker *t, struct item **batch, size_t n, struct err *e)
{
	struct ledger *l = t->store->ledger;
	int64_t now = clock_real_s();

	if (ledger_begin(l, e) != 0)
		return -1;
	for (size_t k = 0; k < n; k++)
		if (held_now(batch[k]) && ledger_move(l, batch[k]->row, ROW_STAGED, ROW_HELD, now, e) < 0) {
			ledger_undo(l);
			return -1;
		}
	return ledger_commit(l, e);
}

/* What may be left undone by a crash: the row says that the cell counts. */
static void clear_stage(struct taker *t, struct item *i, int64_t now_ms)
{
	struct place *p = &t->store->places[i->spool];
	struct err e;

	i->dropped = true;
	if ((i->copy_fd >= 0 || i->r.state == ROW_GONE) && remove_staged(p, i) != 0) {
		log_warn("remove %s from the stage: %s (tried again)", i->staged, strerrordesc_np(errno));
		i->dropped = false;
		i->clearing = true;
		put_off(i, now_ms, TROUBLE_MOST_MS);
	}
	if (i->r.state != ROW_GONE && cell_take_logs(&t->store->cells, p, &i->r, &e) != 0)
		log_warn("logs of m%lld: %s", (long long)i->row, e.text);
}

static int settle(struct taker *t, struct item **batch, size_t n, int64_t now_ms, struct err *e)
{
	bool any = false;

	for (size_t k = 0; k < n; k++) {
		if (held_now(batch[k]))
			fill_cell(t, batch[k], now_ms);
		any = any || held_now(batch[k]);
	}
	if (any && (cells_sync(&t->store->cells, e) != 0 || finish_copies(t, batch, n, now_ms, e) != 0 ||
		    write_held(t, batch, n, e) != 0))
		return -1;
	for (size_t k = 0; k < n; k++) {
		struct item *i = batch[k];
		if (!held_now(i) && !(i->r.state == ROW_GONE && !i->dropped && !i->failed))
			continue;
		if (i->r.state == ROW_STAGED) {
			i->r.state = ROW_HELD;
			store_count(t->store, 1, (int64_t)i->r.size);
		}
		clear_stage(t, i, now_ms);
		settled(t, i);
	}
	return 0;
}

/* Descriptors go; what is finished goes; the rest waits for its time. */
static void put_back(struct taker *t, struct item **batch, size_t n, bool failed, int64_t now_ms)
{
	for (size_t k = 0; k < n; k++) {
		struct item *i = batch[k];
		if (i->fd >= 0)
			(void)close(i->fd);
		if (i->copy_fd >= 0)
			(void)close(i->copy_fd);
		i->fd = i->copy_fd = -1;
		if (failed && !i->dropped)
			put_off(i, now_ms, TROUBLE_MOST_MS);
		if (i->dropped)
			item_free(i);
		else
			enqueue(t, i);
	}
}

/* Releases and purges that failed behind their commit. When they are tried again, or INT64_MAX. */
static int64_t finish_moves(struct taker *t, int64_t now_ms)
{
	struct store *s = t->store;
	struct err e;

	if (atomic_load(&s->unfinished) && now_ms >= t->finish_ms) {
		t->finish_ms = now_ms + FINISH_MS;
		atomic_store(&s->unfinished, false);
		for (size_t i = 0; i < s->nplaces; i++) {
			if (s->places[i].stage_fd < 0) /* it may be one of its own */
				atomic_store(&s->unfinished, true);
			else if (recover_place(s, &s->places[i], &e) != 0)
				log_error("%s (tried again)", e.text);
		}
	}
	return atomic_load(&s->unfinished) ? t->finish_ms : INT64_MAX;
}

int take_step(struct taker *t, int64_t now_ms)
{
	struct item *batch[TAKE_BATCH];
	struct err e;
	int64_t next_ms, finish_ms = finish_moves(t, now_ms);
	size_t n = pick(t, now_ms, batch, &next_ms);

	if (finish_ms < next_ms)
		next_ms = finish_ms;
	if (n == 0)
		return next_ms == INT64_MAX ? -1 : next_ms > now_ms ? (int)(next_ms - now_ms) : 0;
	t->hurts = 0;
	store_hold_places(t->store, true);
	for (size_t k = 0; k < n; k++)
		open_staged(t, batch[k], now_ms);
	store_hold_places(t->store, false);
	run_walks(t, batch, n, false, now_ms);
	store_hold_places(t->store, true);
	bool failed = write_rows(t, batch, n, &e) != 0 || settle(t, batch, n, now_ms, &e) != 0;
	store_hold_places(t->store, false);
	trouble(t, failed ? &e : NULL);
	put_back(t, batch, n, failed, now_ms);
	return 0;
}
