/* slice.h - bounded views of bytes that somebody else owns.
 *
 * A NUL is a byte like any other. Nothing here allocates, nothing here fails: a
 * question that has no answer is answered with false and leaves its outputs alone. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const char *p;
	size_t n;
};

#define SLICE(lit) ((struct slice){ "" lit, sizeof(lit) - 1 })

static inline struct slice slice_str(const char *s)
{
	return (struct slice){ s, s ? strlen(s) : 0 };
}

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static inline bool slice_eq(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* As slice_eq(), but ASCII letters compare without case. */
bool slice_ieq(struct slice a, struct slice b);

/* The part before sep goes to *tok, the part behind it stays in *in. No sep: false. */
bool slice_cut(struct slice *in, char sep, struct slice *tok);

/* One line without its LF or CRLF; the last line may lack both. Empty input: false. */
bool slice_line(struct slice *in, struct slice *line);

bool slice_starts(struct slice s, struct slice head);
bool slice_istarts(struct slice s, struct slice head);
bool slice_ends(struct slice s, struct slice tail);
/* If s starts (ends) with it, cut it off and say so. */
bool slice_drop_head(struct slice *s, struct slice head);
bool slice_drop_tail(struct slice *s, struct slice tail);

/* Without blanks (space, tab, CR, LF) on both sides. */
struct slice slice_trim(struct slice s);

/* The whole slice as an unsigned decimal not above max; no sign, no blank. */
bool slice_u64(struct slice s, uint64_t max, uint64_t *out);

/* Copy as a C string, cut to cap - 1 bytes; a NUL inside becomes '?'. Returns the length. */
size_t slice_text(char *dst, size_t cap, struct slice s);

#endif
