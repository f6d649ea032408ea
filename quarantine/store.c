#include "quarantine/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/statvfs.h>

#include "base/own.h"
#include "base/sys.h"
#include "quarantine/recover.h"

static int take_lock(struct store *s, struct err *e)
{
	char pid[24] = "", path[PATH_MAX];

	(void)snprintf(path, sizeof path, "%s/lock", s->conf->state_dir);
	s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lock_fd < 0)
		return err_sys(e, "open %s", path);
	if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		ssize_t n = pread(s->lock_fd, pid, sizeof pid - 1, 0);
		if (errno != EWOULDBLOCK)
			return err_sys(e, "lock %s", path);
		return err_set(e, ERR_EXISTS, "process %s holds the store (%s)", n > 0 ? pid : "?", path);
	}
	int n = snprintf(pid, sizeof pid, "%ld", (long)getpid());
	return sys_truncate(s->lock_fd, 0) == 0 && sys_pwrite(s->lock_fd, pid, (size_t)n, 0) == 0 ? 0 : err_sys(e, "write %s", path);
}

static int open_places(struct store *s, const struct brief *briefs, struct err *e)
{
	s->places = calloc(s->conf->nspools ? s->conf->nspools : 1, sizeof *s->places);
	if (s->places == NULL)
		return err_sys(e, "open the spools");
	for (size_t i = 0; i < s->conf->nspools; i++) {
		struct brief own;
		if (briefs == NULL && brief_make(&s->conf->spools[i], &own, e) != 0)
			return -1;
		if (place_init(&s->places[i], briefs ? &briefs[i] : &own, (uint16_t)i, e) != 0)
			return -1;
		s->nplaces++;
	}
	return 0;
}

static int open_ledger(struct store *s, struct err *e)
{
	char path[PATH_MAX];
	bool fresh;
	/* what is staged is counted when it is held, what is being purged no longer */
	struct selection held = { .states = 1u << ROW_HELD | 1u << ROW_RELEASING | 1u << ROW_UNCERTAIN };
	struct ledger_sum sum;

	(void)snprintf(path, sizeof path, "%s/ledger.db", s->conf->state_dir);
	if (ledger_open(path, &s->ledger, &fresh, e) != 0)
		return -1;
	if (fresh && recover_rebuild(s, e) != 0)
		return -1;
	if (ledger_sum(s->ledger, &held, &sum, e) != 0)
		return -1;
	atomic_store(&s->held_messages, sum.messages);
	atomic_store(&s->held_bytes, sum.bytes);
	return 0;
}

static void read_boot_id(struct store *s)
{
	own_fd fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, s->boot_id, sizeof s->boot_id - 1);

	s->boot_id[n > 0 ? n : 0] = '\0';
	s->boot_id[strcspn(s->boot_id, "\n")] = '\0';
}

int store_open_briefs(const struct conf *conf, const struct brief *briefs, struct store **out, struct err *e)
{
	struct store *s = calloc(1, sizeof *s);

	*out = NULL;
	if (s == NULL)
		return err_sys(e, "open the store");
	s->conf = conf;
	s->lock_fd = s->cells.fd = -1;
	(void)pthread_mutex_init(&s->moving, NULL);
	read_boot_id(s);
	if (sys_mkdir(AT_FDCWD, conf->state_dir, 0700) != 0 && errno != EEXIST)
		(void)err_sys(e, "make %s", conf->state_dir);
	else if (take_lock(s, e) == 0 && cells_open(conf->quarantine_dir, &s->cells, e) == 0 &&
		 open_places(s, briefs, e) == 0 && open_ledger(s, e) == 0) {
		s->on_ram = place_on_ram(s->cells.fd);
		*out = s;
		return 0;
	}
	store_close(s);
	return -1;
}

int store_open(const struct conf *conf, struct store **out, struct err *e)
{
	return store_open_briefs(conf, NULL, out, e);
}

void store_up(struct store *s, void (*say)(const char *text))
{
	struct err e;

	for (size_t i = 0; i < s->nplaces; i++)
		if (place_up(&s->places[i], s->cells.fd, &e) != 0 || recover_place(s, &s->places[i], &e) != 0)
			say(e.text);
}

void store_close(struct store *s)
{
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->nplaces; i++)
		place_free(&s->places[i]);
	free(s->places);
	ledger_close(s->ledger);
	cells_close(&s->cells);
	(void)pthread_mutex_destroy(&s->moving);
	if (s->lock_fd >= 0)
		(void)close(s->lock_fd);
	free(s);
}

struct place *store_place(struct store *s, const char *name)
{
	for (size_t i = 0; i < s->nplaces; i++)
		if (strcmp(s->places[i].brief.name, name) == 0)
			return &s->places[i];
	return NULL;
}

void store_hold_places(struct store *s, bool hold)
{
	for (size_t i = 0; i < s->nplaces; i++)
		(void)(hold ? pthread_rwlock_rdlock(&s->places[i].lock) : pthread_rwlock_unlock(&s->places[i].lock));
}

/* Is the directory that we hold open still the one that the configuration names? */
static bool cells_there(const struct store *s)
{
	char path[PATH_MAX];
	struct stat named, held;

	(void)snprintf(path, sizeof path, "%s/cells", s->conf->quarantine_dir);
	return fstat(s->cells.fd, &held) == 0 && stat(path, &named) == 0 && named.st_dev == held.st_dev &&
	       named.st_ino == held.st_ino;
}

bool store_room(struct store *s, uint64_t coming, uint64_t coming_bytes, char *why, size_t cap)
{
	struct statvfs fs;

	if (!cells_there(s)) {
		(void)snprintf(why, cap, "%s was unmounted or replaced", s->conf->quarantine_dir);
		return false;
	}
	if (atomic_load(&s->held_messages) + coming + 1 > s->conf->max_messages) {
		(void)snprintf(why, cap, "max_messages (%llu) is reached", (unsigned long long)s->conf->max_messages);
		return false;
	}
	if (atomic_load(&s->held_bytes) + coming_bytes > s->conf->max_bytes) {
		(void)snprintf(why, cap, "max_bytes (%llu) is reached", (unsigned long long)s->conf->max_bytes);
		return false;
	}
	if (fstatvfs(s->cells.fd, &fs) == 0 &&
	    (uint64_t)fs.f_bavail * fs.f_frsize < s->conf->min_free + coming_bytes) {
		(void)snprintf(why, cap, "less than min_free (%llu bytes) is left on the quarantine's disk",
			       (unsigned long long)s->conf->min_free);
		return false;
	}
	return true;
}

void store_count(struct store *s, int64_t messages, int64_t bytes)
{
	(void)atomic_fetch_add(&s->held_messages, (uint64_t)messages);
	(void)atomic_fetch_add(&s->held_bytes, (uint64_t)bytes);
}
