#include "quarantine/place.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/own.h"
#include "base/sys.h"

#define ANSWER_MAX 8192
#define CLAIM_ROUNDS 4

struct spool_set brief_set(const struct brief *b)
{
	return (struct spool_set){ .login_header = b->login_header,
				   .client_header = b->client_header,
				   .sender_header = b->sender_header,
				   .names = b->names,
				   .hashed = b->hashed,
				   .hash_depth = b->hash_depth,
				   .file_uid = -1 };
}

static ssize_t read_all(int fd, char *buf, size_t cap)
{
	size_t used = 0;
	ssize_t n;

	while (used < cap && (n = read(fd, buf + used, cap - used)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		used += (size_t)n;
	}
	return (ssize_t)used;
}

/* The answer of one program, without a shell; its standard error is ours. */
static ssize_t ask_program(const char *const *ask, const char *config_dir, char *buf, size_t cap, struct err *e)
{
	char *argv[16];
	size_t n = 0;
	int pipe_fd[2], status;

	for (; ask[n] != NULL && n + 1 < sizeof argv / sizeof *argv; n++)
		argv[n] = (char *)(size_t)(strcmp(ask[n], "@") == 0 ? config_dir : ask[n]);
	argv[n] = NULL;
	if (pipe2(pipe_fd, O_CLOEXEC) != 0)
		return err_sys(e, "ask %s", argv[0]);
	pid_t pid = fork();
	if (pid == 0) {
		char *const env[] = { NULL };
		(void)dup2(pipe_fd[1], STDOUT_FILENO);
		(void)execve(argv[0], argv, env);
		_exit(127);
	}
	(void)close(pipe_fd[1]);
	own_fd from = pipe_fd[0];
	ssize_t got = pid < 0 ? -1 : read_all(from, buf, cap);
	if (pid < 0 || got < 0)
		return err_sys(e, "ask %s", argv[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return err_set(e, ERR_CONFIG, "%s did not answer (status %d): set path, owner, hashed and hash_depth by hand",
			       argv[0], WIFEXITED(status) ? WEXITSTATUS(status) : -1);
	return got;
}

static int owner_number(const char *owner, int64_t *out, struct err *e)
{
	uint64_t uid;

	if (slice_u64(slice_str(owner), UINT32_MAX - 1, &uid)) {
		*out = (int64_t)uid;
		return 0;
	}
	const struct passwd *pw = getpwnam(owner);
	if (pw == NULL)
		return err_set(e, ERR_CONFIG, "there is no user %s", owner);
	*out = pw->pw_uid;
	return 0;
}

/* What the MTA said fills what the configuration does not say. */
static int brief_ask(const struct conf_spool *c, struct brief *b, char *owner, size_t owner_cap, struct err *e)
{
	char buf[ANSWER_MAX];
	struct slice line, rest;
	uint64_t depth;

	ssize_t n = ask_program(c->format->ask, c->config_dir ? c->config_dir : c->format->config_dir, buf, sizeof buf, e);
	if (n < 0)
		return err_add(e, "spool %s", c->name);
	rest = (struct slice){ buf, (size_t)n };
	if (!slice_line(&rest, &line) || line.n == 0 || line.p[0] != '/')
		return err_set(e, ERR_CONFIG, "spool %s: the MTA did not name its queue directory: set path", c->name);
	(void)slice_text(b->root, sizeof b->root, line);
	if (slice_line(&rest, &line))
		(void)slice_text(owner, owner_cap, line);
	if (slice_line(&rest, &line))
		(void)slice_text(b->hashed, sizeof b->hashed, line);
	if (slice_line(&rest, &line) && slice_u64(slice_trim(line), SPOOL_DEPTH_MAX, &depth))
		b->hash_depth = (uint32_t)depth;
	return 0;
}

int brief_make(const struct conf_spool *c, struct brief *b, struct err *e)
{
	char owner[64] = "";

	memset(b, 0, sizeof *b);
	b->owner = -1;
	if (c->path == NULL && brief_ask(c, b, owner, sizeof owner, e) != 0)
		return -1;
	if (c->path != NULL)
		(void)slice_text(b->root, sizeof b->root, slice_str(c->path));
	if (c->owner != NULL)
		(void)slice_text(owner, sizeof owner, slice_str(c->owner));
	if (owner[0] != '\0' && owner_number(owner, &b->owner, e) != 0)
		return err_add(e, "spool %s", c->name);
	if (c->hashed != NULL)
		(void)slice_text(b->hashed, sizeof b->hashed, slice_str(c->hashed));
	if (c->hash_depth >= 0)
		b->hash_depth = (uint32_t)c->hash_depth;
	(void)slice_text(b->name, sizeof b->name, slice_str(c->name));
	(void)slice_text(b->format, sizeof b->format, slice_str(c->format->name));
	(void)slice_text(b->stage, sizeof b->stage, slice_str(c->stage ? c->stage : c->format->stage));
	(void)slice_text(b->names, sizeof b->names, slice_str(c->names));
	(void)slice_text(b->login_header, sizeof b->login_header, slice_str(c->login_header));
	(void)slice_text(b->client_header, sizeof b->client_header, slice_str(c->client_header));
	(void)slice_text(b->sender_header, sizeof b->sender_header, slice_str(c->sender_header));
	return 0;
}

int place_init(struct place *p, const struct brief *b, uint16_t index, struct err *e)
{
	memset(p, 0, sizeof *p);
	p->brief = *b;
	p->format = spool_format_find(slice_str(b->format));
	if (p->format == NULL)
		return err_set(e, ERR_BUG, "spool %s: no format %s", b->name, b->format);
	p->set = brief_set(&p->brief);
	p->index = index;
	p->root_fd = p->stage_fd = -1;
	(void)pthread_rwlock_init(&p->lock, NULL);
	return 0;
}

void place_free(struct place *p)
{
	place_down(p);
	(void)pthread_rwlock_destroy(&p->lock);
}

/* Component by component, no symlink followed. openat2(2) would do the same in one call, but systemd's
 * RestrictSUIDSGID= answers it with ENOSYS. The paths are ours: no component is "..". */
static int open_beneath(int dir, const char *path, int flags)
{
	struct slice rest = slice_str(path), name;
	char part[NAME_MAX + 1];
	own_fd at = -1;

	while (slice_cut(&rest, '/', &name)) {
		(void)slice_text(part, sizeof part, name);
		int next = openat(at < 0 ? dir : at, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0)
			return -1;
		if (at >= 0)
			(void)close(at);
		at = next;
	}
	(void)slice_text(part, sizeof part, rest.n ? rest : SLICE("."));
	return openat(at < 0 ? dir : at, part, flags | O_NOFOLLOW | O_CLOEXEC);
}

/* The MTA's owner, where the configuration does not name one: who owns the first directory. */
static int find_owner(struct place *p, int root, struct err *e)
{
	struct stat st;
	own_fd fd = open_beneath(root, p->format->dirs[0].name, O_PATH | O_DIRECTORY);

	if (fd < 0 || fstat(fd, &st) != 0)
		return err_sys(e, "spool %s: open %s/%s", p->brief.name, p->brief.root, p->format->dirs[0].name);
	p->group = st.st_gid;
	if (p->format->owned && p->brief.owner < 0)
		p->brief.owner = st.st_uid;
	return 0;
}

static int open_stage(struct place *p, int root, struct err *e)
{
	struct stat st, top;
	int fd;

	if (sys_mkdir(root, p->brief.stage, 0700) != 0 && errno != EEXIST)
		return err_sys(e, "spool %s: make %s/%s", p->brief.name, p->brief.root, p->brief.stage);
	fd = open_beneath(root, p->brief.stage, O_RDONLY | O_DIRECTORY);
	if (fd < 0 || fstat(fd, &st) != 0 || fstat(root, &top) != 0) {
		(void)err_sys(e, "spool %s: open %s/%s", p->brief.name, p->brief.root, p->brief.stage);
	} else if (st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
		(void)err_set(e, ERR_CONFIG, "spool %s: %s/%s must belong to uid %u with mode 0700", p->brief.name,
			      p->brief.root, p->brief.stage, (unsigned)geteuid());
	} else if (st.st_dev != top.st_dev) {
		(void)err_set(e, ERR_CONFIG, "spool %s: the stage %s is on another file system than the queue", p->brief.name,
			      p->brief.stage);
	} else {
		return fd;
	}
	if (fd >= 0)
		(void)close(fd);
	return -1;
}

static bool same_mount(int a, int b)
{
	struct statx x = { 0 }, y = { 0 };

	if (statx(a, "", AT_EMPTY_PATH, STATX_MNT_ID, &x) != 0 || statx(b, "", AT_EMPTY_PATH, STATX_MNT_ID, &y) != 0)
		return false;
	return (x.stx_mask & y.stx_mask & STATX_MNT_ID) != 0 && x.stx_mnt_id == y.stx_mnt_id;
}

bool place_on_ram(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

int place_up(struct place *p, int cells_fd, struct err *e)
{
	place_down(p);
	own_fd root = open(p->brief.root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_sys(e, "spool %s: open %s", p->brief.name, p->brief.root);
	if (find_owner(p, root, e) != 0)
		return -1;
	int stage = open_stage(p, root, e);
	if (stage < 0)
		return -1;
	(void)pthread_rwlock_wrlock(&p->lock);
	p->stage_fd = stage;
	p->root_fd = give_fd(&root);
	p->same_mount = same_mount(stage, cells_fd);
	p->on_ram = place_on_ram(stage);
	(void)pthread_rwlock_unlock(&p->lock);
	return 0;
}

void place_down(struct place *p)
{
	(void)pthread_rwlock_wrlock(&p->lock);
	if (p->root_fd >= 0)
		(void)close(p->root_fd);
	if (p->stage_fd >= 0)
		(void)close(p->stage_fd);
	p->root_fd = p->stage_fd = -1;
	(void)pthread_rwlock_unlock(&p->lock);
}

int place_at(const struct place *p, const char *path, const char **file)
{
	char dir[SPOOL_PATH_MAX];
	const char *slash = strrchr(path, '/');

	*file = slash ? slash + 1 : path;
	if (p->root_fd < 0) {
		errno = ENOENT;
		return -1;
	}
	(void)slice_text(dir, sizeof dir, (struct slice){ path, slash ? (size_t)(slash - path) : 0 });
	return open_beneath(p->root_fd, dir, O_PATH | O_DIRECTORY);
}

bool place_live(const struct place *p, struct slice id)
{
	char path[SPOOL_PATH_MAX];
	const char *file;
	struct stat st;

	for (unsigned dir = 0; dir < p->format->ndirs; dir++) {
		if (!spool_path(p->format, dir, spool_depth(&p->set, p->format->dirs[dir].name), id, path))
			continue;
		own_fd fd = place_at(p, path, &file);
		if (fd >= 0 && fstatat(fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0)
			return true;
	}
	return false;
}

void stage_name(char out[STAGE_NAME], unsigned dir, unsigned depth, uint64_t ino, struct slice id)
{
	(void)snprintf(out, STAGE_NAME, "t.%u.%u.%llu.%.*s", dir, depth, (unsigned long long)ino, (int)id.n, id.p);
}

bool stage_parse(const struct spool_format *f, const struct spool_set *set, struct slice name, unsigned *dir,
		 unsigned *depth, uint64_t *ino, struct queue_id *id)
{
	struct slice a, b, c;
	uint64_t d, h;

	if (!slice_drop_head(&name, SLICE("t.")) || !slice_cut(&name, '.', &a) || !slice_cut(&name, '.', &b) ||
	    !slice_cut(&name, '.', &c) || !slice_u64(a, f->ndirs - 1, &d) || !slice_u64(b, SPOOL_DEPTH_MAX, &h) ||
	    !slice_u64(c, UINT64_MAX, ino) || !queue_id_set(id, name) || !spool_id_ok(f, set, (unsigned)d, name))
		return false;
	*dir = (unsigned)d;
	*depth = (unsigned)h;
	return true;
}

void stage_release_name(char out[STAGE_NAME], int64_t id)
{
	(void)snprintf(out, STAGE_NAME, "r.%lld", (long long)id);
}

bool stage_release_parse(struct slice name, int64_t *id)
{
	uint64_t n;

	if (!slice_drop_head(&name, SLICE("r.")) || !slice_u64(name, INT64_MAX, &n))
		return false;
	*id = (int64_t)n;
	return true;
}

/* One directory: renamed (DONE), not there (GONE), there but to be left (WAIT). */
static enum claim claim_from(struct place *p, unsigned dir, unsigned depth, struct slice id, bool wait_if_busy,
			     const char *name, struct err *e)
{
	char path[SPOOL_PATH_MAX];
	const char *file;
	struct stat st;

	if (!spool_path(p->format, dir, depth, id, path))
		return CLAIM_GONE;
	own_fd fd = place_at(p, path, &file);
	if (fd < 0 && errno == ENOENT)
		return CLAIM_GONE;
	if (fd < 0) {
		(void)err_sys(e, "open the directory of %s", path);
		return CLAIM_FAILED;
	}
	if (wait_if_busy && (p->format->dirs[dir].traits & DIR_BUSY) != 0)
		return fstatat(fd, file, &st, AT_SYMLINK_NOFOLLOW) == 0 ? CLAIM_WAIT : CLAIM_GONE;
	if (sys_move(fd, file, p->stage_fd, name) == 0)
		return CLAIM_DONE;
	if (errno == ENOENT)
		return CLAIM_GONE;
	(void)err_sys(e, "take %s", path);
	return CLAIM_FAILED;
}

/* Is what we renamed what was promised? Otherwise it goes straight back: the MTA saw at most a blink. */
static int claim_check(struct place *p, struct slice id, uint64_t ino, struct claimed *c, struct err *e)
{
	char path[SPOOL_PATH_MAX];
	const char *file;

	if (fstatat(p->stage_fd, c->name, &c->st, AT_SYMLINK_NOFOLLOW) != 0)
		return err_sys(e, "look at what was taken");
	if (S_ISREG(c->st.st_mode) && c->st.st_nlink == 1 && c->st.st_ino == ino &&
	    (p->brief.owner < 0 || c->st.st_uid == (uid_t)p->brief.owner))
		return 0;
	(void)spool_path(p->format, c->dir, c->depth, id, path);
	own_fd fd = place_at(p, path, &file);
	if (fd < 0 || sys_move(p->stage_fd, c->name, fd, file) != 0)
		return err_sys(e, "%s is not the file that was seen, and could not be put back", path);
	return err_set(e, ERR_HOSTILE, "%s is not the file that was seen", path);
}

enum claim place_claim(struct place *p, unsigned dir, unsigned depth, struct slice id, uint64_t ino, bool wait_if_busy,
		       struct claimed *out, struct err *e)
{
	const struct spool_format *f = p->format;
	enum claim got = CLAIM_GONE;

	(void)pthread_rwlock_rdlock(&p->lock);
	if (p->stage_fd < 0) {
		(void)pthread_rwlock_unlock(&p->lock);
		return CLAIM_DOWN;
	}
	stage_name(out->name, dir, depth, ino, id);
	out->dir = dir;
	out->depth = depth;
	if (f->dirs[dir].traits & DIR_TAKE)
		got = claim_from(p, dir, depth, id, wait_if_busy, out->name, e);
	/* it moves while we look: the sweep order is the order in which a message moves, so look again */
	for (unsigned i = 0; got == CLAIM_GONE && i < CLAIM_ROUNDS * f->ndirs; i++) {
		out->dir = i % (unsigned)f->ndirs;
		if (!(f->dirs[out->dir].traits & DIR_TAKE))
			continue;
		out->depth = spool_depth(&p->set, f->dirs[out->dir].name);
		stage_name(out->name, out->dir, out->depth, ino, id);
		got = claim_from(p, out->dir, out->depth, id, wait_if_busy, out->name, e);
	}
	if (got == CLAIM_DONE && claim_check(p, id, ino, out, e) != 0)
		got = CLAIM_FAILED;
	(void)pthread_rwlock_unlock(&p->lock);
	return got;
}

int place_still(int fd, struct err *e)
{
	/* granted only while nobody else has the inode open, for reading or writing; given back at once */
	if (fcntl(fd, F_SETLEASE, F_WRLCK) == 0) {
		(void)fcntl(fd, F_SETLEASE, F_UNLCK);
		return 1;
	}
	if (errno == EAGAIN || errno == EBUSY)
		return 0;
	return err_sys(e, "ask for a lease");
}

bool place_fresh(const struct place *p, struct slice old_id, uint64_t ino, unsigned attempt, struct queue_id *out)
{
	int64_t sec;
	int32_t usec;

	clock_real_us(&sec, &usec);
	return p->format->fresh(old_id, sec, usec, ino, attempt, out) && !slice_eq(queue_id_slice(out), old_id);
}

void place_kick(struct place *p)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct stat st;

	if (p->format->kick_path == NULL)
		return;
	(void)pthread_rwlock_rdlock(&p->lock);
	own_fd dir = p->root_fd >= 0 ? fcntl(p->root_fd, F_DUPFD_CLOEXEC, 0) : -1;
	(void)pthread_rwlock_unlock(&p->lock);
	if (dir < 0 || fstatat(dir, p->format->kick_path, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	own_fd fd = -1;
	if (S_ISFIFO(st.st_mode)) {
		fd = open_beneath(dir, p->format->kick_path, O_WRONLY | O_NONBLOCK);
	} else if (S_ISSOCK(st.st_mode)) {
		int n = snprintf(to.sun_path, sizeof to.sun_path, "/proc/self/fd/%d/%s", dir, p->format->kick_path);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0 || n < 0 || (size_t)n >= sizeof to.sun_path ||
		    connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
			return;
	}
	/* SIGPIPE is ignored: an MTA that goes away meanwhile looks by itself when it starts */
	if (fd >= 0 && write(fd, p->format->kick_bytes.p, p->format->kick_bytes.n) < 0)
		return;
}
