/* The role that reads bytes. It has no file system and no network: descriptors come in, cards go out. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/sandbox.h"
#include "base/wire.h"
#include "monitor/kind.h"
#include "monitor/role.h"
#include "monitor/sighting.h"

#define KIND_BYTES 4096
#define DIGEST_CHUNK 65536

struct format_of {
	const struct spool_format *format;
	struct spool_set set;
};

static struct {
	const struct role_start *start;
	struct format_of *spools;
	struct role_slot *slot;
	struct sightings in;
	struct card card;
	struct walk walk;
	_Alignas(8) char out[CARDS_RECORD];
	size_t used;
	char chunk[DIGEST_CHUNK];
	_Alignas(8) char answer[WALK_ANSWER_MAX];
} s;

static void send_cards(void)
{
	if (s.used == 0)
		return;
	if (wire_send(ROLE_FD_OUT, s.out, s.used, NULL, 0) != 0)
		exit(0); /* ward is gone */
	s.used = 0;
}

static void put_card(const struct card *c)
{
	size_t n = CARD_SIZE(c);

	if (s.used + ALIGN8(n) > sizeof s.out)
		send_cards();
	memset(s.out + s.used + (n & ~(size_t)7), 0, ALIGN8(n) - (n & ~(size_t)7));
	memcpy(s.out + s.used, c, n);
	s.used += ALIGN8(n);
}

static bool poisoned(uint64_t dev, uint64_t ino)
{
	uint32_t n = s.slot->npoison < POISON_MOST ? s.slot->npoison : POISON_MOST;

	for (uint32_t i = 0; i < n; i++)
		if (s.slot->poison[i].ino == ino && s.slot->poison[i].dev == dev)
			return true;
	return false;
}

static void mark(uint64_t dev, uint64_t ino)
{
	atomic_store(&s.slot->now_dev, dev);
	atomic_store(&s.slot->now_ino, ino);
}

static bool is_mail(int fd)
{
	ssize_t n = pread(fd, s.chunk, KIND_BYTES, 0);

	return n > 0 && kind_is_mail((struct slice){ s.chunk, (size_t)n });
}

/* Facts of a new message. A file that breaks the format is told, and goes no further. */
static void sift_new(const struct sighting *g, int fd, struct card *c)
{
	struct format_of *f = &s.spools[g->spool];
	struct source source = source_fd(fd, g->size);
	struct stat st;
	struct err e;

	if (poisoned(g->dev, g->ino)) {
		c->kind = CARD_HOSTILE;
		return;
	}
	mark(g->dev, g->ino);
	f->set.file_uid = g->uid;
	if (g->maybe && !is_mail(fd)) {
		c->kind = 0;
	} else if (f->format->envelope(&f->set, &source, c, &e) != 0) {
		c->kind = CARD_HOSTILE;
	} else {
		c->flags |= g->flags;
		if (c->arrived_s == 0 && fstat(fd, &st) == 0)
			c->arrived_s = st.st_mtime;
	}
	mark(0, 0);
	/* the envelope says the first queue id of the chain; its own is no news */
	if (slice_eq(CARD_GET(c, first), (struct slice){ g->id, g->id_n }))
		c->first.n = 0;
}

static void sift_one(const struct sighting *g, int fd)
{
	struct card *c = &s.card;

	card_init(c, (enum card_kind)g->kind);
	c->spool = g->spool;
	c->dir = g->dir;
	c->depth = g->depth;
	c->flags = g->flags & CARD_FLAGS;
	c->dev = g->dev;
	c->ino = g->ino;
	c->size = g->size;
	if (g->kind == CARD_NEW && fd >= 0)
		sift_new(g, fd, c);
	if (c->kind == 0)
		return;
	(void)card_put(c, &c->id, (struct slice){ g->id, g->id_n }, QUEUE_ID_MAX);
	put_card(c);
}

static bool sighting_ok(const struct sighting *g)
{
	if (g->kind == 0 || g->kind >= CARD_KINDS || g->spool >= s.start->nspools || g->id_n > QUEUE_ID_MAX + 2 ||
	    g->has_fd > 1 || g->maybe > 1)
		return false;
	return g->kind > CARD_UNSEEN || g->dir < s.spools[g->spool].format->ndirs;
}

/* One record of sightings; -1: the sender breaks the rules, or is gone. */
static int sift_batch(void)
{
	int fds[SIGHTING_BATCH];
	size_t nfds = 0, at = 0;
	ssize_t n = wire_recv(ROLE_FD_IN, &s.in, sizeof s.in, fds, SIGHTING_BATCH, &nfds);
	bool ok = n >= (ssize_t)offsetof(struct sightings, s) && s.in.n <= SIGHTING_BATCH &&
		  (size_t)n == SIGHTINGS_SIZE(&s.in) && s.in.nfds == nfds;

	for (uint32_t i = 0; ok && i < s.in.n; i++) {
		const struct sighting *g = &s.in.s[i];
		int fd = -1;
		ok = sighting_ok(g) && (!g->has_fd || at < nfds);
		if (!ok)
			break;
		if (g->has_fd)
			fd = fds[at++];
		sift_one(g, fd);
		if (fd >= 0)
			(void)close(fd);
	}
	for (; at < nfds; at++)
		(void)close(fds[at]);
	send_cards();
	if (n > 0 && !ok)
		log_error("watch sent a record that breaks the rules");
	return ok ? 0 : -1;
}

