#include "spool/format.h"

#include <errno.h>
#include <unistd.h>

const struct spool_format *const spool_formats[] = {
	&spool_postfix,
	&spool_eml,
	NULL,
};

const struct spool_format *spool_format_find(struct slice name)
{
	for (size_t i = 0; spool_formats[i] != NULL; i++)
		if (slice_ieq(name, slice_str(spool_formats[i]->name)))
			return spool_formats[i];
	return NULL;
}

static ssize_t read_fd(struct source *s, void *p, size_t n, uint64_t at)
{
	if (at > INT64_MAX) {
		errno = EINVAL;
		return -1;
	}
	return pread(s->fd, p, n, (off_t)at);
}

static ssize_t read_mem(struct source *s, void *p, size_t n, uint64_t at)
{
	if (at >= s->mem.n)
		return 0;
	if (n > s->mem.n - at)
		n = s->mem.n - at;
	memcpy(p, s->mem.p + at, n);
	return (ssize_t)n;
}

struct source source_fd(int fd, uint64_t size)
{
	return (struct source){ .read = read_fd, .size = size, .fd = fd };
}

struct source source_mem(struct slice bytes)
{
	return (struct source){ .read = read_mem, .size = bytes.n, .fd = -1, .mem = bytes };
}

ssize_t source_fill(struct source *s, void *p, size_t n, uint64_t at)
{
	size_t have = 0;

	while (have < n) {
		ssize_t got = s->read(s, (char *)p + have, n - have, at + have);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		have += (size_t)got;
	}
	return (ssize_t)have;
}

bool queue_id_set(struct queue_id *id, struct slice text)
{
	if (text.n == 0 || text.n > QUEUE_ID_MAX || text.p[0] == '.')
		return false;
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		if (c < 0x20 || c == 0x7f || c == '/')
			return false;
	}
	id->n = (uint16_t)slice_text(id->text, sizeof id->text, text);
	return true;
}

/* A path under construction; once something did not fit nothing more is added. */
struct path {
	char *text;
	size_t n;
	bool bad;
};

static void path_add(struct path *p, struct slice s)
{
	if (p->bad || s.n >= SPOOL_PATH_MAX - p->n) {
		p->bad = true;
		return;
	}
	if (s.n > 0)
		memcpy(p->text + p->n, s.p, s.n);
	p->n += s.n;
	p->text[p->n] = '\0';
}

static bool path_build(const struct spool_format *f, struct slice dir, unsigned depth, const struct spool_part *part,
		       struct slice id, char out[SPOOL_PATH_MAX])
{
	struct path p = { .text = out };
	struct queue_id checked;
	char level[2];

	out[0] = '\0';
	if (!queue_id_set(&checked, id) || depth > SPOOL_DEPTH_MAX)
		return false;
	path_add(&p, dir);
	if (dir.n > 0)
		path_add(&p, SLICE("/"));
	for (unsigned i = 0; i < depth; i++) {
		if (f->hash == NULL || !f->hash(id, i, level))
			return false;
		path_add(&p, (struct slice){ level, 1 });
		path_add(&p, SLICE("/"));
	}
	if (part != NULL)
		path_add(&p, slice_str(part->head));
	path_add(&p, id);
	if (part != NULL)
		path_add(&p, slice_str(part->tail));
	return !p.bad;
}

static const struct spool_part *live_part(const struct spool_format *f)
{
	for (size_t i = 0; i < f->nparts; i++)
		if (f->parts[i].traits & PART_LIVE)
			return &f->parts[i];
	return NULL;
}

bool spool_id_ok(const struct spool_format *f, const struct spool_set *set, unsigned dir, struct slice id)
{
	struct queue_id found;
	char file[SPOOL_PATH_MAX];

	if (dir >= f->ndirs || !path_build(f, SLICE(""), 0, live_part(f), id, file))
		return false;
	if (f->identify(set, dir, slice_str(file), &found) == SEEN_NOISE)
		return false;
	return slice_eq(queue_id_slice(&found), id);
}

bool spool_path(const struct spool_format *f, unsigned dir, unsigned depth, struct slice id, char out[SPOOL_PATH_MAX])
{
	out[0] = '\0';
	return dir < f->ndirs && path_build(f, slice_str(f->dirs[dir].name), depth, live_part(f), id, out);
}

bool spool_part_path(const struct spool_format *f, const struct spool_set *set, unsigned part, unsigned dir,
		     unsigned depth, struct slice id, char out[SPOOL_PATH_MAX])
{
	const struct spool_part *p = part < f->nparts ? &f->parts[part] : NULL;

	out[0] = '\0';
	if (p == NULL || dir >= f->ndirs)
		return false;
	if (p->dir == NULL)
		return path_build(f, slice_str(f->dirs[dir].name), depth, p, id, out);
	return path_build(f, slice_str(p->dir), f->hash ? spool_depth(set, p->dir) : 0, p, id, out);
}

static bool separator(char c)
{
	return c == ' ' || c == '\t' || c == ',' || c == '\n' || c == '\r';
}

unsigned spool_depth(const struct spool_set *set, const char *dir)
{
	struct slice rest = slice_str(set->hashed), want = slice_str(dir);

	while (rest.n > 0) {
		size_t n = 0;

		while (n < rest.n && !separator(rest.p[n]))
			n++;
		if (n > 0 && slice_ieq((struct slice){ rest.p, n }, want))
			return set->hash_depth < SPOOL_DEPTH_MAX ? set->hash_depth : SPOOL_DEPTH_MAX;
		n += n < rest.n;
		rest.p += n;
		rest.n -= n;
	}
	return 0;
}

bool spool_hash_name(struct slice name)
{
	return name.n == 1 && name.p[0] > 0x20 && name.p[0] < 0x7f && name.p[0] != '.' && name.p[0] != '/';
}
