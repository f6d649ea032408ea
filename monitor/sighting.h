/* sighting.h - watch to sift: a name appeared, moved or went. kind is enum card_kind. */
#ifndef MONITOR_SIGHTING_H
#define MONITOR_SIGHTING_H

#include "spool/card.h"

#define SIGHTING_BATCH 32

struct sighting {
	uint64_t dev, ino, size;
	int64_t uid; /* the file's owner */
	uint32_t kind, flags;
	uint16_t spool, id_n;
	uint8_t dir, depth, has_fd, maybe; /* maybe: the content decides whether it is a message */
	char id[QUEUE_ID_MAX + 4];         /* or a text, for kinds without a message */
};

/* n of them are sent; descriptors in the order of those that have one. */
struct sightings {
	uint32_t n, nfds;
	struct sighting s[SIGHTING_BATCH];
};
#define SIGHTINGS_SIZE(b) (offsetof(struct sightings, s) + (b)->n * sizeof(struct sighting))

/* sift to ward and back, on the walk socket */
struct walk_ask {
	uint32_t spool, digest_only;
	uint64_t size;
	int64_t uid;
};
struct walk_answer {
	uint32_t result, card_size, walk_size; /* the card and the walk follow, each on 8 bytes */
	uint32_t pad;
};
#define ALIGN8(n) (((n) + 7u) & ~(size_t)7)
#define WALK_ANSWER_MAX (sizeof(struct walk_answer) + ALIGN8(sizeof(struct card)) + ALIGN8(sizeof(struct walk)))
#define CARDS_RECORD 60000 /* bytes of one record of cards, each on 8 bytes */

#endif