static int digest(int fd, uint64_t size, unsigned char out[SHA256_SIZE])
{
	struct sha256 h;
	uint64_t at = 0;
	ssize_t n;

	sha256_init(&h);
	while (at < size && (n = pread(fd, s.chunk, sizeof s.chunk, (off_t)at)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		sha256_add(&h, (struct slice){ s.chunk, (size_t)n });
		at += (uint64_t)n;
	}
	sha256_end(&h, out);
	return at == size ? 0 : -1;
}

/* result: enum walk_result of quarantine/store.h, which this role does not share */
enum { ANSWER_AGAIN, ANSWER_OK, ANSWER_UNREADABLE };

/* A card needs an id; the asker knows the true one. */
static void blank_answer(const struct walk_ask *ask)
{
	card_init(&s.card, CARD_NEW);
	(void)card_put(&s.card, &s.card.id, SLICE("walk"), QUEUE_ID_MAX);
	s.card.spool = (uint16_t)ask->spool;
	walk_init(&s.walk);
	s.walk.size = ask->size;
}

static unsigned walk_file(const struct walk_ask *ask, int fd)
{
	struct format_of *f = &s.spools[ask->spool];
	struct source source = source_fd(fd, ask->size);
	struct err e;

	blank_answer(ask);
	if (digest(fd, ask->size, s.walk.sha256) != 0)
		return ANSWER_AGAIN;
	if (ask->digest_only)
		return ANSWER_OK;
	unsigned char sha[SHA256_SIZE];
	memcpy(sha, s.walk.sha256, sizeof sha);
	f->set.file_uid = ask->uid;
	unsigned result = ANSWER_OK;
	if (f->format->envelope(&f->set, &source, &s.card, &e) != 0 || f->format->walk(&f->set, &source, &s.walk, &e) != 0) {
		result = ANSWER_UNREADABLE;
		blank_answer(ask);
	}
	memcpy(s.walk.sha256, sha, sizeof sha);
	s.walk.size = ask->size;
	return result;
}

static int serve_walk(void)
{
	struct walk_ask ask;
	struct walk_answer a = { 0 };
	size_t nfds = 0;
	struct stat st;
	own_fd fd = -1;
	ssize_t n = wire_recv(ROLE_FD_WALK, &ask, sizeof ask, &fd, 1, &nfds);

	if (n != sizeof ask || nfds != 1 || ask.spool >= s.start->nspools || fstat(fd, &st) != 0)
		return -1;
	if (!poisoned(st.st_dev, st.st_ino)) {
		mark(st.st_dev, st.st_ino);
		a.result = walk_file(&ask, fd);
		mark(0, 0);
	} else {
		blank_answer(&ask);
		a.result = ANSWER_UNREADABLE;
	}
	a.card_size = (uint32_t)CARD_SIZE(&s.card);
	a.walk_size = (uint32_t)WALK_SIZE(&s.walk);
	memset(s.answer, 0, sizeof a + ALIGN8(a.card_size));
	memcpy(s.answer, &a, sizeof a);
	memcpy(s.answer + sizeof a, &s.card, a.card_size);
	memcpy(s.answer + sizeof a + ALIGN8(a.card_size), &s.walk, a.walk_size);
	return wire_send(ROLE_FD_WALK, s.answer, sizeof a + ALIGN8(a.card_size) + a.walk_size, NULL, 0);
}

int sift_main(const struct role_start *start)
{
	struct pollfd p[2] = { { .fd = ROLE_FD_WALK, .events = POLLIN }, { .fd = ROLE_FD_IN, .events = POLLIN } };
	struct err e;
	bool unknown_names = false;

	s.start = start;
	s.slot = mmap(NULL, sizeof *s.slot, PROT_READ | PROT_WRITE, MAP_SHARED, ROLE_FD_SLOT, 0);
	s.spools = calloc(start->nspools + 1, sizeof *s.spools);
	if (s.slot == MAP_FAILED || s.spools == NULL)
		return 1;
	for (unsigned i = 0; i < start->nspools; i++) {
		s.spools[i].format = spool_format_find(slice_str(start->spool[i].format));
		s.spools[i].set = brief_set(&start->spool[i]);
		if (s.spools[i].format == NULL)
			return 1;
		unknown_names = unknown_names || s.spools[i].format->dirs[0].name[0] == '\0';
	}
	if (unknown_names && kind_init(&e) != 0) {
		log_error("%s", e.text);
		return 1;
	}
	if (start->sandbox &&
	    (sandbox_enter(SANDBOX_SIFT, NULL, &e) != 0 || sandbox_self_test(SANDBOX_SIFT, &e) != 0)) {
		log_error("sandbox: %s", e.text);
		return 1;
	}
	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return 1;
		/* a walk first: ward waits for it, and there are few of them */
		if ((p[0].revents & (POLLIN | POLLHUP)) != 0 && serve_walk() != 0)
			return 0;
		if ((p[1].revents & (POLLIN | POLLHUP)) != 0 && sift_batch() != 0)
			return 0;
	}
}
