#include "quarantine/cell.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/own.h"
#include "base/sys.h"

#define CELL_COPY "message.tmp"
#define INFO_MAX (1u << 20)
#define SHELF 1000 /* cells per directory */

static int make_dir(int at, const char *name, bool create)
{
	if (create && sys_mkdir(at, name, 0700) != 0 && errno != EEXIST)
		return -1;
	return openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int cells_open(const char *quarantine_dir, struct cells *out, struct err *e)
{
	if (sys_mkdir(AT_FDCWD, quarantine_dir, 0700) != 0 && errno != EEXIST)
		return err_sys(e, "make %s", quarantine_dir);
	own_fd top = open(quarantine_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0)
		return err_sys(e, "open %s", quarantine_dir);
	out->fd = make_dir(top, "cells", true);
	if (out->fd < 0)
		return err_sys(e, "make %s/cells", quarantine_dir);
	return 0;
}

void cells_close(struct cells *c)
{
	if (c->fd >= 0)
		(void)close(c->fd);
	c->fd = -1;
}

int cell_dir(const struct cells *c, int64_t id, bool create)
{
	char shelf[32], name[32];

	(void)snprintf(shelf, sizeof shelf, "%lld", (long long)(id / SHELF));
	(void)snprintf(name, sizeof name, "m%lld", (long long)id);
	own_fd up = make_dir(c->fd, shelf, create);
	return up < 0 ? -1 : make_dir(up, name, create);
}

int cell_move_in(const struct cells *c, struct place *p, const char *staged, const struct row *r, struct err *e)
{
	own_fd cell = cell_dir(c, r->id, true);

	if (cell < 0)
		return err_sys(e, "make the cell of m%lld", (long long)r->id);
	if (sys_move(p->stage_fd, staged, cell, CELL_FILE) != 0)
		return err_sys(e, "move %s to its cell", staged);
	return cell_write_info(c, r, e);
}

int cell_copy_in(const struct cells *c, struct place *p, const char *staged, const struct row *r, int *out, struct err *e)
{
	own_fd cell = cell_dir(c, r->id, true);
	own_fd from = openat(p->stage_fd, staged, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (cell < 0 || from < 0)
		return err_sys(e, "open the cell of m%lld", (long long)r->id);
	if (sys_unlink(cell, CELL_COPY) != 0 && errno != ENOENT)
		return err_sys(e, "remove an unfinished copy");
	own_fd to = sys_create(cell, CELL_COPY, 0600);
	if (to < 0 || sys_copy(from, to, r->size) != 0) {
		(void)err_sys(e, "copy m%lld to its cell", (long long)r->id);
		(void)sys_unlink(cell, CELL_COPY);
		return -1;
	}
	if (cell_write_info(c, r, e) != 0)
		return -1;
	*out = give_fd(&to);
	return 0;
}

int cell_copy_done(const struct cells *c, int64_t id, struct err *e)
{
	own_fd cell = cell_dir(c, id, false);

	if (cell < 0)
		return err_sys(e, "open the cell of m%lld", (long long)id);
	if (sys_move(cell, CELL_COPY, cell, CELL_FILE) == 0)
		return 0;
	if (errno == EEXIST) /* an earlier try had come this far */
		return sys_unlink(cell, CELL_FILE) == 0 && sys_move(cell, CELL_COPY, cell, CELL_FILE) == 0
			       ? 0
			       : err_sys(e, "replace an earlier copy of m%lld", (long long)id);
	return err_sys(e, "name the copy of m%lld", (long long)id);
}

/* JSON must be UTF-8: what is not is escaped, so that the sidecar always can be written. */
static json_t *text(const char *s)
{
	char safe[2048];
	json_t *j = json_string(s);

	if (j != NULL)
		return j;
	(void)escape_text(safe, sizeof safe, slice_str(s), ESCAPE_PLAIN);
	return json_string(safe);
}

static json_t *info_stamps(const struct row *r)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < r->nstamps; i++)
		(void)json_array_append_new(list, json_pack("{s:I,s:I,s:i,s:i}", "at", (json_int_t)r->stamps[i].at, "delta",
							    (json_int_t)r->stamps[i].delta, "width", (int)r->stamps[i].width,
							    "pad", (int)r->stamps[i].pad));
	return list;
}

