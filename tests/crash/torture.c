/* torture - fails and kills every disk-changing call in turn, and looks whether each message is still whole and on
 * exactly one side.
 *
 *   torture fast|full same|cross DIR_OF_THE_SPOOLS DIR_OF_THE_STORE      all operations, from the top of the source tree
 *   torture control DIR_OF_THE_SPOOLS DIR_OF_THE_STORE                   the checker must object when recovery is left out
 *
 * States as in quarantine/INTERNALS.md: take goes through S0-S3 and S8, release through S3-S6 (and S9), purge and expire through S7
 * and S8; recovery, rebuild and fsck start from what each of them leaves.
 *
 * Both directories are emptied again and again: give it empty ones that nobody else uses.
 * TORTURE_ONLY=NAME runs one operation, TORTURE_LOG=1 shows what the store says. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "monitor/keeper.h"
#include "quarantine/recover.h"
#include "quarantine/release.h"
#include "tests/crash/seam.h"
#include "tests/crash/walker.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))
#define POSTFIX "tests/fuzz/corpus/postfix/"
#define EML "tests/fuzz/corpus/eml/"

enum { PF, DROP };                                                   /* the spools */
enum { FREE = 1, HELD = 2, GONE = 4, RELEASED = 8, PURGED = 16 };    /* where a message may end */

/* ---- what there is ---- */

static struct mail {
	uint16_t spool;
	unsigned dir, depth;
	const char *id, *path, *from; /* path: below the spool's root */
	bool delivered;               /* to everybody, before it was taken */
	char *bytes;
	size_t n;
	struct walk walk;
	unsigned may; /* where it may be at the end */
	/* as found */
	unsigned in_spool, in_cell, in_stage;
} mails[] = {
	{ PF, 0, 0, "A1B2C3D4E5", "incoming/A1B2C3D4E5", POSTFIX "sasl", .delivered = false },
	{ PF, 1, 0, "B1B2C3D4E5", "active/B1B2C3D4E5", POSTFIX "sasl-60-recipients", .delivered = false },
	{ PF, 2, 1, "C1B2C3D4E5", "deferred/C/C1B2C3D4E5", POSTFIX "deferred-partly-done", .delivered = false },
	{ PF, 1, 0, "D1B2C3D4E5", "active/D1B2C3D4E5", POSTFIX "smtp", .delivered = true },
	{ DROP, 0, 0, "plain.eml", "plain.eml", EML "plain.eml", .delivered = false },
};

static struct {
	char spools[PATH_MAX], store[PATH_MAX];
	bool cross, fast;
	struct conf *conf;
} world;

static unsigned objections;
static bool damaged; /* by ourselves: rows and descriptions may be missing */
static char now_doing[200];

