/* Wrapped with -Wl,--wrap: whatever Spoolward does to a disk passes here first. Nothing waits for the disk: these
 * kills end a process, not the machine. */
#include "tests/crash/seam.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"

struct fault fault;

/* 0: go on. Otherwise the errno to fail with, or -1 to die. */
static int due(enum seam seam)
{
	if (fault.nth == 0 || fault.seam != seam)
		return 0;
	fault.seen++;
	if (fault.seen != fault.nth && !(fault.sticky && fault.fired))
		return 0;
	fault.fired = true;
	return fault.sys != 0 ? fault.sys : -1;
}

static int hit(void)
{
	int sys = due(SEAM_SYS);

	if (sys < 0)
		_exit(KILLED);
	errno = sys;
	return sys != 0;
}

#define WRAP(name, params, args)            \
	int __real_##name params;           \
	int __wrap_##name params;           \
	int __wrap_##name params            \
	{                                   \
		return hit() ? -1 : __real_##name args; \
	}

WRAP(sys_move, (int from_dir, const char *from, int to_dir, const char *to), (from_dir, from, to_dir, to))
WRAP(sys_link, (int from_dir, const char *from, int to_dir, const char *to), (from_dir, from, to_dir, to))
WRAP(sys_unlink, (int dir, const char *name), (dir, name))
WRAP(sys_rmdir, (int dir, const char *name), (dir, name))
WRAP(sys_mkdir, (int dir, const char *name, mode_t mode), (dir, name, mode))
WRAP(sys_create, (int dir, const char *name, mode_t mode), (dir, name, mode))
WRAP(sys_chown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
WRAP(sys_chmod, (int fd, mode_t mode), (fd, mode))
WRAP(sys_times, (int fd, const struct timespec times[2]), (fd, times))
WRAP(sys_truncate, (int fd, off_t size), (fd, size))
WRAP(sys_share, (const char *path, gid_t group, mode_t mode), (path, group, mode))

#define WRAP_SYNC(name)                \
	int __wrap_##name(int fd);     \
	int __wrap_##name(int fd)      \
	{                              \
		(void)fd;              \
		return hit() ? -1 : 0; \
	}

WRAP_SYNC(sys_sync)
WRAP_SYNC(sys_syncfs)

/* What writes bytes stops in the middle of them. */
#define WRAP_BYTES(name, params, whole, half) \
	int __real_##name params;             \
	int __wrap_##name params;             \
	int __wrap_##name params              \
	{                                     \
		int sys = due(SEAM_SYS);      \
		if (sys == 0)                 \
			return __real_##name whole; \
		(void)__real_##name half;     \
		if (sys < 0)                  \
			_exit(KILLED);        \
		errno = sys;                  \
		return -1;                    \
	}

WRAP_BYTES(sys_write, (int fd, const void *p, size_t n), (fd, p, n), (fd, p, n / 2))
WRAP_BYTES(sys_pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at), (fd, p, n / 2, at))
WRAP_BYTES(sys_copy, (int from, int to, uint64_t size), (from, to, size), (from, to, size / 2))

/* ---- SQLite ---- */

struct file {
	sqlite3_file base;
	sqlite3_file *real;
};
static sqlite3_vfs *under;

static sqlite3_file *real(sqlite3_file *f)
{
	return ((struct file *)(void *)f)->real;
}

static int db_due(int code)
{
	int sys = due(SEAM_DB);

	if (sys < 0)
		_exit(KILLED);
	return sys == 0 ? SQLITE_OK : sys == ENOSPC ? SQLITE_FULL : code;
}

static int f_close(sqlite3_file *f)
{
	int rc = real(f)->pMethods ? real(f)->pMethods->xClose(real(f)) : SQLITE_OK;

	free(real(f));
	return rc;
}

static int f_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	return real(f)->pMethods->xRead(real(f), p, n, at);
}

