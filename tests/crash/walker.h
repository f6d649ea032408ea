/* walker.h - the role that reads, inside the process of a test: what monitor/sift.c answers to ward. */
#ifndef TESTS_CRASH_WALKER_H
#define TESTS_CRASH_WALKER_H

#include <sys/stat.h>
#include <unistd.h>

#include "quarantine/store.h"

static int digest(int fd, uint64_t size, unsigned char out[SHA256_SIZE])
{
	char chunk[16384];
	struct sha256 h;
	uint64_t at = 0;
	ssize_t n;

	sha256_init(&h);
	while (at < size && (n = pread(fd, chunk, sizeof chunk, (off_t)at)) > 0) {
		sha256_add(&h, (struct slice){ chunk, (size_t)n });
		at += (uint64_t)n;
	}
	sha256_end(&h, out);
	return at == size ? 0 : -1;
}

static void walk_one(struct store *s, struct walk_job *j)
{
	struct place *p = &s->places[j->spool];
	unsigned char sha[SHA256_SIZE];
	struct stat st;
	struct err e;

	j->result = WALK_AGAIN;
	card_init(j->card, CARD_NEW);
	walk_init(j->walk);
	if (fstat(j->fd, &st) != 0 || digest(j->fd, (uint64_t)st.st_size, sha) != 0)
		return;
	struct source src = source_fd(j->fd, (uint64_t)st.st_size);
	j->result = WALK_OK;
	if (!j->digest_only &&
	    (p->format->envelope(&p->set, &src, j->card, &e) != 0 || p->format->walk(&p->set, &src, j->walk, &e) != 0))
		j->result = WALK_UNREADABLE;
	memcpy(j->walk->sha256, sha, sizeof sha);
	j->walk->size = (uint64_t)st.st_size;
}

static void walk_run(void *arg, struct walk_job *jobs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		walk_one(arg, &jobs[i]);
}

#endif