static void object(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void object(const char *fmt, ...)
{
	char text[700];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	if (objections++ < 12) {
		(void)printf("# %s: %s\n", now_doing, text);
		(void)fflush(stdout);
	}
}

static void die(const char *what) __attribute__((noreturn));
static void die(const char *what)
{
	(void)printf("not ok - torture: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- making it ---- */

/* Empties a directory of ours: never across a mount, never through a link. */
static void empty(int at, const char *name, dev_t dev)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	own_dir dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;
	struct stat st;

	if (dir == NULL)
		die(name);
	while ((d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if (fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_dev != dev)
			die(d->d_name);
		if (S_ISDIR(st.st_mode))
			empty(fd, d->d_name, dev);
		if (unlinkat(fd, d->d_name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) != 0)
			die(d->d_name);
	}
}

static void empty_top(const char *path)
{
	struct stat st;

	if (lstat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		die(path);
	empty(AT_FDCWD, path, st.st_dev);
}

static void put_file(const char *path, const char *bytes, size_t n, mode_t mode)
{
	own_fd fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, bytes, n) != (ssize_t)n || fchmod(fd, mode) != 0)
		die(path);
}

static void make_dirs(const char *top, const char *const *names, size_t n)
{
	char path[PATH_MAX + 64];

	for (size_t i = 0; i < n; i++) {
		(void)snprintf(path, sizeof path, "%s/%s", top, names[i]);
		if (mkdir(path, 0700) != 0)
			die(path);
	}
}

static void make_spools(void)
{
	static const char *const dirs[] = { "pf",      "pf/incoming", "pf/active",  "pf/deferred", "pf/deferred/C",
					    "pf/hold", "pf/defer",    "pf/defer/C", "pf/bounce",   "drop" };
	char path[PATH_MAX + 64];

	empty_top(world.spools);
	empty_top(world.store);
	make_dirs(world.spools, dirs, ROWS(dirs));
	for (size_t i = 0; i < ROWS(mails); i++) {
		(void)snprintf(path, sizeof path, "%s/%s/%s", world.spools, mails[i].spool == PF ? "pf" : "drop", mails[i].path);
		put_file(path, mails[i].bytes, mails[i].n, 0700);
	}
	(void)snprintf(path, sizeof path, "%s/pf/defer/C/C1B2C3D4E5", world.spools);
	put_file(path, "the log\n", 8, 0600);
}

/* All recipients of a Postfix file become done ones. */
static void deliver(char *bytes, size_t n)
{
	for (size_t at = 0; at + 1 < n;) {
		char *type = &bytes[at++];
		size_t len = 0, shift = 0;
		do {
			len |= (size_t)(bytes[at] & 0x7f) << shift;
			shift += 7;
		} while (bytes[at++] & 0x80 && at < n);
		at += len;
		if (*type == 'R')
			*type = 'D';
	}
}

static const struct spool_format *format_of(uint16_t spool)
{
	return spool == PF ? &spool_postfix : &spool_eml;
}

static void load_mails(void)
{
	for (size_t i = 0; i < ROWS(mails); i++) {
		struct mail *m = &mails[i];
		struct stat st;
		struct err e;
		own_fd fd = open(m->from, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) != 0 || (m->bytes = malloc((size_t)st.st_size + 1)) == NULL ||
		    read(fd, m->bytes, (size_t)st.st_size) != st.st_size)
			die(m->from);
		m->n = (size_t)st.st_size;
		if (m->delivered)
			deliver(m->bytes, m->n);
		struct spool_set set = { .hashed = "deferred defer", .hash_depth = 1, .names = "*.eml", .login_header = "",
					 .client_header = "", .sender_header = "", .file_uid = -1 };
		struct source src = source_mem((struct slice){ m->bytes, m->n });
		walk_init(&m->walk);
		if (format_of(m->spool)->walk(&set, &src, &m->walk, &e) != 0 || !(m->walk.flags & WALK_WHOLE) ||
		    (m->spool == PF && (m->walk.open == 0) != m->delivered))
			die("a mail of the corpus is not what it should be");
	}
}

static void load_conf(void)
{
	char text[4 * PATH_MAX], *mistakes = NULL;
	int n = snprintf(text, sizeof text,
			 "[spoolward]\nmode = enforce\nstate_dir = %s/state\nquarantine_dir = %s/q\nsocket = /tmp/s\nmin_free = 0\n"
			 "[spool pf]\nformat = postfix\npath = %s/pf\nowner = %u\nhashed = deferred defer\nhash_depth = 1\n"
			 "[spool drop]\nformat = eml\npath = %s/drop\n",
			 world.store, world.store, world.spools, (unsigned)geteuid(), world.spools);

	conf_free(world.conf);
	if (conf_parse("torture", (struct slice){ text, (size_t)n }, &world.conf, &mistakes) != 0) {
		(void)printf("# %s\n", mistakes);
		die("the configuration");
	}
}

/* ---- one process's view: store and taker ---- */

struct view {
	struct store *store;
	struct walker walker;
	struct taker *taker;
	int64_t now_ms;
};

enum start { START_BARE, START_CLI, START_DAEMON };

/* What the daemon does at start, or the command line while no daemon runs. -1: it could not, and would be started again. */
static int view_open(struct view *v, enum start how)
{
	struct err e;

	memset(v, 0, sizeof *v);
	v->now_ms = 1;
	if (store_open(world.conf, &v->store, &e) != 0) {
		log_error("open: %s", e.text);
		return -1;
	}
	v->walker = (struct walker){ v->store, walk_run };
	if (taker_new(v->store, &v->walker, &v->taker, &e) != 0)
		die("taker");
	int rc = 0;
	for (size_t i = 0; i < v->store->nplaces; i++) {
		struct place *p = &v->store->places[i];
		if (place_up(p, v->store->cells.fd, &e) != 0) {
			log_error("up: %s", e.text);
			rc = -1;
			continue;
		}
		if (p->same_mount == world.cross)
			object("same_mount is %d", p->same_mount);
		if ((how != START_BARE && recover_place(v->store, p, &e) != 0) ||
		    (how == START_DAEMON && recover_takes(v->store, p, v->taker, &e) != 0)) {
			log_error("recovery: %s", e.text);
			rc = -1;
		}
	}
	return rc;
}

static void view_close(struct view *v)
{
	taker_free(v->taker);
	store_close(v->store);
	memset(v, 0, sizeof *v);
}

/* Until nothing is left to do; -1: there always is. */
static int idle(struct view *v, unsigned steps)
{
	while (steps-- > 0) {
		int wait = take_step(v->taker, v->now_ms);
		if (wait < 0)
			return 0;
		v->now_ms += wait > 0 ? wait : 1;
	}
	return -1;
}

static int add_id(void *arg, struct row *r)
{
	int64_t *ids = arg;

	ids[++ids[0]] = r->id;
	return 0;
}

static size_t held_ids(struct view *v, int64_t ids[32])
{
	struct selection q = { .states = 1u << ROW_HELD };
	struct err e;

	ids[0] = 0;
	if (ledger_each(v->store->ledger, &q, add_id, ids, &e) < 0)
		return 0;
	return (size_t)ids[0];
}

/* ---- the operations ---- */

static void do_take(struct view *v, unsigned steps)
{
	struct claimed c;
	struct err e;
	char path[PATH_MAX + 64];
	struct stat st;

	for (size_t i = 0; i < ROWS(mails); i++) {
		struct mail *m = &mails[i];
		struct place *p = &v->store->places[m->spool];
		(void)snprintf(path, sizeof path, "%s/%s", p->brief.root, m->path);
		if (lstat(path, &st) == 0 &&
		    place_claim(p, m->dir, m->depth, slice_str(m->id), st.st_ino, false, &c, &e) == CLAIM_DONE &&
		    take_add(v->taker, m->spool, c.name, c.dir, c.depth, slice_str(m->id), 1, "login:joe@example.com", 0) != 0)
			object("take_add");
	}
	if (idle(v, steps) != 0 && fault.nth == 0)
		object("the taker never comes to rest: %zu wait", take_waiting(v->taker));
}

static void do_move(struct view *v, bool purge)
{
	struct move_result results[32];
	int64_t ids[32];
	size_t n = held_ids(v, ids);
	struct err e = { .text = "" };

	if (n == 0)
		return;
	int rc = purge ? purge_batch(v->store, ids + 1, n, results, &e) : release_batch(v->store, ids + 1, n, results, &e);
	if (fault.nth == 0 && rc != (int)n)
		object("%s: %d of %zu: %s", purge ? "purge" : "release", rc, n, rc < 0 ? e.text : results[0].why);
	for (size_t i = 0; i < n; i++)
		log_info("m%lld: %s", (long long)ids[i + 1], results[i].why);
}

static void op_take(struct view *v)
{
	do_take(v, fault.nth ? 30 : 3000);
}

static void op_release(struct view *v)
{
	do_move(v, false);
}

static void op_purge(struct view *v)
{
	do_move(v, true);
}

static void op_expire(struct view *v)
{
	struct keeper *k;
	struct err e;
	int64_t ids[32], keep = world.conf->expire_s;

	world.conf->expire_s = -100;
	if (keeper_new(v->store, v->taker, &k, &e) != 0 || keeper_start(k, &e) != 0)
		die("keeper");
	/* unhurt it must come to its end, however slow the machine */
	for (int i = 0; held_ids(v, ids) > 0 && i < (fault.nth == 0 ? 20000 : fault.fired ? 10 : 200); i++)
		(void)usleep(1000);
	keeper_stop(k);
	world.conf->expire_s = keep;
}

static int no_finding(void *arg, const struct finding *f)
{
	(void)arg;
	log_info("fsck: %s: %s", f->what, f->path);
	return 0;
}

static void op_repair(struct view *v)
{
	struct err e;

	if (fsck(v->store, true, no_finding, NULL, &e) != 0 && fault.nth == 0)
		object("fsck: %s", e.text);
}

static void op_nothing(struct view *v)
{
	if (idle(v, fault.nth ? 30 : 3000) != 0 && fault.nth == 0)
		object("recovery never comes to rest");
}

/* ---- looking ---- */

/* Equal to the original, but for the stamps if renewed. */
static bool same_bytes(const struct mail *m, const char *bytes, bool renewed)
{
	size_t at = 0;

	for (uint32_t i = 0; renewed && i < m->walk.nstamps; i++) {
		const struct stamp *s = &m->walk.stamps[i];
		if (s->at < at) /* in the order of the file, or checked the hard way */
			return false;
		if (memcmp(m->bytes + at, bytes + at, s->at - at) != 0)
			return false;
		at = s->at + s->width;
	}
	return memcmp(m->bytes + at, bytes + at, m->n - at) == 0;
}

enum side { SIDE_SPOOL, SIDE_STAGE, SIDE_CELL };

static void seen(const char *path, enum side side)
{
	static char bytes[1 << 20];
	own_fd fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);

	for (size_t i = 0; i < ROWS(mails); i++) {
		struct mail *m = &mails[i];
		if ((size_t)n != m->n || !same_bytes(m, bytes, side != SIDE_CELL))
			continue;
		*(side == SIDE_SPOOL ? &m->in_spool : side == SIDE_STAGE ? &m->in_stage : &m->in_cell) += 1;
		return;
	}
	object("%s is not whole (%zd bytes)", path, n);
}

