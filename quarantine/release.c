#include "quarantine/release.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sys.h"

/* The order of writes of a release, and why.
 *   1. ledger: RELEASING without a new id     a second release or a purge is refused from here on
 *   2. stage:  r.ID, a whole copy with owner, mode and age; syncfs
 *   3. ledger: the new id                     the commit. Before it everything is undone, after it everything is done
 *   4. spool:  r.ID is renamed to the new id; syncfs
 *   5. ledger: RELEASED
 *   6. cell removed, MTA woken
 * At 3 the copy is durable under a name that recovery knows. After 3 "r.ID is no longer in the stage" can only mean
 * that 4 happened (or that a RAM disk was emptied by a reboot: then nobody knows, and the row says UNCERTAIN). */

#define FRESH_TRIES 8
#define WHY sizeof((struct move_result *)0)->why

struct returning {
	struct row row;
	struct place *place;
	uint64_t ino;
	bool begun, whole, spoiled, committed, back;
	bool linked; /* the new name is there, and the one in the stage too */
	char *why;
};

static int why(struct returning *r, const struct err *e)
{
	(void)slice_text(r->why, WHY, slice_str(e->text));
	return -1;
}

static void render_stamp(const struct stamp *s, int64_t now, char *out, size_t *n)
{
	char digits[32];
	int len = snprintf(digits, sizeof digits, "%lld", (long long)(now + s->delta));

	*n = 0;
	if (len <= 0 || len > s->width || s->width > 24 || (len < s->width && s->pad == '\0'))
		return;
	memset(out, s->pad, s->width);
	memcpy(out + (s->width - len), digits, (size_t)len);
	*n = s->width;
}

static int renew_stamps(int fd, const struct row *r, int64_t now, struct err *e)
{
	char text[24];
	size_t n;

	for (uint32_t i = 0; i < r->nstamps; i++) {
		if (r->stamps[i].at > r->size || r->size - r->stamps[i].at < r->stamps[i].width)
			continue;
		render_stamp(&r->stamps[i], now, text, &n);
		if (n > 0 && sys_pwrite(fd, text, n, (off_t)r->stamps[i].at) != 0)
			return err_sys(e, "renew the age");
	}
	return 0;
}

/* Owner and mode as the MTA needs them; times: now. */
static int dress(const struct place *p, int fd, const struct row *r, struct err *e)
{
	uid_t uid = p->brief.owner >= 0 ? (uid_t)p->brief.owner : r->uid;
	gid_t gid = p->brief.owner >= 0 ? p->group : r->gid;
	mode_t mode = p->format->file_mode ? p->format->file_mode : (r->mode & 0777);
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(e, "look at the copy");
	if ((st.st_uid != uid || st.st_gid != gid) && sys_chown(fd, uid, gid) != 0)
		return err_sys(e, "give the copy to uid %u", (unsigned)uid);
	if (sys_chmod(fd, mode) != 0 || sys_times(fd, NULL) != 0)
		return err_sys(e, "set the mode of the copy");
	return 0;
}

/* A copy that cannot be removed is only in the way; recover_place() removes it. */
static void drop_copy(struct store *s, const struct returning *r)
{
	char name[STAGE_NAME];

	stage_release_name(name, r->row.id);
	if (sys_unlink(r->place->stage_fd, name) != 0 && errno != ENOENT)
		atomic_store(&s->unfinished, true);
}

