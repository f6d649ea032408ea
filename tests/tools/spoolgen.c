/* spoolgen - queue files in a Postfix-shaped spool, for benchmarks: the real file TEMPLATE again and again, under ids that fit
 * the inode, with the login of one of ORIGINS accounts written over the template's.
 *
 *   spoolgen fill   ROOT N ORIGINS TEMPLATE          into deferred/X/ (one hash level)
 *   spoolgen arrive ROOT N ORIGINS TEMPLATE RATE     into incoming/ as cleanup(8) does: create, rename, write, chmod
 *
 * arrive prints the seconds it took; RATE 0 is as fast as it can. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/slice.h"

static char file[65536];
static size_t size;
static char *login;

static int fail(const char *what)
{
	(void)fprintf(stderr, "spoolgen: %s: %s\n", what, strerror(errno));
	return 1;
}

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int load(const char *path)
{
	static const char mark[] = "sasl_username=";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, file, sizeof file);

	if (n <= 0)
		return fail(path);
	(void)close(fd);
	size = (size_t)n;
	login = memmem(file, size, mark, sizeof mark - 1);
	if (login == NULL)
		return fail("the template has no login");
	login += sizeof mark - 1;
	return 0;
}

/* Digits over the first letters of the login, as many as fit before the @. */
static void name_origin(unsigned long who)
{
	for (int i = 4; i >= 0; i--, who /= 36)
		login[i] = "0123456789abcdefghijklmnopqrstuvwxyz"[who % 36];
}

static int put_one(int dir, const char *sub, unsigned long i, int complete_last)
{
	char temp[64], id[64], path[96];
	struct stat st;

	(void)snprintf(temp, sizeof temp, "%s%lu.%ld", sub, i, (long)getpid());
	int fd = openat(dir, temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, complete_last ? 0600 : 0700);
	if (fd < 0 || fstat(fd, &st) != 0)
		return fail(temp);
	(void)snprintf(id, sizeof id, "%05lX%lX", i % 1000000, (unsigned long)st.st_ino);
	if (sub[0] != '\0')
		(void)snprintf(path, sizeof path, "%c/%s", id[0], id);
	else
		(void)snprintf(path, sizeof path, "%s", id);
	if (renameat(dir, temp, dir, path) != 0 || write(fd, file, size) != (ssize_t)size ||
	    (complete_last && fchmod(fd, 0700) != 0))
		return fail(path);
	return close(fd);
}

int main(int argc, char **argv)
{
	char path[4096];
	uint64_t n, origins, rate = 0;
	int arrive = argc == 7 && strcmp(argv[1], "arrive") == 0;

	if ((!arrive && (argc != 6 || strcmp(argv[1], "fill") != 0)) || !slice_u64(slice_str(argv[3]), 100000000, &n) ||
	    !slice_u64(slice_str(argv[4]), 60000000, &origins) || origins == 0 ||
	    (arrive && !slice_u64(slice_str(argv[6]), 1000000, &rate))) {
		(void)fputs("usage: spoolgen fill|arrive ROOT N ORIGINS TEMPLATE [RATE]\n", stderr);
		return 2;
	}
	if (load(argv[5]) != 0)
		return 1;
	(void)snprintf(path, sizeof path, "%s/%s", argv[2], arrive ? "incoming" : "deferred");
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; dir >= 0 && !arrive && i < 16; i++) {
		const char name[2] = { "0123456789ABCDEF"[i], '\0' };
		(void)mkdirat(dir, name, 0700);
	}
	if (dir < 0)
		return fail(path);
	double start = now();
	for (uint64_t i = 0; i < n; i++) {
		name_origin((unsigned long)(i % origins));
		if (put_one(dir, arrive ? "" : "../", (unsigned long)i, arrive) != 0)
			return 1;
		double due = rate ? start + (double)i / (double)rate : 0, ahead = rate ? due - now() : 0;
		if (ahead > 0.001)
			(void)usleep((useconds_t)(ahead * 1e6));
	}
	(void)printf("%.6f\n", now() - start);
	return 0;
}
