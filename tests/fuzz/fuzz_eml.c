/* Any bytes as an RFC 5322 file, and as a file name. */
#include <stdio.h>
#include <stdlib.h>

#include "spool/format.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

#define MUST(yes) ((yes) ? (void)0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #yes), abort()))

static int put(void *arg, struct slice piece)
{
	*(size_t *)arg += piece.n;
	return 0;
}

static void names(const struct spool_set *set, struct slice text)
{
	struct queue_id id, fresh;
	char path[SPOOL_PATH_MAX];

	for (unsigned dir = 0; dir < spool_eml.ndirs; dir++) {
		if (spool_eml.identify(set, dir, text, &id) == SEEN_NOISE)
			continue;
		MUST(slice_eq(queue_id_slice(&id), text) && spool_id_ok(&spool_eml, set, dir, text));
		MUST(spool_path(&spool_eml, dir, 0, text, path));
		MUST(spool_eml.fresh(text, 1795304101, 999999, 99, (unsigned)text.n, &fresh));
		MUST(fresh.n <= QUEUE_ID_MAX && !slice_eq(queue_id_slice(&fresh), text));
	}
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
	static struct walk w;
	struct slice in = { (const char *)data, size };
	struct spool_set set = {
		.names = "*.eml *.msg", .login_header = "X-Auth-User", .client_header = "X-Client",
		.sender_header = size % 2 ? "X-Env-From" : "", .file_uid = size % 3 ? 1001 : -1,
	};
	struct source src = source_mem(in);
	struct card c;
	struct err e = { 0 };
	size_t bytes = 0;

	names(&set, in);
	card_init(&c, CARD_NEW);
	MUST(card_put(&c, &c.id, SLICE("a.eml"), QUEUE_ID_MAX));
	if (spool_eml.envelope(&set, &src, &c, &e) == 0) {
		MUST(card_check(&c, CARD_SIZE(&c)));
		MUST(c.recipients > 0);
	} else {
		MUST(e.kind == ERR_HOSTILE);
	}
	walk_init(&w);
	MUST(spool_eml.walk(&set, &src, &w, &e) == 0);
	MUST(walk_check(&w, WALK_SIZE(&w)) && w.open > 0 && (w.flags & WALK_WHOLE));
	MUST(spool_eml.content(&src, put, &bytes, &e) == 0 && bytes == size);
	return 0;
}
