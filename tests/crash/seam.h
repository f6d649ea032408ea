/* seam.h - the two seams at which the torture strikes: every call of base/sys.h, and every write of SQLite. */
#ifndef TESTS_CRASH_SEAM_H
#define TESTS_CRASH_SEAM_H

#include <stdbool.h>

enum seam { SEAM_SYS, SEAM_DB, SEAMS };

/* The nth call of a seam fails with sys, or dies there if sys is 0; sticky: and so does every later one. */
struct fault {
	enum seam seam;
	unsigned nth, seen; /* nth 0: not armed */
	int sys;
	bool sticky, fired;
};
extern struct fault fault;

#define KILLED 86

/* SQLite's default file system becomes one that counts, fails and dies, and does not wait for the disk. */
void seam_vfs(void);

#endif