static int f_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	int sys = due(SEAM_DB);

	if (sys == 0)
		return real(f)->pMethods->xWrite(real(f), p, n, at);
	if (!fault.sticky) /* a disk that went away takes nothing; otherwise the write is torn */
		(void)real(f)->pMethods->xWrite(real(f), p, n / 2, at);
	if (sys < 0)
		_exit(KILLED);
	return sys == ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int f_truncate(sqlite3_file *f, sqlite3_int64 size)
{
	int rc = db_due(SQLITE_IOERR_TRUNCATE);

	return rc != SQLITE_OK ? rc : real(f)->pMethods->xTruncate(real(f), size);
}

static int f_sync(sqlite3_file *f, int flags)
{
	(void)f;
	(void)flags;
	return db_due(SQLITE_IOERR_FSYNC);
}

static int f_size(sqlite3_file *f, sqlite3_int64 *size)
{
	return real(f)->pMethods->xFileSize(real(f), size);
}

static int f_lock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xLock(real(f), level);
}

static int f_unlock(sqlite3_file *f, int level)
{
	return real(f)->pMethods->xUnlock(real(f), level);
}

static int f_reserved(sqlite3_file *f, int *out)
{
	return real(f)->pMethods->xCheckReservedLock(real(f), out);
}

static int f_control(sqlite3_file *f, int op, void *arg)
{
	return real(f)->pMethods->xFileControl(real(f), op, arg);
}

static int f_sector(sqlite3_file *f)
{
	return real(f)->pMethods->xSectorSize(real(f));
}

static int f_traits(sqlite3_file *f)
{
	return real(f)->pMethods->xDeviceCharacteristics(real(f));
}

static int f_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
	return real(f)->pMethods->xShmMap(real(f), page, size, extend, out);
}

static int f_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return real(f)->pMethods->xShmLock(real(f), offset, n, flags);
}

static void f_shm_barrier(sqlite3_file *f)
{
	real(f)->pMethods->xShmBarrier(real(f));
}

static int f_shm_unmap(sqlite3_file *f, int remove)
{
	return real(f)->pMethods->xShmUnmap(real(f), remove);
}

static const sqlite3_io_methods methods = {
	.iVersion = 2,
	.xClose = f_close,
	.xRead = f_read,
	.xWrite = f_write,
	.xTruncate = f_truncate,
	.xSync = f_sync,
	.xFileSize = f_size,
	.xLock = f_lock,
	.xUnlock = f_unlock,
	.xCheckReservedLock = f_reserved,
	.xFileControl = f_control,
	.xSectorSize = f_sector,
	.xDeviceCharacteristics = f_traits,
	.xShmMap = f_shm_map,
	.xShmLock = f_shm_lock,
	.xShmBarrier = f_shm_barrier,
	.xShmUnmap = f_shm_unmap,
};

static int v_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
	struct file *file = (struct file *)(void *)f;

	(void)v;
	file->base.pMethods = NULL;
	file->real = calloc(1, (size_t)under->szOsFile);
	if (file->real == NULL)
		return SQLITE_NOMEM;
	int rc = under->xOpen(under, name, file->real, flags, out);
	if (rc != SQLITE_OK) {
		free(file->real);
		return rc;
	}
	file->base.pMethods = &methods;
	return SQLITE_OK;
}

/* A journal is removed by its path. */
static int v_delete(sqlite3_vfs *v, const char *name, int sync)
{
	int rc = db_due(SQLITE_IOERR_DELETE);

	(void)v;
	(void)sync;
	return rc != SQLITE_OK ? rc : under->xDelete(under, name, 0);
}

void seam_vfs(void)
{
	static sqlite3_vfs mine;

	(void)sqlite3_initialize();
	under = sqlite3_vfs_find(NULL);
	mine = *under;
	mine.zName = "torture";
	mine.szOsFile = (int)sizeof(struct file);
	mine.pNext = NULL;
	mine.xOpen = v_open;
	mine.xDelete = v_delete;
	(void)sqlite3_vfs_register(&mine, 1);
}
