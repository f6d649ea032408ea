/* own.h - what leaves scope is given back; what must be undone says goto. */
#ifndef BASE_OWN_H
#define BASE_OWN_H

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void own_close_(int *fd)
{
	int keep = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = keep;
}

static inline void own_closedir_(DIR **d)
{
	int keep = errno;

	if (*d != NULL)
		(void)closedir(*d);
	errno = keep;
}

static inline void own_free_(void *p)
{
	free(*(void **)p);
}

#define own_fd __attribute__((cleanup(own_close_))) int
#define own_dir __attribute__((cleanup(own_closedir_))) DIR *
#define own_mem __attribute__((cleanup(own_free_)))

/* Ownership leaves, visibly. */
static inline int give_fd(int *fd)
{
	int out = *fd;

	*fd = -1;
	return out;
}

#endif