static void look(const char *path, enum side side, bool top)
{
	own_dir dir = opendir(path);
	struct dirent *d;
	struct stat st;
	char name[PATH_MAX];

	if (dir == NULL) {
		object("%s: %s", path, strerror(errno));
		return;
	}
	while ((d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		if ((size_t)snprintf(name, sizeof name, "%s/%s", path, d->d_name) >= sizeof name || lstat(name, &st) != 0)
			die(name);
		bool stage = top && strstr(d->d_name, "spoolward.stage") != NULL;
		if (S_ISDIR(st.st_mode) && top && (strcmp(d->d_name, "defer") == 0 || strcmp(d->d_name, "bounce") == 0))
			continue;
		if (S_ISDIR(st.st_mode))
			look(name, stage ? SIDE_STAGE : side, false);
		else if (side != SIDE_CELL || strcmp(d->d_name, CELL_FILE) == 0)
			seen(name, side);
		else if (strncmp(d->d_name, CELL_FILE, strlen(CELL_FILE)) == 0)
			object("%s was left behind", name);
	}
}

static void look_all(void)
{
	char path[PATH_MAX + 64];

	for (size_t i = 0; i < ROWS(mails); i++)
		mails[i].in_spool = mails[i].in_stage = mails[i].in_cell = 0;
	(void)snprintf(path, sizeof path, "%s/pf", world.spools);
	look(path, SIDE_SPOOL, true);
	(void)snprintf(path, sizeof path, "%s/drop", world.spools);
	look(path, SIDE_SPOOL, true);
	(void)snprintf(path, sizeof path, "%s/q/cells", world.store);
	look(path, SIDE_CELL, false);
}

struct rows {
	unsigned n[ROWS(mails)][ROW_STATES];
	uint64_t held, bytes;
};

static int count_row(void *arg, struct row *r)
{
	struct rows *c = arg;

	for (size_t i = 0; i < ROWS(mails); i++)
		if (strcmp(mails[i].id, r->queue_id.text) == 0) {
			c->n[i][r->state]++;
			if (r->state == ROW_HELD && (r->size != mails[i].n || r->recipients != mails[i].walk.open))
				object("the row of %s says %llu bytes, %u recipients", mails[i].id,
				       (unsigned long long)r->size, r->recipients);
		}
	if (r->state == ROW_HELD || r->state == ROW_UNCERTAIN) {
		c->held++;
		c->bytes += r->size;
	}
	return 0;
}

struct findings {
	unsigned n, bad;
	bool repair;
};

static int count_finding(void *arg, const struct finding *f)
{
	struct findings *c = arg;

	c->n++;
	if (!f->safe || (c->repair && !f->repaired) || (!damaged && strncmp(f->what, "a cell without", 14) == 0)) {
		c->bad++;
		object("fsck: %s (m%lld, %s)", f->what, (long long)f->id, f->path);
	}
	return 0;
}

static void check_fsck(struct view *v)
{
	struct findings look_only = { 0, 0, false }, repair = { 0, 0, true }, after = { 0, 0, false };
	struct err e;

	if (fsck(v->store, false, count_finding, &look_only, &e) != 0 || fsck(v->store, true, count_finding, &repair, &e) != 0 ||
	    fsck(v->store, false, count_finding, &after, &e) != 0)
		object("fsck: %s", e.text);
	if (after.n != 0)
		object("fsck finds %u after its repair", after.n);
}

static void check_mail(const struct mail *m, const unsigned n[ROW_STATES], bool lied)
{
	unsigned at = n[ROW_RELEASED] ? RELEASED : n[ROW_PURGED] ? PURGED : n[ROW_GONE] ? GONE : n[ROW_HELD] ? HELD : FREE;
	unsigned spool = at == FREE || at == RELEASED, cell = at == HELD, rows = 0;

	for (unsigned s = 0; s < ROW_STATES; s++)
		rows += n[s];
	if (n[ROW_TAKING] + n[ROW_STAGED] + n[ROW_RELEASING] + n[ROW_PURGING] + n[ROW_UNCERTAIN] > 0 || rows > 1)
		object("%s: %u rows, %u taking %u staged %u held %u releasing %u released %u purging %u purged %u gone", m->id, rows,
		       n[ROW_TAKING], n[ROW_STAGED], n[ROW_HELD], n[ROW_RELEASING], n[ROW_RELEASED], n[ROW_PURGING],
		       n[ROW_PURGED], n[ROW_GONE]);
	if (m->may == 0) {
		if (rows + m->in_spool + m->in_stage + m->in_cell > 0)
			object("%s came from nowhere", m->id);
		return;
	}
	if (m->in_spool != spool || m->in_cell != cell || (m->in_stage != 0 && !lied))
		object("%s (%s): %u in the spool, %u in cells, %u in the stage", m->id,
		       at == FREE ? "no row" : at == HELD ? "held" : at == GONE ? "gone" : at == RELEASED ? "released" : "purged",
		       m->in_spool, m->in_cell, m->in_stage);
	if (!(m->may & at))
		object("%s is where it must not be: %u of %u", m->id, at, m->may);
}

/* lied: a call said ENOENT about a file that is there, so one may lie in the stage until the next start. */
static void check(struct view *v, bool lied)
{
	struct selection all = { .states = ~0u };
	struct rows c = { 0 };
	struct err e;

	check_fsck(v);
	if (ledger_each(v->store->ledger, &all, count_row, &c, &e) != 0)
		object("%s", e.text);
	look_all();
	for (size_t i = 0; i < ROWS(mails); i++)
		check_mail(&mails[i], c.n[i], lied);
	if (c.held != atomic_load(&v->store->held_messages) || c.bytes != atomic_load(&v->store->held_bytes))
		object("%llu messages, %llu bytes are held; counted are %llu, %llu", (unsigned long long)c.held,
		       (unsigned long long)c.bytes, (unsigned long long)atomic_load(&v->store->held_messages),
		       (unsigned long long)atomic_load(&v->store->held_bytes));
}

/* ---- what is tortured ---- */

static void may(unsigned where, unsigned delivered)
{
	for (size_t i = 0; i < ROWS(mails); i++)
		mails[i].may = mails[i].delivered ? delivered : where;
}

static void prepare_nothing(void)
{
	may(FREE | HELD, FREE | GONE);
}

static void take_all(struct view *v)
{
	if (view_open(v, START_DAEMON) != 0)
		die("open a new store");
	do_take(v, 3000);
}

static void prepare_held(void)
{
	struct view v;

	take_all(&v);
	view_close(&v);
	may(HELD | RELEASED, GONE);
}

static void prepare_purge(void)
{
	prepare_held();
	may(HELD | PURGED, GONE);
}

/* Nothing expires unless somebody could have warned. */
static void prepare_expire(void)
{
	struct view v;
	struct err e;

	take_all(&v);
	if (ledger_meta_put(v.store->ledger, "expire_seen", clock_real_s(), &e) != 0)
		die(e.text);
	view_close(&v);
	may(HELD | PURGED, GONE);
}

/* A purged row with its cell, a cell without a row, one without its description, an empty one. */
static void prepare_repair(void)
{
	struct view v;
	struct err e;
	char path[PATH_MAX + 64];
	int64_t ids[32];

	take_all(&v);
	if (held_ids(&v, ids) != 4)
		die("four are held");
	if (ledger_move(v.store->ledger, ids[1], ROW_HELD, ROW_PURGED, 1, &e) != 1 ||
	    ledger_forget(v.store->ledger, ids[2], &e) != 0)
		die("damage");
	view_close(&v);
	(void)snprintf(path, sizeof path, "%s/q/cells/0/m%lld/info.json", world.store, (long long)ids[3]);
	if (unlink(path) != 0)
		die(path);
	(void)snprintf(path, sizeof path, "%s/q/cells/0/m77", world.store);
	if (mkdir(path, 0700) != 0)
		die(path);
	may(HELD, GONE);
	mails[0].may = PURGED;
	damaged = true;
}

/* The ledger is gone; of a message that was delivered nothing is known any more. */
static void prepare_rebuild(void)
{
	static const char *const names[] = { "ledger.db", "ledger.db-wal", "ledger.db-shm" };
	char path[PATH_MAX + 64];

	prepare_held();
	for (size_t i = 0; i < ROWS(names); i++) {
		(void)snprintf(path, sizeof path, "%s/state/%s", world.store, names[i]);
		if (unlink(path) != 0 && errno != ENOENT)
			die(path);
	}
	may(HELD, 0);
}

static void prepare_cli_release(void)
{
	may(FREE | HELD | RELEASED, FREE | GONE);
}

static void prepare_cli_purge(void)
{
	may(FREE | HELD | PURGED, FREE | GONE);
}

static const struct op {
	const char *name;
	void (*prepare)(void);
	void (*run)(struct view *);
	bool open;          /* the faults begin before the store is opened */
	const char *before; /* another operation that is killed first, at each of its calls */
	unsigned settled;   /* where all must be once it was tried again; 0: where they may be */
	bool cli;           /* done by the command line, which leaves takes to the daemon */
} ops[] = {
	{ "take", prepare_nothing, op_take, false, NULL, HELD, false },
	{ "release", prepare_held, op_release, false, NULL, RELEASED, false },
	{ "purge", prepare_purge, op_purge, false, NULL, PURGED, false },
	{ "expire", prepare_expire, op_expire, false, NULL, PURGED, false },
	{ "repair", prepare_repair, op_repair, false, NULL, 0, false },
	{ "rebuild", prepare_rebuild, op_nothing, true, NULL, 0, false },
	{ "recover-take", prepare_nothing, op_nothing, true, "take", 0, false },
	{ "recover-release", prepare_held, op_nothing, true, "release", 0, false },
	{ "recover-purge", prepare_purge, op_nothing, true, "purge", 0, false },
	{ "cli-release", prepare_cli_release, op_release, true, "take", 0, true },
	{ "cli-purge", prepare_cli_purge, op_purge, true, "take", 0, true },
};

static const struct op *find_op(const char *name)
{
	for (size_t i = 0; i < ROWS(ops); i++)
		if (strcmp(ops[i].name, name) == 0)
			return &ops[i];
	return NULL;
}

/* ---- strokes ---- */

enum { OBJECTS = 1, OBJECTS_AFTER_ALL = 2 }; /* exit codes beside 0 and KILLED: the second, if nothing fired */

struct stroke {
	enum seam seam;
	int sys;      /* 0: kill */
	bool sticky;  /* from there on everything fails; dies_after: and then the process dies */
	bool dies_after;
	int spare; /* >= 0: no fault, but only so many descriptors */
};

static void limit_fds(int spare, struct rlimit *was)
{
	struct rlimit l;
	own_fd probe = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)getrlimit(RLIMIT_NOFILE, was);
	l = *was;
	l.rlim_cur = (rlim_t)(probe + spare);
	(void)setrlimit(RLIMIT_NOFILE, &l);
}

