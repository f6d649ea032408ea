/* Any bytes as a Postfix queue file: facts must pass the receiver's checks, and time is bounded. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "spool/format.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

#define MUST(yes) ((yes) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #yes), abort()))

struct told {
	size_t bytes, most;
};

static int put(void *arg, struct slice piece)
{
	struct told *told = arg;

	MUST(piece.n > 0);
	told->bytes += piece.n;
	/* each byte once, and a line end behind each two bytes of record at most */
	MUST(told->bytes <= 2 * told->most + 1);
	return 0;
}

static double seconds(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void names(struct slice text)
{
	static const struct spool_set set = { .hashed = "deferred", .hash_depth = 3 };
	struct queue_id id, fresh;
	char path[SPOOL_PATH_MAX];

	if (spool_postfix.identify(&set, 0, text, &id) != SEEN_MESSAGE)
		return;
	MUST(slice_eq(queue_id_slice(&id), text) && spool_id_ok(&spool_postfix, &set, 0, text));
	MUST(spool_path(&spool_postfix, 2, 3, text, path) && strlen(path) == sizeof "deferred/a/b/c/" - 1 + text.n);
	MUST(spool_postfix.fresh(text, 1795304101, 999999, 99, (unsigned)text.n, &fresh));
	MUST(spool_id_ok(&spool_postfix, &set, 0, queue_id_slice(&fresh)) && !slice_eq(queue_id_slice(&fresh), text));
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static struct walk w;
	struct slice in = { (const char *)data, size };
	struct spool_set set = { .file_uid = -1 };
	struct source src = source_mem(in);
	struct told told = { .most = size };
	struct card c;
	struct err e = { 0 };
	double start = seconds();

	names(in);
	card_init(&c, CARD_NEW);
	MUST(card_put(&c, &c.id, SLICE("4ACE7AC8502"), QUEUE_ID_MAX));
	if (spool_postfix.envelope(&set, &src, &c, &e) == 0)
		MUST(card_check(&c, CARD_SIZE(&c)));
	else
		MUST(e.kind == ERR_HOSTILE);
	walk_init(&w);
	if (spool_postfix.walk(&set, &src, &w, &e) == 0)
		MUST(walk_check(&w, WALK_SIZE(&w)));
	else
		MUST(e.kind == ERR_HOSTILE);
	MUST(spool_postfix.content(&src, put, &told, &e) == 0 || e.kind == ERR_HOSTILE);
	MUST(seconds() - start < 2.0 + (double)size / 1e6);
	return 0;
}
