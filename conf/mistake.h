/* mistake.h - what is wrong with a configuration file, collected and told in line order.
 *
 * Owns its texts. A file of rubbish has many mistakes: the first MISTAKES_MAX are kept, the rest counted. */
#ifndef CONF_MISTAKE_H
#define CONF_MISTAKE_H

#include "base/slice.h"

#define MISTAKES_MAX 100

struct mistakes {
	const char *file;
	struct { int line; char *text; } at[MISTAKES_MAX];
	size_t n, more;
};

/* line 0: the file as a whole. */
void mistake(struct mistakes *m, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* One "file:line: what" a line, to be freed by the caller; NULL if there is none. Empties m. */
char *mistakes_text(struct mistakes *m);

/* A piece of the file as it may be shown: escaped, and short. */
#define SHOWN 96
const char *shown(char out[SHOWN], struct slice text);

/* The name that was probably meant, by Damerau distance of at most 2; NULL if none is near.
 * name(list, i) is NULL behind the last. */
const char *nearest(struct slice word, const char *(*name)(const void *list, size_t i), const void *list);
const char *nearest_of(struct slice word, const char *const *names, size_t n);
/* ", did you mean \"X\"?", or "" for NULL. */
#define HINT 64
const char *hint(char out[HINT], const char *meant);

#endif
