/* format.h - what one MTA's queue looks like, as one const table: names, bytes, and how a
 * message is taken out and put back exactly once. To add an MTA: one file, one row in format.c.
 *
 * Functions are pure: names and bytes in, facts out. They run in any role, are fuzzed,
 * and never touch a file themselves. All bytes are hostile. */
#ifndef SPOOL_FORMAT_H
#define SPOOL_FORMAT_H

#include <sys/types.h>

#include "base/err.h"
#include "spool/card.h"

#define SPOOL_DIRS_MAX 16
#define SPOOL_PARTS_MAX 8
#define SPOOL_DEPTH_MAX 3
#define SPOOL_PATH_MAX 320 /* a path below the root: dir, hash levels, file name */

/* Bytes of a message, wherever they are: a file that is only read, or memory in a test. */
struct source {
	/* Up to n bytes at at; fewer at the end, 0 past it, -1 with errno. */
	ssize_t (*read)(struct source *, void *p, size_t n, uint64_t at);
	uint64_t size;
	int fd;          /* source_fd() */
	struct slice mem; /* source_mem() */
};
struct source source_fd(int fd, uint64_t size);
struct source source_mem(struct slice bytes);
/* Loops until n bytes or the end; the number read or -1. */
ssize_t source_fill(struct source *s, void *p, size_t n, uint64_t at);

/* What the configuration (or the MTA, asked once) says about one spool. */
struct spool_set {
	const char *login_header, *client_header, *sender_header; /* eml: names or "" */
	const char *names;     /* eml: patterns of file names, separated by blanks */
	const char *hashed;    /* names of hashed directories, separated by blanks or commas */
	unsigned hash_depth;   /* their levels */
	int64_t file_uid;      /* the owner of the file that is being read; -1 unknown */
};

enum dir_trait {
	DIR_TAKE = 1 << 0,  /* messages may be taken from here */
	DIR_BUSY = 1 << 1,  /* the MTA has these in memory: CARD_NOT_BUSY messages wait */
	DIR_HASHED = 1 << 2 /* may have hash directories, SPOOL_DEPTH_MAX levels at most */
};

struct spool_dir {
	const char *name;   /* below the root; "" is the root itself. May not exist (yet) unless it is dirs[0] */
	unsigned traits;
	uint32_t complete;  /* inotify events after which the file may be complete ... */
	uint32_t mode_mask, mode_want; /* ... and is if (st_mode & mask) == want and st_size > 0 */
};

enum seen {
	SEEN_NOISE,   /* not ours, not a message */
	SEEN_MESSAGE, /* the file that makes a message live */
	SEEN_MAYBE,   /* the name does not say; the content decides (kind of file) */
};

enum part_trait {
	PART_LIVE = 1 << 0,     /* its name makes the message live: first out, last in. Exactly one */
	PART_OPTIONAL = 1 << 1, /* may be absent */
	PART_LOG = 1 << 2,      /* the MTA's log about the message: comes along, is not put back */
	PART_NOTICE = 1 << 4,   /* what the MTA still has to tell the sender: stays, and follows a release under the new id */
	PART_LINK = 1 << 3,     /* must be linked into the stage before the live part leaves */
};

struct spool_part {
	const char *dir;     /* NULL: beside the live part; else a directory below the root, hashed if spool_set.hashed names it */
	const char *head, *tail; /* file name = head + id + tail */
	unsigned traits;
};

struct spool_format {
	const char *name;            /* as in the configuration */
	const char *what;            /* one line for people */
	const struct spool_dir *dirs; /* sweep order: where new mail is first comes first */
	size_t ndirs;
	const struct spool_part *parts;
	size_t nparts;
	const char *stage;           /* private directory below the root, on the same mount, outside every scan */
	size_t head_bytes;           /* envelope() is given at least these from the start of the file, if it has them */

	/* Is this name in dirs[dir] the live part of a message? Then its id. */
	enum seen (*identify)(const struct spool_set *, unsigned dir, struct slice file, struct queue_id *out);
	/* The hash directory of an id at a level (0 first); false if the id has none. NULL: never hashed. */
	bool (*hash)(struct slice id, unsigned level, char out[2]);
	/* Facts from the file: fills everything but kind, spool, dir, depth, dev, ino, size, id.
	 * It does not know the id: first may name the message itself, then the caller empties it. */
	int (*envelope)(const struct spool_set *, struct source *, struct card *, struct err *);
	/* The whole file; not sha256. A file that is cut off is no error: WALK_WHOLE is missing, and then
	 * open == 0 says nothing. ERR_HOSTILE: the bytes break the format. */
	int (*walk)(const struct spool_set *, struct source *, struct walk *, struct err *);
	/* The message as RFC 5322 bytes, piece by piece; put() returning non-zero stops with -1. */
	int (*content)(struct source *, int (*put)(void *arg, struct slice), void *arg, struct err *);
	/* A name that the MTA has never seen: from the old one, the time, the inode it will have, a try number. */
	bool (*fresh)(struct slice old, int64_t sec, int32_t usec, uint64_t ino, unsigned attempt, struct queue_id *out);

	bool owned;                  /* every queue file belongs to the spool's owner; another's file is hostile */
	uint8_t release_dir;         /* index into dirs */
	mode_t file_mode;            /* of the released live part; 0: as it was */
	const char *kick_path;       /* unix socket or FIFO below the root that wakes the MTA, or NULL */
	struct slice kick_bytes;
	/* Run once at start (no shell) where the configuration gives no path; "@" stands for
	 * config_dir. Its answer is four lines: root path, owner (user name), names of hashed
	 * directories, their depth. NULL: the configuration must give the path. */
	const char *const *ask;
	const char *config_dir;      /* default for "@" */
	bool release_same;           /* put back into the directory it was taken from, not into release_dir */
};

#define SPOOL_FORMATS_MAX 16
extern const struct spool_format *const spool_formats[]; /* NULL at the end */
const struct spool_format *spool_format_find(struct slice name);

bool queue_id_set(struct queue_id *id, struct slice text); /* length, no '/', NUL, leading '.', control byte */
/* Is it an id of this format? What a receiver asks about an id it was sent. */
bool spool_id_ok(const struct spool_format *, const struct spool_set *, unsigned dir, struct slice id);
/* "deferred/A/ABC12": part i of id in dirs[dir] at depth hash levels. false: it has no such path. */
bool spool_path(const struct spool_format *, unsigned dir, unsigned depth, struct slice id, char out[SPOOL_PATH_MAX]);
bool spool_part_path(const struct spool_format *, const struct spool_set *, unsigned part, unsigned dir, unsigned depth,
		     struct slice id, char out[SPOOL_PATH_MAX]);
/* Hash levels that the settings say for this directory name. */
unsigned spool_depth(const struct spool_set *, const char *dir);
/* Is name a directory that hashing may have made? (one printable character) */
bool spool_hash_name(struct slice name);

extern const struct spool_format spool_postfix, spool_eml;

#endif