/* The process that is hit. Returns only if it was not killed. */
static void hit_process(const struct op *op, const struct stroke *s, unsigned nth)
{
	struct view v;
	struct rlimit was;
	struct fault armed = { .seam = s->seam, .nth = nth, .sys = s->sys, .sticky = s->sticky };
	int opened = 0;

	if (op->open && s->spare < 0)
		fault = armed;
	if (op->open && s->spare >= 0)
		limit_fds(s->spare, &was);
	opened = view_open(&v, op->cli ? START_CLI : START_DAEMON);
	if (!op->open && s->spare < 0)
		fault = armed;
	if (!op->open && s->spare >= 0)
		limit_fds(s->spare, &was);
	if (s->spare >= 0)
		fault = (struct fault){ .seam = SEAMS, .nth = 1 }; /* trouble is allowed */
	if (opened == 0)
		op->run(&v);
	if (s->spare >= 0)
		(void)setrlimit(RLIMIT_NOFILE, &was);
	if (s->dies_after || op->cli)
		_exit(fault.fired ? KILLED : 0);
	bool fired = fault.fired;
	fault.nth = 0;
	if (opened != 0) { /* systemd starts it again */
		view_close(&v);
		if (view_open(&v, START_DAEMON) != 0)
			object("it does not open a second time");
	}
	if (v.store != NULL && v.taker != NULL) {
		v.now_ms += 3600000;
		if (idle(&v, 3000) != 0)
			object("it never comes to rest again");
		check(&v, s->sys == ENOENT);
		op->run(&v);
		if (idle(&v, 3000) != 0)
			object("it never comes to rest at last");
		for (size_t i = 0; i < ROWS(mails); i++)
			if (op->settled != 0)
				mails[i].may = !mails[i].delivered ? op->settled : GONE;
		check(&v, s->sys == ENOENT);
	}
	view_close(&v);
	(void)fflush(stdout);
	_exit(objections > 0 ? (fired ? OBJECTS : OBJECTS_AFTER_ALL) : fired ? KILLED : 0);
}

