/* command.h - the commands that read or change the store, as one table.
 *
 * The daemon runs them for a client of the control socket; the CLI runs the same table
 * in its own process when no daemon holds the store. Either way a command gets its
 * arguments as one JSON object and emits rows; the CLI alone renders rows.
 *
 * Wire form (SOCK_SEQPACKET, one JSON object a record, UTF-8, COMMAND_RECORD bytes at most):
 *
 *   request   {"command":"list","args":{...},"tty":"/dev/pts/1"}
 *   answers   {"row":{...}}                         0..n; "show" of a message sends one
 *                                                   descriptor (read only) with its row
 *             {"progress":{"done":120,"total":2000,"what":"released"}}   now and then
 *             {"failed":{"id":"m12","why":"..."}}   one per message that failed
 *             {"end":{"code":0,"done":50,"failed":0,"bytes":120000,"message":"..."}}   last; code is the exit code of DESIGN 6
 *
 * args. SELECT is: incident (int), origin, sender, recipient, subject, spool (string),
 * larger (int, bytes), before, since (int, unix seconds), all (bool), ids (["m12", ...]).
 *   status    {}                        one row, kind "status"
 *   incidents {all: bool}               rows of kind "incident"
 *   list      SELECT                    rows of kind "message"; no selection means all held
 *   show      {id: "7" | "m12"}         one "incident" row with detail keys, or one "message"
 *                                       row with the descriptor of its file
 *   count     SELECT + for: "release"|"purge"   one row {messages, bytes, origins: n, last: highest id}: what a confirmation asks about
 *   release   SELECT + trust (seconds, 0: no), drip (per minute, 0: at once)
 *   purge     SELECT + last (int: no message with a higher id; 0: any)
 *   hold      {origin, for: seconds or 0 (no end)}
 *   lift      {origin}
 *   trust     {origin, for: seconds}
 *   origins   {}                        rows of kind "origin": origin state since until by incident reason
 *   log       SELECT                    rows of kind "audit": time who tty action what count detail
 *   fsck      {repair: bool}            rows of kind "finding": what id path safe repaired
 *
 * Row keys, stable. Times are unix seconds in "row"; the CLI prints ISO 8601.
 *   incident: id origin rule mode state since updated recipients messages taken gone held released purged reason
 *             would_take limit per clients next; show adds bytes sizes[] subjects[] senders[] clients_top[] timeline[] (each {..., count})
 *   message:  id spool queue_id state incident origin sender recipients[] recipient_count size subject arrived taken sha256
 *             (show adds: format, files[] {name,size}, directory, mode, uid, done_count, from, message_id, client, login)
 *   status:   running mode version spools[] {name format path state queued detail} queued held incidents_open blind_since
 *             events unseen rescans hostile fences roles[] {name pid restarts} problems[]
 */
#ifndef QUARANTINE_COMMAND_H
#define QUARANTINE_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

#define COMMAND_RECORD 65536

enum command_code {
	CODE_DONE = 0,
	CODE_PARTLY = 1,
	CODE_NOTHING = 2,
	CODE_NOT_RUNNING = 3,
	CODE_USAGE = 64,
	CODE_DENIED = 77,
	CODE_CONFIG = 78
};

struct store; /* store.h: ledger, cells, spools */

/* Where answers go. Each returns 0, or -1 when the receiver went away: then the command
 * finishes what it has begun on disk and stops. Steals the json reference; fd is borrowed. */
struct emit {
	int (*put)(struct emit *, json_t *answer, int fd);
	void *arg;
};

struct caller {
	uid_t uid;
	pid_t pid;
	char who[64]; /* user name or number */
	char tty[64];
};

enum command_role { ROLE_VIEWER, ROLE_OPERATOR };

struct command {
	const char *name;
	enum command_role role;
	bool changes; /* refused without the store's lock */
	int (*run)(struct store *, const struct caller *, json_t *args, struct emit *); /* returns the code and emits "end" */
	const char *what;
};
extern const struct command commands[]; /* name NULL at the end */
const struct command *command_find(const char *name);

/* Runs it, "end" included. Returns the code. */
int command_run(const struct command *, struct store *, const struct caller *, json_t *args, struct emit *);

#endif