static json_t *info_json(const struct row *r)
{
	char sha[2 * SHA256_SIZE + 1];
	json_t *j = json_object();
	const struct { const char *key; int64_t v; } numbers[] = {
		{ "id", r->id },	 { "dir", r->dir },	    { "depth", r->depth },
		{ "mode", r->mode },	 { "uid", r->uid },	    { "gid", r->gid },
		{ "mtime", r->mtime },	 { "size", (int64_t)r->size }, { "incident", r->incident },
		{ "arrived", r->arrived }, { "taken", r->taken },   { "recipients", r->recipients },
		{ "done", r->done },	 { "dev", (int64_t)r->dev }, { "ino", (int64_t)r->ino },
		{ "readable", r->readable },
	};
	const struct { const char *key, *v; } texts[] = {
		{ "spool", r->spool },	   { "format", r->format }, { "queue_id", r->queue_id.text }, { "origin", r->origin },
		{ "sender", r->sender },   { "login", r->login },   { "client", r->client },	      { "subject", r->subject },
		{ "from", r->from },	   { "message_id", r->message_id }, { "rcpts", r->rcpts ? r->rcpts : "" },
	};

	hex_text(sha, r->sha256, SHA256_SIZE);
	(void)json_object_set_new(j, "note",
				  json_string("Held by Spoolward. To put it back by hand: stop the MTA, copy the file 'message' "
					      "into the queue directory named by 'dir' with this mode, uid and gid, under a queue "
					      "id that is new, and start the MTA. Then remove this directory."));
	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		(void)json_object_set_new(j, numbers[i].key, json_integer(numbers[i].v));
	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
		(void)json_object_set_new(j, texts[i].key, text(texts[i].v));
	(void)json_object_set_new(j, "sha256", json_string(sha));
	(void)json_object_set_new(j, "stamps", info_stamps(r));
	return j;
}

int cell_write_info(const struct cells *c, const struct row *r, struct err *e)
{
	own_fd cell = cell_dir(c, r->id, false);
	json_t *j = info_json(r);
	own_mem char *out = json_dumps(j, JSON_INDENT(1) | JSON_SORT_KEYS);

	json_decref(j);
	if (cell < 0 || out == NULL)
		return err_sys(e, "describe m%lld", (long long)r->id);
	if (sys_unlink(cell, CELL_INFO) != 0 && errno != ENOENT)
		return err_sys(e, "replace the description of m%lld", (long long)r->id);
	own_fd fd = sys_create(cell, CELL_INFO, 0600);
	if (fd < 0 || sys_write(fd, out, strlen(out)) != 0)
		return err_sys(e, "write the description of m%lld", (long long)r->id);
	return 0;
}