/* Step 2 for one message. */
static int make_copy(struct store *s, struct returning *r, struct err *e)
{
	char name[STAGE_NAME];
	struct stat st;

	stage_release_name(name, r->row.id);
	if (r->place->stage_fd < 0)
		return err_set(e, ERR_AGAIN, "spool %s is not there", r->row.spool);
	own_fd from = cell_open_file(&s->cells, r->row.id, CELL_FILE, e);
	if (from < 0)
		return -1;
	if (fstat(from, &st) != 0 || (uint64_t)st.st_size != r->row.size)
		return err_set(e, ERR_BUG, "the held file has %lld bytes, the ledger says %llu", (long long)st.st_size,
			       (unsigned long long)r->row.size);
	if (sys_unlink(r->place->stage_fd, name) != 0 && errno != ENOENT)
		return err_sys(e, "remove an unfinished copy");
	own_fd to = sys_create(r->place->stage_fd, name, 0600);
	if (to < 0)
		return err_sys(e, "make a copy in the spool");
	if (sys_copy(from, to, r->row.size) != 0)
		(void)err_sys(e, "copy into the spool");
	else if (renew_stamps(to, &r->row, clock_real_s(), e) == 0 && dress(r->place, to, &r->row, e) == 0 &&
		 fstat(to, &st) == 0) {
		r->ino = st.st_ino;
		return 0;
	}
	drop_copy(s, r);
	return -1;
}

static int new_id(struct store *s, struct returning *r, unsigned attempt, struct err *e)
{
	if (!place_fresh(r->place, queue_id_slice(&r->row.queue_id), r->ino, attempt, &r->row.new_id))
		return err_set(e, ERR_BUG, "no new queue id for %s", r->row.queue_id.text);
	return ledger_set_new_id(s->ledger, r->row.id, queue_id_slice(&r->row.new_id), s->boot_id, e);
}

static unsigned target_dir(const struct returning *r)
{
	return r->place->format->release_same ? r->row.dir : r->place->format->release_dir;
}

