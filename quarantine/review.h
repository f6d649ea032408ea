/* review.h - looks into one hostile message, for a person: headers, parts, real types, text.
 *
 * GMime and libmagic run in a forked child that has given up everything but the open file and
 * a pipe; what comes back is bounded JSON (or bytes), as hostile as the mail. No other file
 * includes gmime. Fails: with ERR_HOSTILE where the message broke the child or a limit. */
#ifndef QUARANTINE_REVIEW_H
#define QUARANTINE_REVIEW_H

#include <jansson.h>

#include "base/err.h"
#include "spool/format.h"

#define REVIEW_BYTES (64u << 20)  /* of a message; the rest is cut, and said so */
#define REVIEW_HEADERS 200
#define REVIEW_VALUE 4096         /* bytes of one header value */
#define REVIEW_RAW 998
#define REVIEW_PARTS 200
#define REVIEW_LEVELS 32
#define REVIEW_NAME 512
#define REVIEW_HEAD (64u << 10)   /* of a part: what libmagic sees, what is shown of a text */
#define REVIEW_TEXTS 16

/* The message in fd (a queue file of that format) as
 *   {"headers":[{"name","value","raw"}],
 *    "parts":[{"path":"1.2","level":1,"type","name","disposition","size","real","contradicts":bool}],
 *    "texts":[{"path","type","charset","text","cut":bool}], "notes":["..."]}
 * raw only where decoding changed the value; containers have neither size nor real type. */
json_t *review_mail(int fd, const struct spool_format *, struct err *e);

/* Its RFC 5322 bytes, piece by piece; put() returning non-zero stops with -1. */
int review_raw(int fd, const struct spool_format *, int (*put)(void *arg, struct slice), void *arg, struct err *e);

/* The parser itself, in this process, without any fence: for tests and the fuzzer. */
json_t *review_bytes(struct slice message);

/* Does the real type, as libmagic sees it, deny the declared one or the file name? */
bool review_contradicts(const char *declared, const char *name, const char *real);

#endif
