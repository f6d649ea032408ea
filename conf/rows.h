/* rows.h - every key of the configuration, as one table.
 *
 * Drives parsing, defaults, ranges, the sample file and the manual. A new key is a new
 * row, and tests/docs --write. */
#ifndef CONF_ROWS_H
#define CONF_ROWS_H

#include "conf/conf.h"

enum section_kind { SECTION_GLOBAL, SECTION_SPOOL, SECTION_RULE, SECTION_OVERRIDE, SECTION_KINDS };

struct section_row {
	const char *kind;
	const char *title; /* as people write it: "[spool NAME]" */
	bool named;
	const char *help;
};
extern const struct section_row section_rows[SECTION_KINDS];

struct row;
struct value_type {
	const char *name; /* for the manual */
	/* object: the struct conf, conf_spool, conf_rule or conf_override that row.at is an offset in. */
	int (*read)(const struct row *, struct slice text, void *object, struct err *);
};

enum row_trait {
	ROW_REQUIRED = 1 << 0,
	ROW_HEADERS = 1 << 1, /* only where mail carries its facts in headers */
	ROW_HASHED = 1 << 2,  /* only where directories can be hashed */
	ROW_ASKED = 1 << 3,   /* only where the MTA can be asked */
	ROW_EMPTY = 1 << 4    /* may be given as nothing */
};

struct row {
	enum section_kind section;
	const char *key;
	const struct value_type *type;
	size_t at;
	uint64_t lo, hi;           /* of a number, of seconds, of a text's length */
	const char *const *names;  /* of an enum: hi + 1 words */
	unsigned traits;
	const char *fallback; /* NULL: none */
	const char *help;     /* one sentence a line */
};
extern const struct row conf_rows[]; /* key NULL at the end */

/* value.c */
extern const struct value_type type_count, type_size, type_limit, type_duration, type_level, type_path, type_below,
	type_word, type_account, type_text, type_enum, type_yes, type_origins, type_networks, type_matches, type_limits,
	type_time, type_format;
/* "30s", "10m", "1h30m"; "512M". For people and for mistakes. */
#define AMOUNT 40
const char *duration_text(char out[AMOUNT], uint64_t seconds);
const char *size_text(char out[AMOUNT], uint64_t bytes);
/* The next item of a list, trimmed; separated by commas, and by blanks if so. false: no more. */
bool list_next(struct slice *in, bool blanks, struct slice *item);

/* check.c: what one section as built looks like, for what only several keys together can tell. */
struct built {
	enum section_kind kind;
	void *object;
	const char *name;
	int line;
	struct { int line; const char *value; } *given; /* by row number */
};
struct mistakes;
void conf_check(struct conf *c, const struct built *b, size_t n, struct mistakes *m);

#endif
