/* card.h - the few checked facts about one message, and what a full walk adds.
 *
 * Both are fixed records that cross process borders: no pointers; texts are spans into
 * the record's own text area. card_check() and walk_check() are what a receiver believes:
 * spans inside the area, numbers in range. The text itself stays hostile until escaped. */
#ifndef SPOOL_CARD_H
#define SPOOL_CARD_H

#include "base/digest.h"
#include "base/slice.h"

#define QUEUE_ID_MAX 200 /* bytes; file names of drop folders are the longest ids */
#define ADDRESS_MAX 320  /* RFC 5321 4.5.3.1: 64 + 1 + 255 */
#define LOGIN_MAX 256
#define SCRIPT_MAX 256
#define HEADER_MAX 998 /* RFC 5322 2.1.1: a line */
#define RECIPIENTS_MAX 100000000u
#define CARD_TIME_MAX INT64_C(0xffffffffff) /* no clock and no file says more */
#define STAMP_WIDTH_MAX 20
#define CARD_TEXT 1400
#define WALK_TEXT 49152
#define WALK_STAMPS 4

struct queue_id {
	uint16_t n;
	char text[QUEUE_ID_MAX + 2];
};

struct span {
	uint16_t at, n;
};

enum card_kind {
	CARD_NEW = 1,    /* a message and its facts */
	CARD_MOVED,      /* a message shown before is now in dir */
	CARD_GONE,       /* it left the directories we watch */
	CARD_HOSTILE,    /* its bytes or its file break the format; id, dir, ino are set */
	CARD_UNSEEN,     /* it came and went before it could be opened */
	CARD_SCAN_BEGIN, /* a full scan of one spool starts ... */
	CARD_SCAN_END,   /* ... and ended: what it did not name is no longer there */
	CARD_SPOOL_UP,   /* the spool's directories are there and watched */
	CARD_SPOOL_DOWN, /* ... or are not; text says why */
	CARD_BLIND,      /* part of the spool cannot be watched; text says why. Scans go on */
	CARD_OVERFLOW,   /* events were lost; a scan follows */
	CARD_KINDS
};

enum card_flag {
	CARD_NULL_SENDER = 1 << 0, /* envelope sender <> */
	CARD_AUTH = 1 << 1,        /* login is set: the MTA authenticated it */
	CARD_LOCAL = 1 << 2,       /* submitted on this machine; uid is set */
	CARD_INTERNAL = 1 << 3,    /* the MTA's own mail (bounce, probe): nobody answers for it */
	CARD_NOT_BUSY = 1 << 4,    /* taking it from a DIR_BUSY directory would hurt the MTA */
	CARD_SCANNED = 1 << 5,     /* found by a scan, not by an event */
	CARD_RENAMED = 1 << 6,     /* shown before under another id: its file was renamed inside the spool */
	CARD_FLAGS = (1 << 7) - 1
};

struct card {
	uint32_t kind, flags;
	uint16_t spool; /* index into conf.spools */
	uint8_t dir;    /* index into spool_format.dirs */
	uint8_t depth;  /* hash levels between dir and the file */
	uint32_t recipients;
	uint64_t dev, ino, size;
	int64_t arrived_s; /* by the MTA's own record; 0 when unknown */
	int64_t busy_s;    /* from this time on it is as with CARD_NOT_BUSY; 0: never */
	int64_t uid;       /* submitting uid, -1 when there is none */
	/* first: the queue id of the first pass (content filter, forward); empty when it is this one.
	 * script: "uid:what", as "1001:/site/form.php". client: an address that net_parse() takes. */
	struct span id, login, script, sender, client, first;
	uint16_t used;
	char text[CARD_TEXT];
};

/* Where the file says how old it is, as decimal text that release renews in place:
 * new value = now + delta, right aligned in width bytes, filled with pad. If the digits do not
 * fit, or pad is 0 and they are fewer, the stamp is left as it is. */
struct stamp {
	uint64_t at;
	int64_t delta;
	uint8_t width;
	char pad;
};

enum walk_flag { WALK_WHOLE = 1, WALK_RCPT_CUT = 2 /* rcpts lists only the first ones */ };

struct walk {
	uint32_t flags; /* WALK_WHOLE: the file ends where the format says it ends */
	uint32_t open, done; /* recipients still to deliver; delivered, bounced or cancelled */
	uint64_t size;
	uint32_t nstamps;
	struct stamp stamps[WALK_STAMPS];
	unsigned char sha256[SHA256_SIZE]; /* of the file as it is; filled by the caller of walk() */
	struct span subject, from, message_id; /* header bodies, unfolded, raw; 998 bytes at most each */
	struct span rcpts;                     /* open recipients, a NUL behind each */
	uint32_t used;
	char text[WALK_TEXT];
};

static inline struct slice span_get(const char *text, struct span s)
{
	return (struct slice){ text + s.at, s.n };
}
#define CARD_GET(c, field) span_get((c)->text, (c)->field)
#define WALK_GET(w, field) span_get((w)->text, (w)->field)

static inline struct slice queue_id_slice(const struct queue_id *id)
{
	return (struct slice){ id->text, id->n };
}

void card_init(struct card *c, enum card_kind kind);
/* Copies into the text area, cut to max and to the room that is left; false if it was cut. */
bool card_put(struct card *c, struct span *to, struct slice text, size_t max);
bool walk_put(struct walk *w, struct span *to, struct slice text, size_t max);
void walk_init(struct walk *w);
/* Adds one open recipient to rcpts (counted in open by the caller); cut lists are flagged. */
void walk_recipient(struct walk *w, struct slice address);

/* n: the bytes received; a card may be sent without the unused end of its text. */
bool card_check(const struct card *c, size_t n);
bool walk_check(const struct walk *w, size_t n);
#define CARD_SIZE(c) (offsetof(struct card, text) + (c)->used)
#define WALK_SIZE(w) (offsetof(struct walk, text) + (w)->used)

#endif
