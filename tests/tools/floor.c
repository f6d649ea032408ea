/* floor - what the kernel allows, for benchmarks: the same work without Spoolward.
 *
 *   floor scan ROOT               readdir + openat + pread 4096 + close of every file; prints files, seconds, CPU seconds
 *   floor events ROOT/incoming N  raw inotify (ATTRIB), openat + fstat + pread + close of N files; prints files, CPU seconds
 *   floor rename DIR TO           rename of every file to the directory TO, then one syncfs; prints files, seconds */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/slice.h"

static char bytes[4096];
static unsigned long files;

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double cpu(void)
{
	struct rusage u;

	(void)getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void read_one(int dir, const char *name)
{
	struct stat st;
	int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && pread(fd, bytes, sizeof bytes, 0) > 0)
		files++;
	(void)close(fd);
}

static void scan(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		if (e->d_type == DT_DIR)
			scan(fd, e->d_name);
		else
			read_one(fd, e->d_name);
	}
	if (d != NULL)
		(void)closedir(d);
}

static int events(const char *path, unsigned long n)
{
	static char buf[65536] __attribute__((aligned(8)));
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ino = inotify_init1(IN_CLOEXEC);
	struct pollfd p = { .fd = ino, .events = POLLIN };

	if (dir < 0 || ino < 0 || inotify_add_watch(ino, path, IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE) < 0)
		return 1;
	(void)puts("ready");
	(void)fflush(stdout);
	while (files < n && poll(&p, 1, 10000) > 0) {
		ssize_t got = read(ino, buf, sizeof buf);
		for (char *at = buf; got > 0 && at < buf + got;) {
			struct inotify_event ev;
			memcpy(&ev, at, sizeof ev);
			if ((ev.mask & IN_ATTRIB) != 0)
				read_one(dir, at + sizeof ev);
			at += sizeof ev + ev.len;
		}
	}
	(void)printf("%lu %.6f\n", files, cpu());
	return 0;
}

static int rename_all(const char *from, const char *to)
{
	int a = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC), b = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = a < 0 || b < 0 ? NULL : opendir(from);
	struct dirent *e;
	double start = now();

	if (d == NULL)
		return 1;
	while ((e = readdir(d)) != NULL)
		if (e->d_type == DT_REG && renameat(a, e->d_name, b, e->d_name) == 0)
			files++;
	(void)syncfs(b);
	(void)closedir(d);
	(void)printf("%lu %.6f\n", files, now() - start);
	return 0;
}

int main(int argc, char **argv)
{
	uint64_t n;
	double start = now();

	if (argc == 3 && strcmp(argv[1], "scan") == 0) {
		scan(AT_FDCWD, argv[2]);
		(void)printf("%lu %.6f %.6f\n", files, now() - start, cpu());
		return 0;
	}
	if (argc == 4 && strcmp(argv[1], "events") == 0 && slice_u64(slice_str(argv[3]), 100000000, &n))
		return events(argv[2], (unsigned long)n);
	if (argc == 4 && strcmp(argv[1], "rename") == 0)
		return rename_all(argv[2], argv[3]);
	(void)fputs("usage: floor scan ROOT | events DIR N | rename DIR TO\n", stderr);
	return 2;
}
