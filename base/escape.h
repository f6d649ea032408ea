/* escape.h - text from mail, made harmless for a terminal, a log line or a message.
 *
 * What passes: printable ASCII, and well-formed UTF-8 of printable characters. What does
 * not: C0, DEL, C1, bytes that are not UTF-8, and the characters that reorder or hide text
 * (bidi marks, zero width, line and paragraph separators, tags, private use). Each such byte becomes \xNN. */
#ifndef BASE_ESCAPE_H
#define BASE_ESCAPE_H

#include "base/slice.h"

enum escape_how {
	ESCAPE_PLAIN,  /* for a terminal: a backslash of the text becomes \\ */
	ESCAPE_QUOTED, /* for key="value": also \" */
};

/* Writes at most cap - 1 bytes and a NUL; what does not fit ends in "..". Returns the length. */
size_t escape_text(char *dst, size_t cap, struct slice in, enum escape_how how);

/* The length in bytes of the printable character at s.p, 0 if it must be escaped. */
size_t escape_passes(struct slice s);

/* The same text as well-formed UTF-8: bytes that are not, and NUL, become U+FFFD. Controls stay. */
size_t text_utf8(char *dst, size_t cap, struct slice in);

/* Display columns of escaped text (wcwidth; the result of escape_text() only). */
size_t escape_columns(const char *text);

#endif
