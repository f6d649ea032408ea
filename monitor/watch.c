/* The role that sees names. The one door to libinotifytools.
 *
 * The library keeps its state in globals, has no public descriptor, walks directories unsafely, and forgets which watch
 * is which when a name is used again. So it has this process for itself, and is asked for two things only: to set a watch, and
 * to hand over one event. The walk, the table of watches and the scan are ours. */
#include <fcntl.h>
#include <inotifytools/inotify.h>
#include <inotifytools/inotifytools.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sandbox.h"
#include "base/wire.h"
#include "monitor/role.h"
#include "monitor/sighting.h"

#define RETRY_MS 1000       /* a spool that is not there is looked for this often */
#define DEAD_MOST 4096      /* watches that the library cannot forget: then this process starts afresh */
#define SETTLE_S 10         /* a file of unknown name is a draft for so long */
#define SCAN_BREATH 256     /* files between two looks at the event queue */
#define TIDY (IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define ROOT_MASK (IN_CREATE | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)
#define DIR_IS_ROOT 255

/* The library calls these two through the dynamic linker, and the executable's own come first: so we learn its
 * descriptor (for poll) and the number of each watch. */
static int ino_fd = -1;
static int last_wd = -1;
__attribute__((visibility("default"))) int inotify_init(void);
__attribute__((visibility("default"))) int inotify_init(void)
{
	return ino_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
}

__attribute__((visibility("default"))) int inotify_add_watch(int fd, const char *name, uint32_t mask)
{
	return last_wd = (int)syscall(SYS_inotify_add_watch, fd, name, mask);
}

struct dir {
	int wd, fd; /* wd -1: a free slot */
	uint16_t spool;
	uint8_t dir, depth; /* dir DIR_IS_ROOT: the spool's root */
	bool dirty;         /* to be scanned */
	ino_t ino;
	char path[PATH_MAX];
};

/* A known message, by a keyed hash of spool and id. 16 bytes: there may be a million. */
struct known {
	uint64_t key; /* 0: free */
	uint32_t ino, scan;
};

struct spool {
	const struct brief *brief;
	const struct spool_format *format;
	struct spool_set set;
	bool up, dirty; /* dirty: a full scan is due */
	int64_t retry_ms;
	char why[QUEUE_ID_MAX]; /* the last reason of being down: said once */
};

struct moved {
	bool pending;
	uint32_t cookie;
	struct sighting gone;
};

static struct {
	const struct role_start *start;
	struct spool *spools;
	struct dir **dirs;
	size_t ndirs;
	struct dir **by_wd;
	int by_wd_n;
	struct known *known;
	uint64_t known_cap, known_n;
	struct sightings batch;
	int fds[SIGHTING_BATCH];
	struct moved moved;
	unsigned dead;
	uint32_t scan;
	int64_t reconcile_ms;
	bool overflow;
} w;

/* ---- out ---- */

static void flush(void)
{
	if (w.batch.n == 0)
		return;
	int rc = wire_send(ROLE_FD_OUT, &w.batch, SIGHTINGS_SIZE(&w.batch), w.fds, w.batch.nfds);
	for (uint32_t i = 0; i < w.batch.nfds; i++)
		(void)close(w.fds[i]);
	w.batch.n = w.batch.nfds = 0;
	if (rc != 0) /* sift or ward is gone: ward starts us again, and we scan */
		exit(0);
}

static void put(const struct sighting *s, int fd)
{
	struct sighting *to = &w.batch.s[w.batch.n++];

	*to = *s;
	to->has_fd = fd >= 0;
	if (fd >= 0)
		w.fds[w.batch.nfds++] = fd;
	if (w.batch.n == SIGHTING_BATCH)
		flush();
}

static void put_text(enum card_kind kind, unsigned spool, const char *text)
{
	struct sighting s = { .kind = kind, .spool = (uint16_t)spool };

	s.id_n = (uint16_t)slice_text(s.id, sizeof s.id, slice_str(text));
	put(&s, -1);
	flush();
}

/* ---- which messages were shown ---- */

