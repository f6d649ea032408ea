/* err.h - why something failed: a kind that steers code, a story for people.
 *
 * Everything below main and the role loops fills a struct err and returns -1; only
 * the loops log, once. The setters return -1, so that a failure is one line. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err_kind {
	ERR_NONE,
	ERR_GONE,    /* the MTA was faster: normal, counted, go on */
	ERR_AGAIN,   /* full disk, no descriptors: later, with an alert */
	ERR_HOSTILE, /* bytes or names that break the format */
	ERR_CONFIG,  /* the administrator must act */
	ERR_DENIED,  /* not permitted */
	ERR_EXISTS,  /* the name is taken */
	ERR_CROSS,   /* the rename would leave the mount */
	ERR_BUG,     /* ours, or a system that does what it must not */
};

struct err {
	enum err_kind kind;
	int sys; /* errno, or 0 */
	char text[400];
};

int err_set(struct err *e, enum err_kind kind, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Kind and last words from errno. */
int err_sys(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Puts "outer: " before what is there. */
int err_add(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

enum err_kind err_kind_of(int sys);

#endif