static void after_process(bool recover)
{
	struct view v;

	if (view_open(&v, recover ? START_DAEMON : START_BARE) != 0)
		object("recovery failed");
	else if (recover && idle(&v, 3000) != 0)
		object("recovery never comes to rest");
	if (v.store != NULL)
		check(&v, false);
	view_close(&v);
	(void)fflush(stdout);
	_exit(objections > 0 ? OBJECTS : 0);
}

static int finish(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		die("fork");
	if (WIFSIGNALED(status)) {
		object("crashed by signal %d", WTERMSIG(status));
		return OBJECTS;
	}
	if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != KILLED)
		objections++;
	return WEXITSTATUS(status);
}

/* Kills op at its nth call; false: it has no such call. */
static bool kill_at(const struct op *op, enum seam seam, unsigned nth)
{
	struct stroke s = { .seam = seam, .spare = -1 };

	(void)fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		hit_process(op, &s, nth);
	return finish(pid) == KILLED;
}

/* One stroke in a world made anew. false: nothing fired, so there is no such call. */
static bool strike(const struct op *op, const struct stroke *s, unsigned first, unsigned nth, bool recover)
{
	unsigned before = objections;

	(void)snprintf(now_doing, sizeof now_doing, "%s %s: %s %s %u%s%s, errno %d, spare %d%s%.0u", op->name,
		       world.cross ? "cross" : "same", s->sys || s->spare >= 0 ? "fail" : "kill",
		       s->seam == SEAM_DB ? "write of the ledger" : "call", nth, s->sticky ? " and all later" : "",
		       s->dies_after ? ", then die" : "", s->sys, s->spare, first ? ", second crash" : "", first);
	make_spools();
	damaged = false;
	op->prepare();
	if (objections != before)
		die("the world cannot be made");
	if (first > 0 && !kill_at(find_op(op->before), SEAM_SYS, first))
		return false;
	(void)fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		hit_process(op, s, nth);
	int end = finish(pid);
	bool fired = end == KILLED || end == OBJECTS;
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0)
		after_process(recover);
	(void)finish(pid);
	return fired;
}

