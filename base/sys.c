#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <unistd.h>

int sys_move(int from_dir, const char *from, int to_dir, const char *to)
{
	return renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE);
}

int sys_link(int from_dir, const char *from, int to_dir, const char *to)
{
	return linkat(from_dir, from, to_dir, to, 0);
}

int sys_unlink(int dir, const char *name)
{
	return unlinkat(dir, name, 0);
}

int sys_rmdir(int dir, const char *name)
{
	return unlinkat(dir, name, AT_REMOVEDIR);
}

int sys_mkdir(int dir, const char *name, mode_t mode)
{
	return mkdirat(dir, name, mode);
}

int sys_create(int dir, const char *name, mode_t mode)
{
	return openat(dir, name, O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC, mode);
}

int sys_write(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n > 0) {
		ssize_t put = write(fd, at, n);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		at += put;
		n -= (size_t)put;
	}
	return 0;
}

int sys_pwrite(int fd, const void *p, size_t n, off_t at)
{
	const char *from = p;

	while (n > 0) {
		ssize_t put = pwrite(fd, from, n, at);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		from += put;
		at += put;
		n -= (size_t)put;
	}
	return 0;
}

int sys_copy(int from, int to, uint64_t size)
{
	off_t at = 0;

	while ((uint64_t)at < size) {
		uint64_t rest = size - (uint64_t)at;
		ssize_t put = sendfile(to, from, &at, rest < (1u << 30) ? (size_t)rest : 1u << 30);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return -1;
		if (put == 0) { /* shorter than promised: somebody cut the file */
			errno = EIO;
			return -1;
		}
	}
	return 0;
}

int sys_sync(int fd)
{
	return fsync(fd);
}

int sys_syncfs(int fd)
{
	return syncfs(fd);
}

int sys_chown(int fd, uid_t uid, gid_t gid)
{
	return fchown(fd, uid, gid);
}

int sys_chmod(int fd, mode_t mode)
{
	return fchmod(fd, mode);
}

int sys_times(int fd, const struct timespec times[2])
{
	return futimens(fd, times);
}

int sys_truncate(int fd, off_t size)
{
	return ftruncate(fd, size);
}

int sys_share(const char *path, gid_t group, mode_t mode)
{
	return fchownat(AT_FDCWD, path, (uid_t)-1, group, AT_SYMLINK_NOFOLLOW) == 0 ? chmod(path, mode) : -1;
}
