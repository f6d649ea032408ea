#include "quarantine/recover.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sys.h"
#include "quarantine/release.h"

struct undone {
	struct store *store;
	struct place *place;
	struct err *e;
	int rc;
};

/* RELEASING before its commit: undo. Behind it: forward. PURGING: forward. */
static int finish_row(void *arg, struct row *r)
{
	struct undone *u = arg;
	struct err e;
	int rc;

	if (r->state == ROW_PURGING) {
		rc = purge_forward(u->store, r, &e);
	} else if (r->new_id.n > 0) {
		rc = release_forward(u->store, u->place, r, &e);
	} else {
		/* its copy goes when the row is held again for certain: drop_copies() */
		rc = ledger_move(u->store->ledger, r->id, ROW_RELEASING, ROW_HELD, clock_real_s(), &e) < 0 ? -1 : 0;
	}
	if (rc != 0) { /* one that cannot be finished must not stop the others */
		(void)err_add(&e, "recover m%lld", (long long)r->id);
		*u->e = e;
		u->rc = -1;
	}
	return 0;
}

/* Copies for a release that never committed, or was finished just now. */
static int drop_copies(struct store *s, struct place *p, struct err *e)
{
	struct dirent *d;
	struct row r;
	int64_t id;
	int fd = openat(p->stage_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	own_dir dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir == NULL)
		return err_sys(e, "read the stage of spool %s", p->brief.name);
	while ((d = readdir(dir)) != NULL) {
		if (!stage_release_parse(slice_str(d->d_name), &id))
			continue;
		int found = ledger_get(s->ledger, id, &r, e);
		if (found < 0)
			return -1;
		if (found == 1)
			row_free(&r);
		if ((found == 0 || r.state != ROW_RELEASING) && sys_unlink(p->stage_fd, d->d_name) != 0 && errno != ENOENT)
			rc = err_sys(e, "remove %s", d->d_name);
	}
	return rc;
}

int recover_place(struct store *s, struct place *p, struct err *e)
{
	struct undone u = { .store = s, .place = p, .e = e };
	struct selection q = { .spool = p->brief.name, .states = 1u << ROW_RELEASING | 1u << ROW_PURGING };

	(void)pthread_mutex_lock(&s->moving);
	(void)pthread_rwlock_rdlock(&p->lock);
	int rc = p->stage_fd < 0 ? 0 : ledger_each(s->ledger, &q, finish_row, &u, e);
	if (rc == 0 && p->stage_fd >= 0)
		rc = drop_copies(s, p, e);
	(void)pthread_rwlock_unlock(&p->lock);
	(void)pthread_mutex_unlock(&s->moving);
	rc = rc != 0 ? rc : u.rc;
	if (rc != 0)
		atomic_store(&s->unfinished, true);
	return rc;
}

/* Is this the file that the row tells of? A queue id and an inode can come again, for mail that is new. */
static bool original(const struct row *r, const struct stat *st)
{
	return r->size == (uint64_t)st->st_size && r->mtime == st->st_mtime;
}