/* A process under a sanitizer forks a hundred times slower. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COARSE 4
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COARSE 4
#endif
#endif
#ifndef COARSE
#define COARSE 1
#endif

static unsigned stride(const struct stroke *s, bool nested)
{
	if (world.fast)
		return COARSE * (nested ? 3 : s->sys == 0 ? 1 : 2);
	return 1;
}

static unsigned strike_all(const struct op *op, const struct stroke *s, unsigned first)
{
	unsigned n = 0;

	/* a few gaps: a call that fails may be followed by fewer calls than one that does not */
	for (unsigned nth = 1 + (first % 3); strike(op, s, first, nth, true); nth += stride(s, first > 0))
		n++;
	return n;
}

static unsigned strike_fds(const struct op *op)
{
	unsigned n = 0;

	for (int spare = 0; spare < 24; spare += world.fast ? 3 * COARSE : 1, n++) {
		struct stroke s = { .spare = spare };
		(void)strike(op, &s, 0, 0, true);
	}
	return n;
}

static void torture(const struct op *op)
{
	static const int every[] = { EIO, ENOENT, ENOSPC, EDQUOT, EMFILE, ENOMEM, EACCES, EROFS, EXDEV, EINTR };
	static const int db[] = { EIO, ENOSPC };
	unsigned kills = 0, failures = 0, firsts = op->before ? 1000 : 0, worlds = 0;

	objections = 0;
	for (unsigned first = op->before ? 1 : 0; first <= firsts; first += world.fast ? 5 * COARSE : 2, worlds++) {
		unsigned fell = 0;
		for (enum seam seam = SEAM_SYS; seam < SEAMS; seam++) {
			struct stroke s = { .seam = seam, .spare = -1 };
			fell += strike_all(op, &s, first);
			if (op->before && fell == 0)
				break; /* the first crash has no such call any more */
			kills += fell, fell = 1;
			for (unsigned i = 0; i < (seam == SEAM_DB ? ROWS(db) : world.fast ? 2 : ROWS(every)); i++) {
				s.sys = seam == SEAM_DB ? db[i] : every[i];
				if (op->before && i > 0)
					break;
				failures += strike_all(op, &s, first);
			}
			s.sys = ENOSPC;
			s.sticky = true;
			failures += op->before ? 0 : strike_all(op, &s, first);
			s.sys = EIO;
			s.dies_after = true;
			kills += op->before ? 0 : strike_all(op, &s, first);
		}
		if (op->before && fell == 0)
			break;
		if (!op->before)
			break;
	}
	if (!op->before)
		failures += strike_fds(op);
	(void)printf("%s - torture %s %s: %u kills, %u failures%s\n", objections ? "not ok" : "ok", op->name,
		     world.cross ? "different mounts" : "same mount", kills, failures, objections ? " (see above)" : "");
	(void)fflush(stdout);
}

