/* The controls of test_powercut: the daemon without the syncs of one side. NOSYNC in its environment is a part of the path of
 * what is not synced: "cells" or "stage". Its ledger is SQLite's, which syncs by itself; what is lost is the order between it
 * and the cells, or the spool. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"

int __real_sys_sync(int fd);
int __wrap_sys_sync(int fd);
int __real_sys_syncfs(int fd);
int __wrap_sys_syncfs(int fd);

static int left_out(int fd)
{
	const char *part = getenv("NOSYNC");
	char name[64], path[4096];

	(void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(name, path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	return part != NULL && strstr(path, part) != NULL;
}

int __wrap_sys_sync(int fd)
{
	return left_out(fd) ? 0 : __real_sys_sync(fd);
}

int __wrap_sys_syncfs(int fd)
{
	return left_out(fd) ? 0 : __real_sys_syncfs(fd);
}