/* A file in the stage: whose is it, and how far had it come? */
static int adopt(struct store *s, struct place *p, struct taker *t, const char *name, struct err *e)
{
	unsigned dir, depth;
	uint64_t ino;
	struct queue_id id;
	struct row r;
	struct stat st;
	int64_t item;

	if (stage_release_parse(slice_str(name), &item)) /* recover_place() */
		return 0;
	if (!stage_parse(p->format, &p->set, slice_str(name), &dir, &depth, &ino, &id)) {
		log_warn("spool %s: the stage holds a file that is not ours: %s", p->brief.name, name);
		return 0;
	}
	int found = ledger_find(s->ledger, p->brief.name, queue_id_slice(&id), ino, &r, e);
	if (found < 0)
		return -1;
	if (found == 1)
		row_free(&r);
	bool again = found == 1 && (r.state == ROW_TAKING || r.state == ROW_STAGED);
	if (found == 1 && !again) {
		/* held as a copy, or nobody was left to deliver to, and the crash came before the original was removed.
		 * It may even be released or purged by now: then taking it once more would send it twice. */
		if (fstatat(p->stage_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			return errno == ENOENT ? 0 : err_sys(e, "look at %s", name);
		bool here = r.state == ROW_HELD || r.state == ROW_UNCERTAIN || r.state == ROW_RELEASING;
		int has = here ? cell_has(&s->cells, r.id, CELL_FILE, e) : 1;
		if (has < 0)
			return -1;
		if (has == 1 && original(&r, &st))
			return sys_unlink(p->stage_fd, name) == 0 || errno == ENOENT ? 0 : err_sys(e, "remove %s", name);
	}
	if (take_add(t, p->index, name, dir, depth, queue_id_slice(&id), again ? r.incident : 0, again ? r.origin : "",
		     again ? r.id : 0) != 0)
		return err_sys(e, "recover %s", name);
	return 0;
}

struct orphans {
	struct store *store;
	struct place *place;
	struct taker *taker;
	struct err *e;
};

/* A row of a take without its stage file: it is in its cell, or the rename into the stage did not survive. */
static int adopt_row(void *arg, struct row *r)
{
	struct orphans *o = arg;
	char name[STAGE_NAME];

	stage_name(name, r->dir, r->depth, r->ino, queue_id_slice(&r->queue_id));
	if (faccessat(o->place->stage_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0; /* adopted by its file */
	if (errno != ENOENT)
		return err_sys(o->e, "look for %s", name);
	int has = cell_has(&o->store->cells, r->id, CELL_FILE, o->e);
	if (has < 0)
		return -1;
	if (has == 1)
		return take_add(o->taker, o->place->index, name, r->dir, r->depth, queue_id_slice(&r->queue_id), r->incident,
				r->origin, r->id);
	log_warn("m%lld (%s) was not taken after all: it is with the MTA", (long long)r->id, r->queue_id.text);
	return ledger_forget(o->store->ledger, r->id, o->e);
}

int recover_takes(struct store *s, struct place *p, struct taker *t, struct err *e)
{
	struct selection q = { .spool = p->brief.name, .states = 1u << ROW_TAKING | 1u << ROW_STAGED };
	struct orphans o = { s, p, t, e };
	struct dirent *d;
	int rc = 0;

	(void)pthread_rwlock_rdlock(&p->lock);
	int fd = p->stage_fd < 0 ? -1 : openat(p->stage_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	own_dir dir = fd < 0 ? NULL : fdopendir(fd);
	if (dir == NULL && p->stage_fd >= 0)
		rc = err_sys(e, "read the stage of spool %s", p->brief.name);
	while (rc == 0 && dir != NULL && (d = readdir(dir)) != NULL)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
			rc = adopt(s, p, t, d->d_name, e);
	if (rc == 0 && dir != NULL)
		rc = ledger_each(s->ledger, &q, adopt_row, &o, e);
	(void)pthread_rwlock_unlock(&p->lock);
	return rc;
}

struct rebuild {
	struct store *store;
	uint64_t n;
	int64_t last; /* the highest id of a cell, with or without a description */
	struct err *e;
};

static int rebuild_cell(void *arg, int64_t id)
{
	struct rebuild *b = arg;
	struct err e;
	struct row r;

	if (id > b->last)
		b->last = id;
	int has = cell_has(&b->store->cells, id, CELL_FILE, b->e);
	if (has <= 0)
		return has; /* fsck names an empty one */
	if (cell_read_info(&b->store->cells, id, &r, &e) != 0) {
		if (e.kind != ERR_HOSTILE && e.kind != ERR_GONE) { /* it may be readable later */
			*b->e = e;
			return -1;
		}
		log_error("%s: the cell stays as it is", e.text);
		return 0;
	}
	int rc = ledger_put(b->store->ledger, &r, b->e);
	row_free(&r);
	b->n += rc == 0;
	return rc;
}

int recover_rebuild(struct store *s, struct err *e)
{
	struct rebuild b = { s, 0, 0, e };

	if (ledger_begin(s->ledger, e) != 0)
		return -1;
	if (cells_each(&s->cells, rebuild_cell, &b, e) != 0 || ledger_complete(s->ledger, b.last, e) != 0) {
		ledger_undo(s->ledger);
		return -1;
	}
	if (ledger_commit(s->ledger, e) != 0)
		return -1;
	if (b.n > 0)
		log_warn("the ledger was missing: made anew from %llu cells", (unsigned long long)b.n);
	return 0;
}

struct tidying {
	struct store *store;
	int64_t last;
	struct err *e;
};

static int tidy_cell(void *arg, int64_t id)
{
	struct tidying *t = arg;
	struct err e;
	struct row r;

	if (id > t->last)
		t->last = id;
	int found = ledger_get(t->store->ledger, id, &r, t->e);
	if (found == 1)
		row_free(&r);
	if (found < 0)
		return -1;
	bool over = found == 1 && (r.state == ROW_RELEASED || r.state == ROW_PURGED || r.state == ROW_GONE);
	if (over && cell_remove(&t->store->cells, id, &e) != 0)
		log_warn("%s (tried again)", e.text);
	return 0;
}

int recover_cells(struct store *s, struct err *e)
{
	struct tidying t = { s, 0, e };

	(void)pthread_mutex_lock(&s->moving);
	int rc = cells_each(&s->cells, tidy_cell, &t, e);
	(void)pthread_mutex_unlock(&s->moving);
	if (rc != 0)
		return rc;
	/* a ledger that was restored from a copy is older than the cells */
	if (ledger_begin(s->ledger, e) != 0)
		return -1;
	if (ledger_complete(s->ledger, t.last, e) != 0) {
		ledger_undo(s->ledger);
		return -1;
	}
	return ledger_commit(s->ledger, e);
}

struct check {
	struct store *store;
	bool repair;
	int (*each)(void *arg, const struct finding *);
	void *arg;
	struct err *e;
};

static int found(struct check *c, const char *what, int64_t id, const char *path, bool safe, bool repaired)
{
	struct finding f = { .what = what, .id = id, .safe = safe, .repaired = repaired };

	(void)slice_text(f.path, sizeof f.path, slice_str(path));
	return c->each(c->arg, &f);
}

/* Each cell against its row. */
static int check_cell(void *arg, int64_t id)
{
	struct check *c = arg;
	struct row r;
	char path[64];
	bool repaired = false;
	struct err e;

	(void)snprintf(path, sizeof path, "cells/%lld/m%lld", (long long)(id / 1000), (long long)id);
	int got = ledger_get(c->store->ledger, id, &r, c->e);
	if (got < 0)
		return -1;
	if (got == 1)
		row_free(&r);
	int has = cell_has(&c->store->cells, id, CELL_FILE, c->e);
	if (has < 0)
		return -1;
	if (got == 0 && has == 1) {
		if (c->repair && cell_read_info(&c->store->cells, id, &r, &e) == 0) {
			repaired = ledger_put(c->store->ledger, &r, &e) == 0;
			if (repaired)
				store_count(c->store, 1, (int64_t)r.size);
			row_free(&r);
		}
		return found(c, "a cell without a row: its description makes the row", id, path, true, repaired);
	}
	if (got == 0) {
		if (c->repair)
			repaired = cell_remove(&c->store->cells, id, &e) == 0;
		return found(c, "a cell without a message and without a row", id, path, true, repaired);
	}
	if (r.state == ROW_RELEASED || r.state == ROW_PURGED || r.state == ROW_GONE) {
		if (c->repair)
			repaired = cell_remove(&c->store->cells, id, &e) == 0;
		return found(c, "a cell whose message was released or purged", id, path, true, repaired);
	}
	return 0;
}

/* Each held row against its cell. Nothing here is repaired by itself: a missing message is for a person. */
static int check_row(void *arg, struct row *r)
{
	struct check *c = arg;
	struct stat st;
	struct err e;
	char path[64];

	(void)snprintf(path, sizeof path, "cells/%lld/m%lld/" CELL_FILE, (long long)(r->id / 1000), (long long)r->id);
	own_fd fd = cell_open_file(&c->store->cells, r->id, CELL_FILE, &e);
	if (fd < 0 && e.kind == ERR_AGAIN) {
		*c->e = e;
		return -1;
	}
	if (fd < 0)
		return found(c, "a held message without its file", r->id, path, false, false);
	if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != r->size)
		return found(c, "a held message whose file has another size", r->id, path, false, false);
	int has = cell_has(&c->store->cells, r->id, CELL_INFO, c->e);
	if (has < 0)
		return -1;
	if (has == 0)
		return found(c, "a cell without its description", r->id, path, true,
			     c->repair && cell_write_info(&c->store->cells, r, &e) == 0);
	return 0;
}

int fsck(struct store *s, bool repair, int (*each)(void *, const struct finding *), void *arg, struct err *e)
{
	struct check c = { s, repair, each, arg, e };
	struct selection q = { .states = 1u << ROW_HELD | 1u << ROW_UNCERTAIN };
	char says[256];
	int rc;

	if (ledger_check(s->ledger, says, sizeof says, e) != 0)
		return -1;
	if (strcmp(says, "ok") != 0 && (rc = found(&c, "the ledger itself is damaged", 0, says, false, false)) != 0)
		return rc;
	for (size_t i = 0; i < s->nplaces; i++)
		if (s->places[i].stage_fd < 0 && (rc = found(&c, "a spool that is not there", 0, s->places[i].brief.root, false,
							      false)) != 0)
			return rc;
	(void)pthread_mutex_lock(&s->moving);
	rc = cells_each(&s->cells, check_cell, &c, e);
	if (rc == 0)
		rc = ledger_each(s->ledger, &q, check_row, &c, e);
	(void)pthread_mutex_unlock(&s->moving);
	return rc;
}