/* ---- the checker must be able to object ---- */

static void control(const char *name)
{
	const struct op *op = find_op(name);
	struct stroke s = { .spare = -1 };
	unsigned caught = 0, kills = 0;

	freopen("/dev/null", "w", stdout) == NULL ? die("/dev/null") : (void)0;
	for (unsigned nth = 1;; nth++) {
		objections = 0;
		bool fired = strike(op, &s, 0, nth, false);
		if (!fired)
			break;
		kills++;
		caught += objections > 0;
	}
	(void)fprintf(stderr, "%s - control %s without recovery: %u of %u kills caught\n", caught > 0 ? "ok" : "not ok", name,
		      caught, kills);
}

static void control_damage(const char *what, bool cut)
{
	char path[PATH_MAX + 64];

	objections = 0;
	make_spools();
	prepare_held();
	(void)snprintf(path, sizeof path, "%s/q/cells/0/m1/message", world.store);
	own_fd fd = open(path, O_RDWR | O_CLOEXEC);
	if (cut ? unlink(path) != 0 : fd < 0 || pwrite(fd, "?", 1, 700) != 1)
		die(path);
	(void)fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		after_process(true);
	(void)finish(pid);
	(void)fprintf(stderr, "%s - control %s: %s\n", objections ? "ok" : "not ok", what, objections ? "caught" : "not seen");
}