static uint64_t known_key(unsigned spool, struct slice id)
{
	uint64_t key = hash_slice(id, spool + 1u);

	return key ? key : 1;
}

static struct known *known_slot(uint64_t key)
{
	uint64_t mask = w.known_cap - 1, at = key & mask;

	while (w.known[at].key != 0 && w.known[at].key != key)
		at = (at + 1) & mask;
	return &w.known[at];
}

static void known_grow(void)
{
	struct known *old = w.known;
	uint64_t cap = w.known_cap;
	struct known *more = calloc(cap * 2, sizeof *more);

	if (more == NULL) {
		log_error("no memory for %llu messages", (unsigned long long)w.known_n);
		exit(1);
	}
	w.known = more;
	w.known_cap = cap * 2;
	for (uint64_t i = 0; i < cap; i++)
		if (old[i].key != 0)
			*known_slot(old[i].key) = old[i];
	free(old);
}

static void known_add(uint64_t key, ino_t ino)
{
	if (w.known_n * 4 >= w.known_cap * 3)
		known_grow();
	struct known *k = known_slot(key);
	if (k->key == 0)
		w.known_n++;
	*k = (struct known){ key, (uint32_t)ino, w.scan };
}

static void known_remove(struct known *k)
{
	uint64_t mask = w.known_cap - 1, hole = (uint64_t)(k - w.known);

	if (k->key == 0)
		return;
	w.known_n--;
	for (uint64_t at = (hole + 1) & mask; w.known[at].key != 0; at = (at + 1) & mask) {
		if (((at - w.known[at].key) & mask) < ((at - hole) & mask))
			continue;
		w.known[hole] = w.known[at];
		hole = at;
	}
	w.known[hole].key = 0;
}

/* After a scan of everything: what no scan saw any more is not remembered. Ward drops it by itself. */
static void known_sweep(void)
{
	struct known *old = w.known;
	uint64_t cap = w.known_cap;

	w.known = calloc(cap, sizeof *w.known);
	if (w.known == NULL) {
		w.known = old;
		return;
	}
	w.known_n = 0;
	for (uint64_t i = 0; i < cap; i++)
		if (old[i].key != 0 && old[i].scan == w.scan) {
			*known_slot(old[i].key) = old[i];
			w.known_n++;
		}
	free(old);
}

/* ---- one file ---- */

static void fill(struct sighting *s, const struct dir *d, const struct queue_id *id, enum card_kind kind, uint32_t flags)
{
	memset(s, 0, sizeof *s);
	s->kind = kind;
	s->flags = flags;
	s->spool = d->spool;
	s->dir = d->dir;
	s->depth = d->depth;
	s->id_n = id->n;
	memcpy(s->id, id->text, id->n);
}

static int open_message(const struct dir *d, const char *name)
{
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(d->fd, name, flags | O_NOATIME);

	return fd < 0 && errno == EPERM ? openat(d->fd, name, flags) : fd;
}

/* A message that was not shown yet. Not complete: another event will say so. */
static void show_new(const struct dir *d, const char *name, struct sighting *s, bool maybe, bool arrived)
{
	const struct spool *sp = &w.spools[d->spool];
	const struct spool_dir *fd_dir = &sp->format->dirs[d->dir];
	struct stat st;

	/* an MTA that writes under the final name renames first and completes later: a look is cheaper than an open */
	if (arrived && fd_dir->mode_mask != 0 && !(s->flags & CARD_SCANNED) &&
	    fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & fd_dir->mode_mask) != fd_dir->mode_want)
		return;
	own_fd fd = open_message(d, name);
	if (fd < 0 && errno == ENOENT) {
		s->kind = CARD_UNSEEN;
		if (!(s->flags & CARD_SCANNED))
			put(s, -1);
		return;
	}
	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == EACCES || errno == EPERM)) {
		char text[QUEUE_ID_MAX];
		(void)snprintf(text, sizeof text, "open a message in %.80s: %s", d->path, strerrordesc_np(errno));
		put_text(CARD_BLIND, d->spool, text);
		return;
	}
	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink > 1 ||
	    (sp->brief->owner >= 0 && st.st_uid != (uid_t)sp->brief->owner)) {
		s->kind = CARD_HOSTILE;
		put(s, -1);
		return;
	}
	/* a name that does not tell may be a draft that its writer renames when it is done: a later scan looks again */
	if (maybe && clock_real_s() - st.st_ctime < SETTLE_S)
		return;
	if ((st.st_mode & fd_dir->mode_mask) != fd_dir->mode_want || st.st_size == 0 || st.st_nlink == 0)
		return;
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	s->size = (uint64_t)st.st_size;
	s->uid = st.st_uid;
	s->maybe = maybe;
	known_add(known_key(d->spool, (struct slice){ s->id, s->id_n }), st.st_ino);
	put(s, give_fd(&fd));
}

