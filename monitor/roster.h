/* roster.h - who there is and what they have queued: the two tables of ward.
 *
 * Origins are found by name, messages by spool and queue id. Both tables are hashed with a
 * secret key; a message names its origins by number. An origin is evicted only when nothing
 * in the table needs it: no queued message, no hold, no incident; the idlest of a few goes first.
 * Not thread safe: the loop of ward owns it. */
#ifndef MONITOR_ROSTER_H
#define MONITOR_ROSTER_H

#include "monitor/trail.h"
#include "quarantine/origin.h"

#define ORIGIN_NONE UINT32_MAX

struct origin {
	uint64_t hash;
	char *name; /* "kind:value", owned */
	struct trail trail;
	int64_t last_ms;       /* last message */
	uint32_t refs, queued; /* messages in the table that name it; of them still in the spool */
	uint32_t incident;     /* index into ward's incidents + 1, 0: none */
	uint8_t kind, state;   /* enum origin_kind, enum origin_hold */
	uint8_t override_exact; /* the override names it in full */
	uint16_t override;      /* number + 1 in the configuration, 0: none */
	uint16_t override_age;  /* of the configuration it was looked up in */
	int64_t until_s;       /* of state; 0: no end */
};

enum message_state {
	MESSAGE_FREE,     /* in the spool */
	MESSAGE_WAITING,  /* to be taken as soon as that is safe */
	MESSAGE_RELEASED, /* came back from us: neither counted nor taken */
	MESSAGE_TAKEN,    /* in our stage or further: the MTA has it no longer */
	MESSAGE_PARDONED, /* released, or of a released message; not in the spool (yet, or any more) */
	MESSAGE_GONE,     /* left the spool; remembered for a while, so that it is not counted twice */
};

struct message {
	struct message *next; /* in its bucket */
	uint64_t ino;
	uint32_t origin[ORIGINS_MAX]; /* first: the accountable one, if any */
	uint32_t recipients, scan;    /* scan: the last full scan that saw it */
	uint32_t busy_s;              /* from then on it is not taken while the MTA is busy with it; 0: never */
	uint32_t gone_s;              /* clock_boot seconds when it went */
	uint16_t spool;
	uint8_t dir, depth, state, flags; /* flags: low bits of enum card_flag */
	bool accountable, excused; /* excused: by an override of its account */
	bool was_taken, missed;
	uint8_t id_n;
	char id[];
};

struct roster {
	struct origin *origins; /* by number; name NULL: free */
	uint32_t *index;        /* hash table of numbers */
	uint32_t norigins, origins_cap, index_cap, max_origins, free_hint, clock_hand;
	uint64_t evicted;
	struct message **bucket;
	uint32_t nbuckets;
	uint64_t nmessages, ngone, queued[CONF_SPOOLS_MAX]; /* in the spools; remembered; in each spool */
};

bool roster_init(struct roster *, uint64_t max_origins);
void roster_free(struct roster *);

/* Finds or makes it; ORIGIN_NONE when there is no memory or every origin is needed. */
uint32_t roster_origin(struct roster *, const char *name, enum origin_kind kind, int64_t now_ms);
uint32_t roster_origin_find(const struct roster *, const char *name);
/* Nothing was sent inside the longest window: it may be evicted. */
void roster_trim(struct roster *, uint32_t number, int64_t before_ms);

struct message *roster_find(const struct roster *, uint16_t spool, struct slice id);
/* NULL: no memory. The caller fills origin[] by roster_name(). */
struct message *roster_add(struct roster *, uint16_t spool, struct slice id, uint64_t ino);
void roster_name(struct roster *, struct message *, unsigned at, uint32_t origin);
/* FREE or WAITING to another state and back keeps the counts of queued messages. */
void roster_state(struct roster *, struct message *, enum message_state, int64_t now_ms);
void roster_remove(struct roster *, struct message *);
/* Calls each() for the messages of nbuckets buckets from *at on, which moves; false at the end. each() may remove the message. */
bool roster_walk(struct roster *, uint32_t *at, uint32_t nbuckets, void (*each)(void *arg, struct message *), void *arg);

#endif