static int take_log(int cell, struct place *p, const char *path, const char *dir, struct err *e)
{
	struct stat st;
	char name[64];
	const char *file;

	own_fd at = place_at(p, path, &file);
	own_fd from = at < 0 ? -1 : openat(at, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (from < 0)
		return errno == ENOENT ? 0 : err_sys(e, "open %s", path);
	if (fstat(from, &st) != 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_HOSTILE, "%s is no regular file", path);
	(void)snprintf(name, sizeof name, "log.%s", dir);
	own_fd to = sys_create(cell, name, 0600);
	if (to < 0 && errno != EEXIST)
		return err_sys(e, "copy %s", path);
	if (to >= 0 && sys_copy(from, to, (uint64_t)st.st_size) != 0)
		return err_sys(e, "copy %s", path);
	return sys_unlink(at, file) == 0 || errno == ENOENT ? 0 : err_sys(e, "remove %s", path);
}

int cell_take_logs(const struct cells *c, struct place *p, const struct row *r, struct err *e)
{
	const struct spool_format *f = p->format;
	char path[SPOOL_PATH_MAX];
	own_fd cell = cell_dir(c, r->id, false);

	if (cell < 0)
		return err_sys(e, "open the cell of m%lld", (long long)r->id);
	for (unsigned i = 0; i < f->nparts; i++)
		if ((f->parts[i].traits & PART_LOG) != 0 && f->parts[i].dir != NULL &&
		    spool_part_path(f, &p->set, i, r->dir, r->depth, queue_id_slice(&r->queue_id), path) &&
		    take_log(cell, p, path, f->parts[i].dir, e) != 0)
			return -1;
	return 0;
}

int cell_open_file(const struct cells *c, int64_t id, const char *name, struct err *e)
{
	own_fd cell = cell_dir(c, id, false);
	int fd = cell < 0 ? -1 : openat(cell, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, "open m%lld/%s", (long long)id, name);
	return fd;
}

int cell_has(const struct cells *c, int64_t id, const char *name, struct err *e)
{
	struct stat st;
	own_fd cell = cell_dir(c, id, false);

	if (cell >= 0 && fstatat(cell, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISREG(st.st_mode);
	return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : err_sys(e, "look for m%lld/%s", (long long)id, name);
}

bool cell_is(const struct cells *c, const struct row *r)
{
	struct stat st;
	own_fd cell = cell_dir(c, r->id, false);

	if (cell < 0 || fstatat(cell, CELL_FILE, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return true;
	return (uint64_t)st.st_size == r->size;
}

int cell_remove(const struct cells *c, int64_t id, struct err *e)
{
	char shelf[32], name[32];
	struct dirent *d;

	own_fd cell = cell_dir(c, id, false);
	if (cell < 0)
		return errno == ENOENT ? 0 : err_sys(e, "open the cell of m%lld", (long long)id);
	own_dir dir = fdopendir(fcntl(cell, F_DUPFD_CLOEXEC, 0));
	if (dir == NULL)
		return err_sys(e, "read the cell of m%lld", (long long)id);
	while ((d = readdir(dir)) != NULL)
		if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0 && sys_unlink(cell, d->d_name) != 0 &&
		    errno != ENOENT)
			return err_sys(e, "remove m%lld/%s", (long long)id, d->d_name);
	(void)snprintf(shelf, sizeof shelf, "%lld", (long long)(id / SHELF));
	(void)snprintf(name, sizeof name, "m%lld", (long long)id);
	own_fd up = make_dir(c->fd, shelf, false);
	if (up < 0 || (sys_rmdir(up, name) != 0 && errno != ENOENT))
		return err_sys(e, "remove the cell of m%lld", (long long)id);
	return 0;
}

int cells_sync(const struct cells *c, struct err *e)
{
	return sys_syncfs(c->fd) == 0 ? 0 : err_sys(e, "sync the quarantine");
}

static void get_text(const json_t *j, const char *key, char *to, size_t cap)
{
	const char *s = json_string_value(json_object_get(j, key));

	(void)slice_text(to, cap, slice_str(s ? s : ""));
}

static int64_t get_int(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static void get_stamps(const json_t *j, struct row *r)
{
	json_t *list = json_object_get(j, "stamps"), *one;
	size_t i;

	json_array_foreach(list, i, one)
		if (r->nstamps < WALK_STAMPS)
			r->stamps[r->nstamps++] = (struct stamp){ .at = (uint64_t)get_int(one, "at"),
								  .delta = get_int(one, "delta"),
								  .width = (uint8_t)get_int(one, "width"),
								  .pad = (char)get_int(one, "pad") };
}

static void get_sha(const json_t *j, struct row *r)
{
	const char *hex = json_string_value(json_object_get(j, "sha256"));

	for (size_t i = 0; hex != NULL && strlen(hex) == 2 * SHA256_SIZE && i < SHA256_SIZE; i++) {
		const char pair[3] = { hex[2 * i], hex[2 * i + 1], '\0' };
		r->sha256[i] = (unsigned char)strtoul(pair, NULL, 16);
	}
}

static void info_row(const json_t *j, struct row *r)
{
	char queue_id[QUEUE_ID_MAX + 2];

	memset(r, 0, sizeof *r);
	r->id = get_int(j, "id");
	r->state = ROW_HELD;
	r->dir = (unsigned)get_int(j, "dir");
	r->depth = (unsigned)get_int(j, "depth");
	r->mode = (mode_t)get_int(j, "mode");
	r->uid = (uid_t)get_int(j, "uid");
	r->gid = (gid_t)get_int(j, "gid");
	r->mtime = get_int(j, "mtime");
	r->size = (uint64_t)get_int(j, "size");
	r->dev = (uint64_t)get_int(j, "dev");
	r->ino = (uint64_t)get_int(j, "ino");
	r->incident = get_int(j, "incident");
	r->arrived = get_int(j, "arrived");
	r->taken = r->changed = get_int(j, "taken");
	r->recipients = (uint32_t)get_int(j, "recipients");
	r->done = (uint32_t)get_int(j, "done");
	r->readable = get_int(j, "readable") != 0;
	get_text(j, "spool", r->spool, sizeof r->spool);
	get_text(j, "format", r->format, sizeof r->format);
	get_text(j, "queue_id", queue_id, sizeof queue_id);
	(void)queue_id_set(&r->queue_id, slice_str(queue_id));
	get_text(j, "origin", r->origin, sizeof r->origin);
	get_text(j, "sender", r->sender, sizeof r->sender);
	get_text(j, "login", r->login, sizeof r->login);
	get_text(j, "client", r->client, sizeof r->client);
	get_text(j, "subject", r->subject, sizeof r->subject);
	get_text(j, "from", r->from, sizeof r->from);
	get_text(j, "message_id", r->message_id, sizeof r->message_id);
	const char *rcpts = json_string_value(json_object_get(j, "rcpts"));
	r->rcpts = rcpts && rcpts[0] ? strdup(rcpts) : NULL;
	get_stamps(j, r);
	get_sha(j, r);
}

int cell_read_info(const struct cells *c, int64_t id, struct row *out, struct err *e)
{
	json_error_t why;
	struct stat st;
	own_fd fd = cell_open_file(c, id, CELL_INFO, e);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) != 0 || st.st_size <= 0 || st.st_size > (off_t)INFO_MAX)
		return err_set(e, ERR_HOSTILE, "m%lld/%s is cut", (long long)id, CELL_INFO);
	json_t *j = json_loadfd(fd, JSON_DISABLE_EOF_CHECK, &why);
	if (j == NULL || get_int(j, "id") != id) {
		json_decref(j);
		return err_set(e, ERR_HOSTILE, "m%lld/%s cannot be read", (long long)id, CELL_INFO);
	}
	info_row(j, out);
	json_decref(j);
	return 0;
}

static int shelf_each(int shelf_fd, int (*each)(void *, int64_t), void *arg, struct err *e)
{
	struct dirent *d;
	own_dir dir = fdopendir(shelf_fd);

	if (dir == NULL)
		return err_sys(e, "read the cells");
	while ((d = readdir(dir)) != NULL) {
		struct slice name = slice_str(d->d_name);
		uint64_t id;
		if (slice_drop_head(&name, SLICE("m")) && slice_u64(name, INT64_MAX, &id)) {
			int stop = each(arg, (int64_t)id);
			if (stop != 0)
				return stop;
		}
	}
	return 0;
}

int cells_each(const struct cells *c, int (*each)(void *, int64_t), void *arg, struct err *e)
{
	struct dirent *d;
	int fd = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	own_dir dir = fd < 0 ? NULL : fdopendir(fd);

	if (dir == NULL)
		return err_sys(e, "read the cells");
	while ((d = readdir(dir)) != NULL) {
		uint64_t shelf;
		if (!slice_u64(slice_str(d->d_name), INT64_MAX, &shelf))
			continue;
		int shelf_fd = make_dir(c->fd, d->d_name, false);
		if (shelf_fd < 0)
			return err_sys(e, "read the cells");
		int stop = shelf_each(shelf_fd, each, arg, e);
		if (stop != 0)
			return stop;
	}
	return 0;
}