/* A name in a directory of messages: by an event (ino 0) or by a scan. */
static void see(const struct dir *d, const char *name, ino_t ino, uint32_t flags, bool arrived)
{
	const struct spool *sp = &w.spools[d->spool];
	struct queue_id id;
	struct sighting s;
	enum seen seen = sp->format->identify(&sp->set, d->dir, slice_str(name), &id);

	if (seen == SEEN_NOISE)
		return;
	struct known *k = known_slot(known_key(d->spool, queue_id_slice(&id)));
	bool known = k->key != 0 && (ino == 0 || k->ino == (uint32_t)ino);
	fill(&s, d, &id, known ? CARD_MOVED : CARD_NEW, flags);
	if (!known) {
		show_new(d, name, &s, seen == SEEN_MAYBE, arrived);
	} else {
		k->scan = w.scan;
		if (arrived)
			put(&s, -1);
	}
}

static void gone(const struct dir *d, const char *name, bool moving, uint32_t cookie)
{
	const struct spool *sp = &w.spools[d->spool];
	struct queue_id id;
	struct sighting s;

	if (sp->format->identify(&sp->set, d->dir, slice_str(name), &id) == SEEN_NOISE)
		return;
	if (known_slot(known_key(d->spool, queue_id_slice(&id)))->key == 0)
		return;
	fill(&s, d, &id, CARD_GONE, 0);
	if (moving) /* the next event tells where to */
		w.moved = (struct moved){ true, cookie, s };
	else {
		known_remove(known_slot(known_key(d->spool, queue_id_slice(&id))));
		put(&s, -1);
	}
}

/* It moved out of everything that we watch. */
static void settle_moved(void)
{
	if (!w.moved.pending)
		return;
	w.moved.pending = false;
	known_remove(known_slot(known_key(w.moved.gone.spool, (struct slice){ w.moved.gone.id, w.moved.gone.id_n })));
	put(&w.moved.gone, -1);
}

/* A file came by rename. Under the same id it only moved; under another it is the same mail with a new name. */
static void moved_to(const struct dir *d, const char *name, uint32_t cookie)
{
	uint32_t flags = 0;
	struct queue_id id;
	const struct spool *sp = &w.spools[d->spool];

	if (w.moved.pending && w.moved.cookie == cookie) {
		struct slice was = { w.moved.gone.id, w.moved.gone.id_n };
		bool same = w.moved.gone.spool == d->spool &&
			    sp->format->identify(&sp->set, d->dir, slice_str(name), &id) != SEEN_NOISE &&
			    slice_eq(was, queue_id_slice(&id));
		if (same) {
			w.moved.pending = false;
		} else {
			settle_moved();
			flags = CARD_RENAMED;
		}
	}
	settle_moved();
	see(d, name, 0, flags, true);
}

/* ---- directories ---- */

static struct dir *dir_by_wd(int wd)
{
	return wd >= 0 && wd < w.by_wd_n ? w.by_wd[wd] : NULL;
}

static bool remember_wd(struct dir *d)
{
	if (d->wd >= w.by_wd_n) {
		int n = d->wd * 2 + 64;
		struct dir **more = realloc(w.by_wd, (size_t)n * sizeof *more);
		if (more == NULL)
			return false;
		memset(more + w.by_wd_n, 0, (size_t)(n - w.by_wd_n) * sizeof *more);
		w.by_wd = more;
		w.by_wd_n = n;
	}
	w.by_wd[d->wd] = d;
	return true;
}

