/* ward.h - the role that decides: who is over a limit, and what is taken.
 *
 * One loop owns the roster, the rates and the open incidents. It believes no card blindly, writes nothing to the ledger
 * (the keeper does) and reads no byte of mail. Renaming into the stage happens here, at once. */
#ifndef MONITOR_WARD_H
#define MONITOR_WARD_H

#include "monitor/hook.h"
#include "monitor/keeper.h"
#include "monitor/roles.h"
#include "monitor/roster.h"

#define CLIENTS_COUNTED 64

/* An open incident. */
struct open_incident {
	struct incident rec; /* id 0: a free slot */
	uint32_t origin;
	int64_t opened_ms, alerted_ms;
	uint64_t taken, gone;
	bool announced, changed, grown; /* changed: to be written; grown: since the last alert */
	uint32_t clients[CLIENTS_COUNTED], nclients;
};

struct note; /* what other threads tell the loop */

struct ward_spool {
	bool told; /* watch has said whether it is there */
	bool up;
	char why[QUEUE_ID_MAX]; /* of being down or blind */
	bool blind;
	uint32_t scan;
	int64_t scan_ms; /* when the scan under way began */
	bool scanned;   /* a first scan has ended */
	bool recovered; /* what a crash left in its stage was looked at */
};

struct ward {
	const struct conf *conf;
	uint16_t conf_age; /* grows with each reload */
	struct store *store;
	struct roles roles;
	struct hook hook;
	struct taker *taker;
	struct keeper *keeper;
	struct roster roster;
	struct ward_spool *spools;
	struct open_incident *incidents;
	size_t nincidents;
	int64_t next_incident, longest_ms, saved_s; /* saved_s: mail that arrived before is in the loaded windows */
	struct { bool due, again, left; uint32_t at, dir; } sweep; /* again: from the start; left: some are to be tried later */
	struct { uint64_t ino; uint32_t origin[ORIGINS_MAX]; bool set, accountable; } last_gone;
	uint64_t coming, coming_bytes; /* claimed, not yet in their cells */
	uint64_t events, unseen, rescans, hostile, overflows;
	int64_t blind_since_s, full_said_ms, reading_since_ms;
	uint64_t reading_ino; /* what sift had open at the last tick */
	bool full;
	char full_why[160];
	uint32_t linger_at;
	struct note *notes, **notes_last;
	pthread_mutex_t notes_lock;
	int notes_fd; /* eventfd */
	json_t *status;
	bool changed; /* trails since the last save */
	uint32_t failures;
};

/* ward.c */
int ward_init(struct ward *, struct store *, struct err *e);
/* What the ledger remembers: held origins, open incidents, windows, released ids. */
int ward_load(struct ward *, struct err *e);
void ward_free(struct ward *);
void ward_conf(struct ward *, const struct conf *); /* a reload */
bool ward_cards(struct ward *); /* one record of cards; false: the sender breaks the rules or is gone */
bool ward_sweep(struct ward *); /* a part of the sweep; false: nothing is left to do */
void ward_notes(struct ward *);
void ward_tick(struct ward *, int64_t now_ms);
void ward_save(struct ward *);
void ward_sensors_down(struct ward *);
void sweep_due(struct ward *); /* an origin is held now: look at everything that is queued */

/* sweep.c */
bool message_held(const struct ward *, const struct message *, uint32_t *origin);
void message_take(struct ward *, struct message *, uint32_t origin);

/* verdict.c */
void verdict(struct ward *, struct message *, const uint32_t *origins, size_t n, const struct tally *, int64_t now_ms);
struct open_incident *incident_of(struct ward *, uint32_t origin);
void incident_tick(struct ward *, int64_t now_ms);
void incident_close(struct ward *, struct open_incident *, const char *why);
void incident_alert(struct ward *, struct open_incident *, const char *state);
void origin_hold(struct ward *, uint32_t origin, enum origin_hold state, int64_t until_s, const struct incident *,
		 const char *by, const char *reason);

/* status.c */
json_t *ward_status(struct ward *);

#endif
