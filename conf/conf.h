/* conf.h - the configuration, typed and checked.
 *
 * One table of rows (conf_rows) drives parsing, defaults, ranges, the sample file and the
 * manual. iniparser parses; its one door is ini.c. Owns all strings it points to.
 * Fails: never half. Every mistake of a file is collected, one "file:line: what" a line;
 * nothing is silently ignored. */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdio.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/net.h"
#include "spool/format.h"

#define CONF_PATH "/etc/spoolward/spoolward.conf"
#define CONF_SPOOLS_MAX 64
#define CONF_RULES_MAX 64
#define CONF_OVERRIDES_MAX 1024
#define CONF_NETS_MAX 256
#define CONF_LIMITS_MAX 16
#define CONF_FILE_MAX (1u << 20)

enum conf_mode { MODE_OBSERVE, MODE_ENFORCE };
enum conf_action { ACTION_ALERT, ACTION_QUARANTINE };
/* Order = bit numbers in masks. login first: it answers before the others. */
enum origin_kind { ORIGIN_LOGIN, ORIGIN_SCRIPT, ORIGIN_UID, ORIGIN_CLIENT, ORIGIN_SENDER, ORIGIN_DOMAIN, ORIGIN_KINDS };
enum count_kind { COUNT_RECIPIENTS, COUNT_MESSAGES, COUNT_BYTES, COUNT_KINDS };

extern const char *const origin_kind_names[ORIGIN_KINDS]; /* "login", ... */
extern const char *const count_kind_names[COUNT_KINDS];
extern const char *const mode_names[2];   /* "observe", "enforce" */
extern const char *const action_names[2]; /* "alert", "quarantine" */

struct conf_spool {
	char *name; /* [spool NAME], lower case */
	const struct spool_format *format;
	char *path;       /* root; NULL: ask the MTA (format->ask) */
	char *config_dir; /* for that question */
	char *owner;      /* user name or number of the queue files' owner; NULL: the owner of the first directory */
	char *stage;      /* NULL: format->stage */
	char *hashed;     /* NULL: asked, or none */
	int64_t hash_depth; /* -1: asked, or 0 */
	char *names, *login_header, *client_header, *sender_header; /* never NULL */
	int line;
};

struct conf_rule {
	char *name;
	unsigned origins; /* bits by enum origin_kind */
	enum count_kind count;
	uint64_t limit;
	int64_t per_s;
	enum conf_action action;
	int line;
};

struct conf_override {
	char *name;
	char **match; /* kind:pattern (fnmatch), a client pattern may be a network; NULL at the end */
	bool exempt;
	int64_t until_s; /* end of that day or that time, local zone; 0: no end */
	struct { char *rule; uint64_t limit; } limits[CONF_LIMITS_MAX];
	size_t nlimits;
	int line;
};

struct conf {
	char *file; /* where it was read from */
	enum conf_mode mode;
	char *state_dir;      /* ledger */
	char *quarantine_dir; /* cells */
	char *socket;         /* control */
	char *group, *operators; /* group names, "" for none */
	int64_t alert_every_s, reconcile_s, expire_s, expire_warn_s, forget_after_s;
	uint64_t max_bytes, max_messages, min_free, max_origins;
	struct net trusted[CONF_NETS_MAX];
	size_t ntrusted;
	char *on_incident; /* absolute path, "" for none */
	char *hook_user;
	int64_t hook_timeout_s;
	struct conf_spool *spools;
	size_t nspools;
	struct conf_rule *rules;
	size_t nrules;
	struct conf_override *overrides;
	size_t noverrides;
};

/* Reads the file once, through a memory file and /proc/self/fd; not for two threads at once. On failure -1, *out is NULL, and *mistakes (free it) holds one line per mistake. */
int conf_load(const char *path, struct conf **out, char **mistakes);
/* The same from memory; name is what mistakes and conf.file say. */
int conf_parse(const char *name, struct slice text, struct conf **out, char **mistakes);
/* The bytes of a configuration file, refused if it is no regular file or too large. */
int conf_read(const char *path, char **text, size_t *n, struct err *e);
void conf_free(struct conf *c); /* NULL is welcome */

/* Every row with its default and help as a commented sample file (conf/spoolward.conf is this) ... */
int conf_sample(FILE *to);
/* ... and as the man page's lists (mdoc), printed where conf/spoolward.conf.5 says so. */
int conf_manual(FILE *to);

/* Parsers that the CLI shares. Whole text or false. */
bool conf_duration(struct slice text, int64_t *seconds); /* 90, 30s, 10m, 2h, 7d, 1h30m */
bool conf_size(struct slice text, uint64_t *bytes);      /* 10, 10K, 5M, 2G (powers of 1024) */
bool conf_time(struct slice text, bool end_of_day, int64_t *real_s); /* 2026-12-31, 2026-12-31T10:00[:00][Z|+hh:mm], @seconds */
bool origin_kind_find(struct slice name, enum origin_kind *out);

#endif