static void dir_drop(struct dir *d, bool kernel_forgot)
{
	if (d->wd >= 0 && d->wd < w.by_wd_n && w.by_wd[d->wd] == d)
		w.by_wd[d->wd] = NULL;
	if (d->wd >= 0 && !kernel_forgot)
		(void)inotify_rm_watch(ino_fd, d->wd);
	/* the library still has a node for it, and no call that removes it */
	w.dead += d->wd >= 0;
	if (d->fd >= 0)
		(void)close(d->fd);
	for (size_t i = 0; i < w.ndirs; i++)
		if (w.dirs[i] == d)
			w.dirs[i] = w.dirs[--w.ndirs];
	free(d);
}

static struct dir *dir_new(unsigned spool, unsigned dir, unsigned depth, int fd, const char *path)
{
	struct stat st;
	struct dir *d = calloc(1, sizeof *d);
	struct dir **more = d ? realloc(w.dirs, (w.ndirs + 1) * sizeof *more) : NULL;

	if (more == NULL || fstat(fd, &st) != 0) {
		log_error("no memory for %s", path);
		exit(1);
	}
	w.dirs = more;
	w.dirs[w.ndirs++] = d;
	*d = (struct dir){ .wd = -1, .fd = fd, .spool = (uint16_t)spool, .dir = (uint8_t)dir, .depth = (uint8_t)depth,
			   .dirty = true, .ino = st.st_ino };
	(void)slice_text(d->path, sizeof d->path, slice_str(path));
	return d;
}

/* Sets the watch through the library; then the name must still be the directory that we opened. */
static void dir_watch(struct dir *d)
{
	const struct spool *sp = &w.spools[d->spool];
	uint32_t mask = d->dir == DIR_IS_ROOT ? ROOT_MASK : sp->format->dirs[d->dir].complete | TIDY;
	char text[QUEUE_ID_MAX];
	struct stat st;

	if (d->dir != DIR_IS_ROOT &&
	    ((sp->format->dirs[d->dir].traits & DIR_HASHED) != 0 || sp->format->dirs[d->dir].name[0] == '\0'))
		mask |= IN_CREATE; /* a directory that is made in it */
	last_wd = -1;
	if (inotifytools_watch_file(d->path, (int)mask) && last_wd >= 0 && stat(d->path, &st) == 0 && st.st_ino == d->ino &&
	    dir_by_wd(last_wd) == NULL) {
		d->wd = last_wd;
		if (remember_wd(d))
			return;
	}
	int why = inotifytools_error();
	(void)snprintf(text, sizeof text, "cannot watch %.100s: %s", d->path,
		       why == ENOSPC ? "max_user_watches is reached" : why > 0 ? strerrordesc_np(why) : "it changed meanwhile");
	put_text(CARD_BLIND, d->spool, text);
}

static struct dir *dir_find(unsigned spool, const char *path)
{
	for (size_t i = 0; i < w.ndirs; i++)
		if (w.dirs[i]->spool == spool && strcmp(w.dirs[i]->path, path) == 0)
			return w.dirs[i];
	return NULL;
}

