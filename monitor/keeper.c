#include "monitor/keeper.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "quarantine/recover.h"
#include "quarantine/release.h"

#define HOUSE_MS 600000 /* expiry and pruning */
#define LATE_S 1800 /* logs of mail taken so lately are looked for again */
#define RETRY_MS 1000
#define EXPIRE_BATCH MOVE_BATCH
#define DAY_S 86400

enum post_kind { POST_INCIDENT, POST_ORIGIN, POST_HOLD, POST_TRAILS };

struct post {
	struct post *next;
	enum post_kind kind;
	struct incident incident;
	struct origin_row origin;
	struct trails_post *trails;
};

struct keeper {
	struct store *store;
	struct taker *taker;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct post *first, **last;
	bool awake, started, trails_waiting;
	atomic_bool stop;
	int64_t house_ms, warned_s;
	char trouble[400];
};

int keeper_new(struct store *s, struct taker *t, struct keeper **out, struct err *e)
{
	struct keeper *k = calloc(1, sizeof *k);
	pthread_condattr_t attr;

	*out = k;
	if (k == NULL)
		return err_sys(e, "start the keeper");
	k->store = s;
	k->taker = t;
	k->last = &k->first;
	(void)pthread_mutex_init(&k->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&k->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
	return 0;
}

static void post(struct keeper *k, struct post *p)
{
	(void)pthread_mutex_lock(&k->lock);
	p->next = NULL;
	*k->last = p;
	k->last = &p->next;
	k->awake = true;
	(void)pthread_cond_signal(&k->wake);
	(void)pthread_mutex_unlock(&k->lock);
}

static struct post *post_new(enum post_kind kind)
{
	struct post *p = calloc(1, sizeof *p);

	if (p != NULL)
		p->kind = kind;
	else
		log_error("no memory to note a change in the ledger");
	return p;
}

void keeper_incident(struct keeper *k, const struct incident *i)
{
	struct post *p = post_new(POST_INCIDENT);

	if (p == NULL)
		return;
	p->incident = *i;
	post(k, p);
}

void keeper_origin(struct keeper *k, const struct origin_row *o)
{
	struct post *p = post_new(POST_ORIGIN);

	if (p == NULL)
		return;
	p->origin = *o;
	post(k, p);
}

static void trails_free(struct trails_post *t)
{
	for (size_t i = 0; i < t->n; i++) {
		free(t->row[i].origin);
		free(t->row[i].blob);
	}
	free(t->row);
	free(t);
}

void keeper_hold(struct keeper *k, const struct incident *i, const struct origin_row *o)
{
	struct post *p = post_new(POST_HOLD);

	if (p == NULL)
		return;
	p->incident = *i;
	p->origin = *o;
	post(k, p);
}

void keeper_trails(struct keeper *k, struct trails_post *t)
{
	(void)pthread_mutex_lock(&k->lock);
	bool busy = k->trails_waiting;
	k->trails_waiting = true;
	(void)pthread_mutex_unlock(&k->lock);
	struct post *p = busy ? NULL : post_new(POST_TRAILS);
	if (p == NULL) {
		trails_free(t);
		if (!busy) {
			(void)pthread_mutex_lock(&k->lock);
			k->trails_waiting = false;
			(void)pthread_mutex_unlock(&k->lock);
		}
		return;
	}
	p->trails = t;
	post(k, p);
}

void keeper_wake(struct keeper *k)
{
	(void)pthread_mutex_lock(&k->lock);
	k->awake = true;
	(void)pthread_cond_signal(&k->wake);
	(void)pthread_mutex_unlock(&k->lock);
}

void keeper_trouble(struct keeper *k, char *out, size_t cap)
{
	(void)pthread_mutex_lock(&k->lock);
	(void)slice_text(out, cap, slice_str(k->trouble));
	(void)pthread_mutex_unlock(&k->lock);
}

static void set_trouble(struct keeper *k, const char *text)
{
	(void)pthread_mutex_lock(&k->lock);
	bool news = text[0] != '\0' && strcmp(k->trouble, text) != 0;
	(void)slice_text(k->trouble, sizeof k->trouble, slice_str(text));
	(void)pthread_mutex_unlock(&k->lock);
	if (news)
		log_error("%s (tried again)", text);
}

struct next_trail {
	struct trails_post *t;
	size_t at;
};

static int next_trail(void *arg, const char **origin, struct slice *blob)
{
	struct next_trail *n = arg;

	if (n->at == n->t->n)
		return 0;
	*origin = n->t->row[n->at].origin;
	*blob = (struct slice){ n->t->row[n->at].blob, n->t->row[n->at].size };
	n->at++;
	return 1;
}

static int write_hold(struct ledger *l, const struct post *p, struct err *e)
{
	if (ledger_begin(l, e) != 0)
		return -1;
	if (ledger_incident_put(l, &p->incident, e) != 0 || ledger_origin_put(l, &p->origin, e) != 0) {
		ledger_undo(l);
		return -1;
	}
	return ledger_commit(l, e);
}

static int do_post(struct keeper *k, struct post *p, struct err *e)
{
	struct next_trail n;

	switch (p->kind) {
	case POST_INCIDENT:
		return ledger_incident_put(k->store->ledger, &p->incident, e);
	case POST_ORIGIN:
		return ledger_origin_put(k->store->ledger, &p->origin, e);
	case POST_HOLD:
		return write_hold(k->store->ledger, p, e);
	case POST_TRAILS:
		n = (struct next_trail){ p->trails, 0 };
		return ledger_trails_replace(k->store->ledger, p->trails->saved_at, next_trail, &n, e);
	}
	return 0;
}

/* The first post stays first until it is written. False: it could not be. */
static bool do_posts(struct keeper *k)
{
	struct post *p;
	struct err e;

	for (;;) {
		(void)pthread_mutex_lock(&k->lock);
		p = k->first;
		(void)pthread_mutex_unlock(&k->lock);
		if (p == NULL)
			return true;
		int rc = do_post(k, p, &e);
		set_trouble(k, rc == 0 ? "" : e.text);
		if (rc != 0 && e.kind == ERR_AGAIN)
			return false;
		(void)pthread_mutex_lock(&k->lock);
		k->first = p->next;
		if (k->first == NULL)
			k->last = &k->first;
		if (p->kind == POST_TRAILS)
			k->trails_waiting = false;
		(void)pthread_mutex_unlock(&k->lock);
		if (p->kind == POST_TRAILS)
			trails_free(p->trails);
		free(p);
	}
}

struct expiring {
	int64_t ids[EXPIRE_BATCH];
	size_t n;
	int64_t before;
	uint64_t soon;
};

static int expire_row(void *arg, struct row *r)
{
	struct expiring *x = arg;

	if (r->taken < x->before && x->n < EXPIRE_BATCH)
		x->ids[x->n++] = r->id;
	return x->n == EXPIRE_BATCH || r->taken >= x->before;
}

static int soon_row(void *arg, struct row *r)
{
	struct expiring *x = arg;

	x->soon += r->taken < x->before;
	return r->taken >= x->before;
}

/* Nothing expires unwarned. If nobody could warn for a day (we were off, or the clock jumped), the time between warning and
 * end begins now. */
static bool may_expire(struct keeper *k, int64_t now)
{
	int64_t seen = 0, not_before = 0;
	struct err e;

	if (ledger_meta_get(k->store->ledger, "expire_seen", &seen, &e) != 0 ||
	    ledger_meta_get(k->store->ledger, "expire_not_before", &not_before, &e) != 0)
		return false;
	if (now - seen > DAY_S || now < seen) {
		not_before = now + k->store->conf->expire_warn_s;
		if (ledger_meta_put(k->store->ledger, "expire_not_before", not_before, &e) != 0)
			return false;
	}
	return ledger_meta_put(k->store->ledger, "expire_seen", now, &e) == 0 && now >= not_before;
}

/* What nobody looked at in time is destroyed, as announced, and noted. */
static void expire(struct keeper *k, int64_t now)
{
	struct selection q = { .states = 1u << ROW_HELD };
	struct move_result results[EXPIRE_BATCH];
	struct expiring x = { .before = now - k->store->conf->expire_s };
	struct err e;
	bool may = may_expire(k, now);

	while (may) {
		x.n = 0;
		if (ledger_each(k->store->ledger, &q, expire_row, &x, &e) < 0 || x.n == 0)
			break;
		int done = purge_batch(k->store, x.ids, x.n, results, &e);
		if (done <= 0)
			break;
		struct audit_row a = { .time = now, .who = "spoolwardd", .action = "expire", .count = done };
		(void)snprintf(a.what, sizeof a.what, "m%lld...", (long long)x.ids[0]);
		(void)ledger_audit(k->store->ledger, &a, &e);
		log_notice("action=expire count=%d first=m%lld", done, (long long)x.ids[0]);
		may = x.n == EXPIRE_BATCH;
	}
	x = (struct expiring){ .before = now - k->store->conf->expire_s + k->store->conf->expire_warn_s };
	(void)ledger_each(k->store->ledger, &q, soon_row, &x, &e);
	if (x.soon > 0 && now - k->warned_s > DAY_S) {
		k->warned_s = now;
		log_warn("%llu held messages will be destroyed within %lld days: spoolward list --before %lldd",
			 (unsigned long long)x.soon, (long long)(k->store->conf->expire_warn_s / DAY_S),
			 (long long)((k->store->conf->expire_s - k->store->conf->expire_warn_s) / DAY_S));
	}
}

/* The MTA may write a log of a message after it was taken: its old id is in nobody's queue any more, so the log is
 * fetched too, or nobody ever removes it. */
static int late_log(void *arg, struct row *r)
{
	struct keeper *k = arg;
	struct place *p = store_place(k->store, r->spool);
	struct err e;

	if (p == NULL || clock_real_s() - r->taken > LATE_S)
		return 0;
	(void)pthread_rwlock_rdlock(&p->lock);
	if (p->root_fd >= 0 && !place_live(p, queue_id_slice(&r->queue_id)) &&
	    cell_take_logs(&k->store->cells, p, r, &e) != 0)
		log_warn("logs of m%lld: %s", (long long)r->id, e.text);
	(void)pthread_rwlock_unlock(&p->lock);
	return k->stop;
}

static void late_logs(struct keeper *k)
{
	struct selection q = { .states = 1u << ROW_HELD };
	struct err e;

	if (ledger_each(k->store->ledger, &q, late_log, k, &e) < 0)
		log_error("%s", e.text);
}

static void keep_house(struct keeper *k)
{
	int64_t now = clock_real_s(), now_ms = clock_boot_ms();
	uint64_t removed;
	struct err e;

	if (now_ms < k->house_ms)
		return;
	k->house_ms = now_ms + HOUSE_MS;
	expire(k, now);
	late_logs(k);
	/* a cell first, then its row: a row that went first would make fsck believe in a lost message */
	if (recover_cells(k->store, &e) != 0)
		log_error("%s", e.text);
	else if (ledger_prune(k->store->ledger, now - k->store->conf->forget_after_s, &removed, &e) != 0)
		log_error("%s", e.text);
}

static void sleep_for(struct keeper *k, int64_t ms)
{
	struct timespec until;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += ms / 1000;
	until.tv_nsec += (ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_mutex_lock(&k->lock);
	while (!k->awake && !k->stop && pthread_cond_timedwait(&k->wake, &k->lock, &until) == 0)
		;
	k->awake = false;
	(void)pthread_mutex_unlock(&k->lock);
}

static void *keeper_main(void *arg)
{
	struct keeper *k = arg;

	for (;;) {
		bool written = do_posts(k);
		int next = take_step(k->taker, clock_boot_ms());
		if (next == 0 && written)
			continue;
		if (k->stop)
			return NULL;
		keep_house(k);
		int64_t wait = next < 0 || next > RETRY_MS ? RETRY_MS : next;
		sleep_for(k, written ? (wait > 0 ? wait : 1) : RETRY_MS);
	}
}

int keeper_start(struct keeper *k, struct err *e)
{
	errno = pthread_create(&k->thread, NULL, keeper_main, k);
	if (errno != 0)
		return err_sys(e, "start the keeper");
	k->started = true;
	return 0;
}

void keeper_stop(struct keeper *k)
{
	if (k == NULL)
		return;
	if (k->started) {
		(void)pthread_mutex_lock(&k->lock);
		k->stop = true;
		(void)pthread_cond_signal(&k->wake);
		(void)pthread_mutex_unlock(&k->lock);
		(void)pthread_join(k->thread, NULL);
	}
	while (k->first != NULL) {
		struct post *p = k->first;
		k->first = p->next;
		if (p->kind == POST_TRAILS)
			trails_free(p->trails);
		free(p);
	}
	(void)pthread_mutex_destroy(&k->lock);
	(void)pthread_cond_destroy(&k->wake);
	free(k);
}