/* The directory of the new name; hash directories are made as the MTA would. */
static int open_target(struct returning *r, char *path, size_t skip, const char **file, struct err *e)
{
	int fd = place_at(r->place, path, file);

	if (fd >= 0 || errno != ENOENT)
		return fd >= 0 ? fd : err_sys(e, "open the directory of %s", path);
	for (char *slash = strchr(path + skip, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		const char *name;
		*slash = '\0';
		own_fd up = place_at(r->place, path, &name);
		if (up < 0 || (sys_mkdir(up, name, 0700) != 0 && errno != EEXIST))
			return err_sys(e, "make %s", path);
		own_fd made = openat(up, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (made >= 0 && r->place->brief.owner >= 0 &&
		    sys_chown(made, (uid_t)r->place->brief.owner, r->place->group) != 0)
			return err_sys(e, "give %s to the MTA", path);
		*slash = '/';
	}
	fd = place_at(r->place, path, file);
	return fd >= 0 ? fd : err_sys(e, "open the directory of %s", path);
}

static bool part_path(const struct returning *r, unsigned part, struct slice id, char out[SPOOL_PATH_MAX])
{
	return spool_part_path(r->place->format, &r->place->set, part, r->row.dir, r->row.depth, id, out);
}

/* Logs and notices under the new id are stale: the MTA clears them for new mail, and this mail goes round that. Then what
 * the MTA still has to tell the sender follows the message, unless the old id lives again. */
static void move_notices(struct returning *r)
{
	struct slice old_id = queue_id_slice(&r->row.queue_id), id = queue_id_slice(&r->row.new_id);
	char old_path[SPOOL_PATH_MAX], path[SPOOL_PATH_MAX];
	const char *old_file, *file;

	for (unsigned i = 0; i < r->place->format->nparts; i++) {
		unsigned traits = r->place->format->parts[i].traits;
		if ((traits & (PART_LOG | PART_NOTICE)) == 0 || !part_path(r, i, id, path) || !part_path(r, i, old_id, old_path))
			continue;
		own_fd to = place_at(r->place, path, &file), from = place_at(r->place, old_path, &old_file);
		if (to >= 0 && sys_unlink(to, file) != 0 && errno != ENOENT)
			log_warn("remove %s: %s", path, strerrordesc_np(errno));
		if ((traits & PART_NOTICE) != 0 && to >= 0 && from >= 0 && !place_live(r->place, old_id) &&
		    sys_move(from, old_file, to, file) != 0 && errno != ENOENT)
			log_warn("rename %s: %s", old_path, strerrordesc_np(errno));
	}
}

/* Step 4 for one message. The name is new; if it is taken all the same, another one is committed first. */
static int rename_back(struct store *s, struct returning *r, struct err *e)
{
	char stage[STAGE_NAME], path[SPOOL_PATH_MAX];
	const struct spool_dir *dirs = r->place->format->dirs;
	unsigned dir = target_dir(r);
	const char *file;

	stage_release_name(stage, r->row.id);
	for (unsigned attempt = 1; attempt <= FRESH_TRIES; attempt++) {
		struct slice id = queue_id_slice(&r->row.new_id);
		if (!spool_path(r->place->format, dir, spool_depth(&r->place->set, dirs[dir].name), id, path))
			return err_set(e, ERR_BUG, "%s has no path", r->row.new_id.text);
		own_fd to = open_target(r, path, strlen(dirs[dir].name) + 1, &file, e);
		if (to < 0)
			return -1;
		move_notices(r);
		if (s->hooks.returning != NULL)
			s->hooks.returning(s->hooks.arg, r->place->index, id, r->ino, &r->row);
		if ((r->linked ? sys_unlink(r->place->stage_fd, stage) : sys_move(r->place->stage_fd, stage, to, file)) == 0)
			return 0;
		if (errno != EEXIST)
			return err_sys(e, "put %s back", path);
		if (new_id(s, r, attempt, e) != 0)
			return -1;
	}
	return err_set(e, ERR_BUG, "every new queue id is taken");
}

static int move_rows(struct store *s, struct returning *list, size_t n, enum row_state from, enum row_state to,
		     struct err *e)
{
	int64_t now = clock_real_s();

	if (ledger_begin(s->ledger, e) != 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		struct returning *r = &list[i];
		bool due = to == ROW_RELEASING ? r->why[0] == '\0' : to == ROW_RELEASED ? r->back : r->begun && !r->committed;
		/* released to a RAM disk that is gone: a person decided to do it again */
		bool again = to == ROW_RELEASING && r->row.state == ROW_UNCERTAIN;
		int moved = due ? ledger_move(s->ledger, r->row.id, again ? ROW_UNCERTAIN : from, to, now, e) : 1;
		if (moved < 0) {
			ledger_undo(s->ledger);
			return -1;
		}
		if (due && to == ROW_RELEASING) {
			r->begun = moved == 1;
			if (!r->begun)
				(void)snprintf(r->why, WHY, "it is no longer held");
		}
	}
	return ledger_commit(s->ledger, e);
}

static int commit_ids(struct store *s, struct returning *list, size_t n, struct err *e)
{
	if (ledger_begin(s->ledger, e) != 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (list[i].whole && new_id(s, &list[i], 0, e) != 0) {
			ledger_undo(s->ledger);
			return -1;
		}
	if (ledger_commit(s->ledger, e) != 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		list[i].committed = list[i].whole;
	return 0;
}

static int sync_places(struct store *s, const struct returning *list, size_t n, struct err *e)
{
	for (size_t p = 0; p < s->nplaces; p++) {
		bool used = false;
		for (size_t i = 0; i < n; i++)
			used = used || (list[i].begun && list[i].place == &s->places[p]);
		if (used && s->places[p].stage_fd >= 0 && sys_syncfs(s->places[p].stage_fd) != 0)
			return err_sys(e, "sync spool %s", s->places[p].brief.name);
	}
	return 0;
}

/* Steps 2 and 3; a message that fails goes back to HELD, alone. A commit that failed may be on the disk all the same, and
 * then the next start would believe that the new id was used: so the copies stay until the rows are HELD again. */
static void copy_all(struct store *s, struct returning *list, size_t n)
{
	struct err e;

	for (size_t i = 0; i < n; i++)
		if (list[i].begun) {
			list[i].whole = make_copy(s, &list[i], &e) == 0;
			if (!list[i].whole)
				(void)why(&list[i], &e);
		}
	if (sync_places(s, list, n, &e) != 0 || commit_ids(s, list, n, &e) != 0)
		for (size_t i = 0; i < n; i++)
			if (list[i].whole) {
				list[i].whole = false;
				list[i].spoiled = true;
				(void)why(&list[i], &e);
			}
	if (move_rows(s, list, n, ROW_RELEASING, ROW_HELD, &e) != 0) {
		log_error("give up a release: %s (tried again)", e.text);
		atomic_store(&s->unfinished, true);
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (list[i].spoiled)
			drop_copy(s, &list[i]);
}

static void rename_all(struct store *s, struct returning *list, size_t n)
{
	struct err e;

	for (size_t i = 0; i < n; i++)
		if (list[i].committed) {
			list[i].back = rename_back(s, &list[i], &e) == 0;
			if (!list[i].back) {
				(void)snprintf(list[i].why, WHY, "%.380s (tried again)", e.text);
				atomic_store(&s->unfinished, true);
			}
		}
	if (sync_places(s, list, n, &e) != 0 || move_rows(s, list, n, ROW_RELEASING, ROW_RELEASED, &e) != 0) {
		/* it is in the spool; only the note of it is missing */
		log_error("note a release: %s (tried again)", e.text);
		atomic_store(&s->unfinished, true);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		struct returning *r = &list[i];
		if (!r->back)
			continue;
		store_count(s, -1, -(int64_t)r->row.size);
		if (cell_remove(&s->cells, r->row.id, &e) != 0)
			log_warn("%s (fsck --repair removes it)", e.text);
	}
}

static void kick_all(struct store *s, const struct returning *list, size_t n)
{
	for (size_t p = 0; p < s->nplaces; p++)
		for (size_t i = 0; i < n; i++)
			if (list[i].back && list[i].place == &s->places[p]) {
				place_kick(&s->places[p]);
				break;
			}
}

static void read_row(struct store *s, struct returning *r, int64_t id)
{
	struct err e;
	int got = ledger_get(s->ledger, id, &r->row, &e);

	if (got != 1)
		(void)slice_text(r->why, WHY, slice_str(got == 0 ? "there is no such message" : e.text));
	else if (r->row.state != ROW_HELD && r->row.state != ROW_UNCERTAIN)
		(void)snprintf(r->why, WHY, "it is not held: %s", row_state_names[r->row.state]);
	else if ((r->place = store_place(s, r->row.spool)) == NULL)
		(void)snprintf(r->why, WHY, "no spool %s is configured", r->row.spool);
}

int release_batch(struct store *s, const int64_t *ids, size_t n, struct move_result *results, struct err *e)
{
	own_mem struct returning *list = calloc(n, sizeof *list);
	int good = 0;

	if (list == NULL)
		return err_sys(e, "release");
	memset(results, 0, n * sizeof *results);
	for (size_t i = 0; i < n; i++) {
		list[i].why = results[i].why;
		read_row(s, &list[i], ids[i]);
	}
	(void)pthread_mutex_lock(&s->moving);
	store_hold_places(s, true);
	int rc = move_rows(s, list, n, ROW_HELD, ROW_RELEASING, e);
	if (rc == 0) {
		copy_all(s, list, n);
		rename_all(s, list, n);
	}
	store_hold_places(s, false);
	(void)pthread_mutex_unlock(&s->moving);
	kick_all(s, list, n);
	for (size_t i = 0; i < n; i++) {
		results[i].bytes = list[i].row.size;
		good += list[i].back;
		row_free(&list[i].row);
	}
	return rc == 0 ? good : -1;
}

/* The place is up and locked by the caller. */
int release_forward(struct store *s, struct place *p, struct row *row, struct err *e)
{
	char text[WHY] = "", stage[STAGE_NAME];
	struct stat st;
	struct returning r = { .row = *row, .place = p, .why = text };

	stage_release_name(stage, row->id);
	if (fstatat(p->stage_fd, stage, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		r.ino = st.st_ino;
		/* btrfs: after a power cut a rename may be half there, both names of one file, if the MTA synced its directory */
		r.linked = st.st_nlink > 1;
		if (rename_back(s, &r, e) != 0)
			return -1;
		row->new_id = r.row.new_id;
	} else if (errno != ENOENT) {
		return err_sys(e, "look for %s", stage);
	} else if (p->on_ram && strcmp(row->boot_id, s->boot_id) != 0) {
		return ledger_move(s->ledger, row->id, ROW_RELEASING, ROW_UNCERTAIN, clock_real_s(), e) < 0 ? -1 : 0;
	}
	if (sys_syncfs(p->stage_fd) != 0)
		return err_sys(e, "sync spool %s", p->brief.name);
	int moved = ledger_move(s->ledger, row->id, ROW_RELEASING, ROW_RELEASED, clock_real_s(), e);
	if (moved < 0)
		return -1;
	if (moved == 1)
		store_count(s, -1, -(int64_t)row->size);
	place_kick(p);
	if (cell_remove(&s->cells, row->id, e) != 0)
		log_warn("%s (fsck --repair removes it)", e->text);
	return 0;
}

int purge_forward(struct store *s, struct row *row, struct err *e)
{
	if (cell_remove(&s->cells, row->id, e) != 0)
		return -1;
	return ledger_move(s->ledger, row->id, ROW_PURGING, ROW_PURGED, clock_real_s(), e) < 0 ? -1 : 0;
}

/* HELD (or UNCERTAIN: a person decided) to PURGING, all in one transaction. What an earlier purge left half is purged
 * again: batches come one after the other. rows[].state says what each was. */
static int purge_begin(struct store *s, struct row *rows, size_t n, struct move_result *results, struct err *e)
{
	int64_t now = clock_real_s();

	if (ledger_begin(s->ledger, e) != 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (results[i].why[0] != '\0')
			continue;
		static const enum row_state from[] = { ROW_HELD, ROW_UNCERTAIN, ROW_PURGING };
		int moved = 0;
		for (size_t k = 0; k < sizeof from / sizeof *from && moved == 0; k++) {
			moved = ledger_move(s->ledger, rows[i].id, from[k], ROW_PURGING, now, e);
			rows[i].state = from[k];
		}
		if (moved < 0) {
			ledger_undo(s->ledger);
			return -1;
		}
		if (moved == 0)
			(void)snprintf(results[i].why, sizeof results[i].why, "it is no longer held");
	}
	return ledger_commit(s->ledger, e);
}

static int purge_end(struct store *s, struct row *rows, size_t n, struct move_result *results, struct err *e)
{
	int64_t now = clock_real_s();
	int good = 0;

	if (ledger_begin(s->ledger, e) != 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (results[i].why[0] == '\0') {
			int moved = ledger_move(s->ledger, rows[i].id, ROW_PURGING, ROW_PURGED, now, e);
			if (moved < 0) {
				ledger_undo(s->ledger);
				return -1;
			}
			good += moved; /* 0: it was named twice */
		}
	return ledger_commit(s->ledger, e) == 0 ? good : -1;
}

int purge_batch(struct store *s, const int64_t *ids, size_t n, struct move_result *results, struct err *e)
{
	own_mem struct row *rows = calloc(n, sizeof *rows);
	struct err one;

	if (rows == NULL)
		return err_sys(e, "purge");
	memset(results, 0, n * sizeof *results);
	for (size_t i = 0; i < n; i++) {
		if (ledger_get(s->ledger, ids[i], &rows[i], &one) != 1)
			(void)snprintf(results[i].why, sizeof results[i].why, "there is no such message");
		results[i].bytes = rows[i].size;
	}
	(void)pthread_mutex_lock(&s->moving);
	int rc = purge_begin(s, rows, n, results, e);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		if (results[i].why[0] != '\0')
			continue;
		if (cell_remove(&s->cells, ids[i], &one) != 0) {
			(void)snprintf(results[i].why, WHY, "%.380s (tried again)", one.text);
			atomic_store(&s->unfinished, true);
		}
		if (rows[i].state != ROW_PURGING)
			store_count(s, -1, -(int64_t)rows[i].size);
	}
	if (rc == 0 && (rc = purge_end(s, rows, n, results, e)) < 0)
		atomic_store(&s->unfinished, true);
	(void)pthread_mutex_unlock(&s->moving);
	for (size_t i = 0; i < n; i++)
		row_free(&rows[i]);
	return rc;
}