int main(int argc, char **argv)
{
	const char *only = getenv("TORTURE_ONLY");
	bool controls = argc == 4 && strcmp(argv[1], "control") == 0;

	if (argc != 5 && !controls) {
		(void)fprintf(stderr, "usage: torture fast|full same|cross SPOOLS STORE | torture control SPOOLS STORE\n");
		return 64;
	}
	world.fast = strcmp(argv[1], "fast") == 0;
	world.cross = !controls && strcmp(argv[2], "cross") == 0;
	(void)slice_text(world.spools, sizeof world.spools, slice_str(argv[argc - 2]));
	(void)slice_text(world.store, sizeof world.store, slice_str(argv[argc - 1]));
	log_open("torture", 1, getenv("TORTURE_LOG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	if (!getenv("TORTURE_LOG") && !controls && freopen("/dev/null", "w", stderr) == NULL)
		die("/dev/null");
	seam_vfs();
	load_mails();
	load_conf();
	if (controls) {
		control_damage("a byte of a held message changed", false);
		control_damage("a held message deleted", true);
		control("take");
		control("release");
		control("purge");
	} else {
		for (size_t i = 0; i < ROWS(ops); i++)
			if (only == NULL || strcmp(only, ops[i].name) == 0)
				torture(&ops[i]);
	}
	empty_top(world.spools);
	empty_top(world.store);
	return 0;
}