static void dir_add(unsigned spool, unsigned dir, unsigned depth, int up, const char *up_path, const char *name)
{
	char path[PATH_MAX];
	struct stat st;

	if (name[0] == '\0')
		(void)slice_text(path, sizeof path, slice_str(up_path));
	else if (snprintf(path, sizeof path, "%s/%s", up_path, name) >= (int)sizeof path)
		return;
	own_fd fd = openat(up, name[0] ? name : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return; /* not there (yet): its parent tells when it comes */
	struct dir *old = dir_find(spool, path);
	if (old != NULL && old->dir == dir && fstat(fd, &st) == 0 && st.st_ino == old->ino) {
		old->dirty = true;
		return;
	}
	if (old != NULL && old->dir == dir)
		dir_drop(old, false);
	dir_watch(dir_new(spool, dir, depth, give_fd(&fd), path));
}

/* What a directory event means: a hash directory below d, or one of the format's directories below the root. */
static void dir_appeared(struct dir *d, const char *name)
{
	const struct spool_format *f = w.spools[d->spool].format;

	if (d->dir != DIR_IS_ROOT) {
		if ((f->dirs[d->dir].traits & DIR_HASHED) != 0 && d->depth < SPOOL_DEPTH_MAX &&
		    spool_hash_name(slice_str(name)))
			dir_add(d->spool, d->dir, d->depth + 1u, d->fd, d->path, name);
		return;
	}
	for (unsigned i = 0; i < f->ndirs; i++)
		if (strcmp(f->dirs[i].name, name) == 0)
			dir_add(d->spool, i, 0, d->fd, d->path, name);
}

static void spool_drop(unsigned spool, const char *why)
{
	struct spool *sp = &w.spools[spool];

	for (size_t i = w.ndirs; i > 0; i--)
		if (i <= w.ndirs && w.dirs[i - 1]->spool == spool)
			dir_drop(w.dirs[i - 1], false);
	if (sp->up || strcmp(sp->why, why) != 0)
		put_text(CARD_SPOOL_DOWN, spool, why);
	(void)slice_text(sp->why, sizeof sp->why, slice_str(why));
	sp->up = false;
	sp->retry_ms = clock_boot_ms() + RETRY_MS;
}

static void spool_attach(unsigned spool)
{
	struct spool *sp = &w.spools[spool];
	char text[QUEUE_ID_MAX];
	const struct spool_format *f = sp->format;

	int root = open(sp->brief->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	own_fd first = root < 0 ? -1
				: openat(root, f->dirs[0].name[0] ? f->dirs[0].name : ".",
					 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (root < 0 || first < 0) {
		(void)snprintf(text, sizeof text, "%.120s/%.30s: %s", sp->brief->root, f->dirs[0].name, strerrordesc_np(errno));
		if (root >= 0)
			(void)close(root);
		spool_drop(spool, text);
		return;
	}
	struct dir *top = dir_new(spool, DIR_IS_ROOT, 0, root, sp->brief->root);
	top->dirty = false;
	bool root_has_mail = false;
	for (unsigned i = 0; i < f->ndirs; i++) {
		root_has_mail = root_has_mail || f->dirs[i].name[0] == '\0';
		if (f->dirs[i].name[0] != '\0')
			dir_add(spool, i, 0, root, sp->brief->root, f->dirs[i].name);
	}
	if (root_has_mail) { /* one watch serves both: the root's own events come with its messages' */
		top->dir = 0;
		while (f->dirs[top->dir].name[0] != '\0')
			top->dir++;
		top->dirty = true;
	}
	dir_watch(top);
	sp->up = sp->dirty = true;
	sp->why[0] = '\0';
	put_text(CARD_SPOOL_UP, spool, "");
}

/* ---- events ---- */

static void lost_dir(struct dir *d, bool kernel_forgot)
{
	unsigned spool = d->spool;
	bool root = d->dir == DIR_IS_ROOT || w.spools[spool].format->dirs[d->dir].name[0] == '\0';
	char why[QUEUE_ID_MAX];

	(void)snprintf(why, sizeof why, "%.150s was removed, renamed or unmounted", d->path);
	dir_drop(d, kernel_forgot);
	w.spools[spool].dirty = true; /* what was in it is found where it is now, or dropped */
	if (root)
		spool_drop(spool, why);
}

/* Maildir-like spools: the root holds messages and also the format's other directories. */
static void appeared_in_root(struct dir *d, const char *name)
{
	uint8_t keep = d->dir;

	d->dir = DIR_IS_ROOT;
	dir_appeared(d, name);
	d->dir = keep;
}

static void handle(const struct inotify_event *ev)
{
	struct dir *d = dir_by_wd(ev->wd);
	const char *name = ev->len > 0 ? ev->name : "";

	if (w.moved.pending && !((ev->mask & IN_MOVED_TO) != 0 && ev->cookie == w.moved.cookie))
		settle_moved();
	if ((ev->mask & IN_Q_OVERFLOW) != 0) {
		w.overflow = true;
	} else if (d == NULL) {
		return; /* of a watch that we have dropped */
	} else if ((ev->mask & (IN_IGNORED | IN_UNMOUNT | IN_DELETE_SELF)) != 0) {
		lost_dir(d, (ev->mask & IN_IGNORED) != 0);
	} else if ((ev->mask & IN_MOVE_SELF) != 0) {
		lost_dir(d, false);
	} else if ((ev->mask & IN_ISDIR) != 0) {
		if ((ev->mask & (IN_CREATE | IN_MOVED_TO)) != 0) {
			if (d->dir != DIR_IS_ROOT && w.spools[d->spool].format->dirs[d->dir].name[0] == '\0')
				appeared_in_root(d, name);
			else
				dir_appeared(d, name);
		}
	} else if (d->dir == DIR_IS_ROOT) {
		return;
	} else if ((ev->mask & IN_DELETE) != 0) {
		gone(d, name, false, 0);
	} else if ((ev->mask & IN_MOVED_FROM) != 0) {
		gone(d, name, true, ev->cookie);
	} else if ((ev->mask & IN_MOVED_TO) != 0) {
		moved_to(d, name, ev->cookie);
	} else if ((ev->mask & w.spools[d->spool].format->dirs[d->dir].complete) != 0) {
		see(d, name, 0, 0, false);
	}
}

static void drain(void)
{
	struct inotify_event *ev;

	/* one at a time, without waiting: every other use of this call blocks or spins */
	while ((ev = inotifytools_next_events(0, 1)) != NULL)
		handle(ev);
	settle_moved();
	flush();
}

/* ---- scans ---- */

/* Names only where the message is known; d may be dropped by an event meanwhile, so it is looked up again by its number. */
static void scan_dir(int wd, struct dir *d)
{
	struct dirent *e;
	unsigned n = 0;
	int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	own_dir dir = fd < 0 ? NULL : fdopendir(fd);

	d->dirty = false;
	while (dir != NULL && (e = readdir(dir)) != NULL) {
		if (e->d_type == DT_DIR && e->d_name[0] != '.') {
			if (d->dir != DIR_IS_ROOT)
				dir_appeared(d, e->d_name);
		} else if (e->d_type == DT_REG || e->d_type == DT_UNKNOWN) {
			see(d, e->d_name, e->d_ino, CARD_SCANNED, true);
		}
		if (++n % SCAN_BREATH == 0) {
			drain();
			if (wd >= 0 && dir_by_wd(wd) != d)
				return;
		}
	}
}

static struct dir *next_dirty(unsigned spool)
{
	for (size_t i = 0; i < w.ndirs; i++)
		if (w.dirs[i]->dirty && w.dirs[i]->spool == spool)
			return w.dirs[i];
	return NULL;
}

static void scan_spool(unsigned spool)
{
	struct dir *d;

	w.spools[spool].dirty = false;
	put_text(CARD_SCAN_BEGIN, spool, "");
	for (size_t i = 0; i < w.ndirs; i++)
		if (w.dirs[i]->spool == spool && w.dirs[i]->dir != DIR_IS_ROOT)
			w.dirs[i]->dirty = true;
	while ((d = next_dirty(spool)) != NULL)
		scan_dir(d->wd, d);
	drain(); /* what moved behind the scan's back is told before ward draws conclusions */
	put_text(CARD_SCAN_END, spool, "");
}

/* New directories: only what is in them. */
static void scan_dirty(void)
{
	for (size_t i = 0; i < w.ndirs; i++)
		if (w.dirs[i]->dirty && w.dirs[i]->dir != DIR_IS_ROOT) {
			scan_dir(w.dirs[i]->wd, w.dirs[i]);
			i = SIZE_MAX; /* the list may have changed */
		}
	drain();
}

static void reconcile(int64_t now)
{
	w.reconcile_ms = now + (int64_t)w.start->reconcile_s * 1000;
	w.scan++;
	for (unsigned i = 0; i < w.start->nspools; i++) {
		struct dir *top = dir_find(i, w.spools[i].brief->root);
		struct stat st;
		/* a mount over the root raises no event */
		if (w.spools[i].up && (top == NULL || stat(top->path, &st) != 0 || st.st_ino != top->ino))
			spool_drop(i, "the root was replaced");
		if (w.spools[i].up)
			scan_spool(i);
	}
	known_sweep();
}

static void work(int64_t now)
{
	for (unsigned i = 0; i < w.start->nspools; i++)
		if (!w.spools[i].up && now >= w.spools[i].retry_ms)
			spool_attach(i);
	if (w.overflow) {
		w.overflow = false;
		for (unsigned i = 0; i < w.start->nspools; i++) {
			put_text(CARD_OVERFLOW, i, "");
			w.spools[i].dirty = w.spools[i].up;
		}
	}
	if (now >= w.reconcile_ms)
		reconcile(now);
	for (unsigned i = 0; i < w.start->nspools; i++)
		if (w.spools[i].up && w.spools[i].dirty)
			scan_spool(i);
	scan_dirty();
	if (w.dead > DEAD_MOST)
		exit(0);
}

static int fence(void)
{
	struct sandbox_tree *trees = calloc(w.start->nspools + 2, sizeof *trees);
	struct err e;

	for (unsigned i = 0; i < w.start->nspools; i++)
		trees[i] = (struct sandbox_tree){ w.start->spool[i].root, SANDBOX_READ };
	/* a root that comes later (a mount, a rename) is another directory: its parent must do */
	char (*up)[PATH_MAX] = calloc(w.start->nspools, sizeof *up);
	for (unsigned i = 0; i < w.start->nspools; i++) {
		(void)slice_text(up[i], sizeof up[i], slice_str(w.start->spool[i].root));
		char *slash = strrchr(up[i], '/');
		if (slash != NULL && slash != up[i])
			*slash = '\0';
		trees[i].path = up[i];
	}
	int rc = sandbox_enter(SANDBOX_WATCH, trees, &e) == 0 ? sandbox_self_test(SANDBOX_WATCH, &e) : -1;
	if (rc != 0)
		log_error("sandbox: %s", e.text);
	free(trees);
	free(up);
	return rc;
}

int watch_main(const struct role_start *start)
{
	struct rlimit files = { 0 };

	w.start = start;
	w.known_cap = 1024;
	w.known = calloc(w.known_cap, sizeof *w.known);
	w.spools = calloc(start->nspools + 1, sizeof *w.spools);
	if (w.known == NULL || w.spools == NULL || !inotifytools_initialize() || ino_fd < 0) {
		log_error("inotify does not start: %s", strerrordesc_np(errno));
		return 1;
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	for (unsigned i = 0; i < start->nspools; i++) {
		w.spools[i].brief = &start->spool[i];
		w.spools[i].format = spool_format_find(slice_str(start->spool[i].format));
		w.spools[i].set = brief_set(&start->spool[i]);
		if (w.spools[i].format == NULL)
			return 1;
	}
	if (start->sandbox && fence() != 0)
		return 1;
	w.reconcile_ms = clock_boot_ms() + (int64_t)start->reconcile_s * 1000;
	for (;;) {
		struct pollfd p[2] = { { .fd = ino_fd, .events = POLLIN }, { .fd = ROLE_FD_OUT, .events = 0 } };
		work(clock_boot_ms());
		int64_t wait = w.reconcile_ms - clock_boot_ms();
		for (unsigned i = 0; i < start->nspools; i++)
			if (!w.spools[i].up && wait > RETRY_MS)
				wait = RETRY_MS;
		if (poll(p, 2, wait > 0 ? (int)(wait < 60000 ? wait : 60000) : 0) < 0 && errno != EINTR)
			return 1;
		if ((p[1].revents & (POLLHUP | POLLERR)) != 0)
			return 0;
		drain();
	}
}
