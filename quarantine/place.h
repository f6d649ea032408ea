/* place.h - one spool as it stands on this machine: its directories, its stage, its owner.
 *
 * Paths below the root are opened beneath a descriptor with no symlink followed: the
 * directories belong to the MTA's unprivileged user. A place may be down (no root, or no
 * stage): then everything answers ERR_GONE and nothing is taken. Several threads may use a
 * place; place_up() and place_down() wait for them. */
#ifndef QUARANTINE_PLACE_H
#define QUARANTINE_PLACE_H

#include <limits.h>
#include <pthread.h>
#include <sys/stat.h>

#include "conf/conf.h"

#define STAGE_NAME (QUEUE_ID_MAX + 48)

/* What the roles without a configuration are told about a spool: fixed size, no pointer. */
struct brief {
	char name[40], format[24], root[PATH_MAX], stage[256];
	char hashed[160], names[400], login_header[80], client_header[80], sender_header[80];
	uint32_t hash_depth;
	int64_t owner; /* uid that every queue file must have; -1: any */
};
/* Points into the brief. */
struct spool_set brief_set(const struct brief *);

struct place {
	struct brief brief;
	const struct spool_format *format;
	struct spool_set set;
	uint16_t index;
	int root_fd, stage_fd; /* -1: down */
	gid_t group;
	bool same_mount; /* stage and cells: a rename is enough */
	bool on_ram;     /* a reboot empties it */
	pthread_rwlock_t lock;
};

/* Asks the MTA for what the configuration leaves out. Runs a program: before the sandbox closes. */
int brief_make(const struct conf_spool *, struct brief *out, struct err *e);

int place_init(struct place *, const struct brief *, uint16_t index, struct err *e);
void place_free(struct place *);
/* Opens root and stage (made when missing); cells_fd: to compare mounts. */
int place_up(struct place *, int cells_fd, struct err *e);
void place_down(struct place *);
bool place_on_ram(int fd); /* a file system that a reboot empties */

/* The directory that holds a path below the root (from spool_path() or spool_part_path()), O_PATH, and the file's
 * name in it. No symlink is followed, nothing above the root is reached. -1 with errno. */
int place_at(const struct place *, const char *path, const char **file);
/* Is there a message of this id in any of the MTA's directories? */
bool place_live(const struct place *, struct slice id);

enum claim { CLAIM_DONE, CLAIM_GONE, CLAIM_WAIT, CLAIM_DOWN, CLAIM_FAILED };
struct claimed {
	char name[STAGE_NAME]; /* in the stage */
	unsigned dir, depth;   /* where it was */
	struct stat st;
};
/* One rename into the stage, wherever the message is by now (dir and depth are a hint). ino: the inode it must
 * have. wait_if_busy: leave it while it is in a DIR_BUSY directory (CLAIM_WAIT). */
enum claim place_claim(struct place *, unsigned dir, unsigned depth, struct slice id, uint64_t ino, bool wait_if_busy,
		       struct claimed *out, struct err *e);

/* "t.DIR.DEPTH.INO.ID" and back. */
void stage_name(char out[STAGE_NAME], unsigned dir, unsigned depth, uint64_t ino, struct slice id);
bool stage_parse(const struct spool_format *, const struct spool_set *, struct slice name, unsigned *dir, unsigned *depth,
		 uint64_t *ino, struct queue_id *id);
/* "r.ID": a message on its way back. */
void stage_release_name(char out[STAGE_NAME], int64_t id);
bool stage_release_parse(struct slice name, int64_t *id);

/* Has nobody this file open? 1, 0, -1. fd is ours, in the stage. */
int place_still(int fd, struct err *e);

/* A queue id that the MTA has never seen, for a file of that inode; false: the format knows none. */
bool place_fresh(const struct place *, struct slice old_id, uint64_t ino, unsigned attempt, struct queue_id *out);

/* Wakes the MTA. Its absence is no failure: it looks by itself when it starts. */
void place_kick(struct place *);

#endif
