/* ini.h - sections and keys of an ini text, each with its line; the one door to libiniparser.
 *
 * iniparser 4.1 drops, cuts and joins lines in silence and keeps no line numbers. So each
 * line is looked at first: what it would misread is a mistake, and the parser gets the
 * rest with "@LINE" behind every section and key. Then duplicates survive, too.
 * Not for two threads at once: iniparser's error callback is one for the process. */
#ifndef CONF_INI_H
#define CONF_INI_H

#include "conf/mistake.h"

#define INI_LINE_MAX 1000 /* iniparser's own limit is 1023, "@LINE" included */
#define INI_NAME_MAX 32
#define INI_KEYS_MAX 8192 /* iniparser needs quadratic time */

struct ini_entry {
	int line;
	char *key; /* lower case */
	char *value;
};

struct ini_section {
	int line;
	char *kind, *name; /* lower case; name is "" for [KIND]; kind is "?" if the line was a mistake */
	struct ini_entry *entries;
	size_t n;
};

struct ini {
	struct ini_section *sections;
	size_t n;
};

/* What could be read is in *out even if there were mistakes. -1: nothing could (said in m). */
int ini_parse(struct slice text, struct ini *out, struct mistakes *m);
void ini_free(struct ini *ini);

#endif
