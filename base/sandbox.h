/* sandbox.h - each role gives up everything that it does not need, right after start.
 *
 * Capabilities (libcap-ng), no_new_privs, Landlock and a seccomp allow-list (libseccomp). A
 * kernel that lacks Landlock is no failure: sandbox_missing() names what could not be had. The
 * self-test tries what the role must never do and fails if it succeeds. */
#ifndef BASE_SANDBOX_H
#define BASE_SANDBOX_H

#include <stdbool.h>

#include "base/err.h"

enum sandbox_fence {
	SANDBOX_WARD,   /* moves files below the given trees; may start its own binary again */
	SANDBOX_WATCH,  /* reads names and opens files below the given trees; no network, no exec */
	SANDBOX_SIFT,   /* reads descriptors it is sent; no file system at all */
	SANDBOX_REVIEW, /* parses a message that is already open or in memory */
};

enum sandbox_access { SANDBOX_READ = 1, SANDBOX_WRITE = 2, SANDBOX_EXEC = 4 };

struct sandbox_tree {
	const char *path; /* a path that does not exist is skipped; NULL ends the list */
	unsigned access;
};

/* Before threads start. trees: what Landlock leaves open (NULL: nothing). */
int sandbox_enter(enum sandbox_fence fence, const struct sandbox_tree *trees, struct err *e);
/* False in a build with a sanitizer, whose runtime needs what the fences forbid: there they stay open. */
bool sandbox_possible(void);
/* 0 if every forbidden thing was refused. */
int sandbox_self_test(enum sandbox_fence fence, struct err *e);
/* "landlock" etc. of this process, "" when all fences stand. */
const char *sandbox_missing(void);

#endif
