/* sys.h - the only calls by which Spoolward changes a disk.
 *
 * Each is one system call (or the loop that one needs) and returns as that call does: 0 or
 * a descriptor, or -1 with errno. They are a seam: tests/crash/ fails and kills each one in
 * turn (linked with --wrap), so no other file may call these system calls itself.
 *
 * dir is an open directory, name one component (or a path of checked components) below it. */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

/* renameat2(RENAME_NOREPLACE): never overwrites. EEXIST, ENOENT, EXDEV are answers. */
int sys_move(int from_dir, const char *from, int to_dir, const char *to);
int sys_link(int from_dir, const char *from, int to_dir, const char *to);
int sys_unlink(int dir, const char *name);
int sys_rmdir(int dir, const char *name);
int sys_mkdir(int dir, const char *name, mode_t mode);
/* O_CREAT | O_EXCL | O_NOFOLLOW | O_RDWR | O_CLOEXEC. */
int sys_create(int dir, const char *name, mode_t mode);
/* All n bytes or -1. */
int sys_write(int fd, const void *p, size_t n);
int sys_pwrite(int fd, const void *p, size_t n, off_t at);
/* The whole of from (from its start) to to, inside the kernel: no byte enters this process. */
int sys_copy(int from, int to, uint64_t size);
int sys_sync(int fd);     /* fsync */
int sys_syncfs(int fd);   /* everything dirty of that file system */
int sys_chown(int fd, uid_t uid, gid_t gid);
int sys_chmod(int fd, mode_t mode);
int sys_times(int fd, const struct timespec times[2]);
int sys_truncate(int fd, off_t size);
/* Group and mode of a name that is not opened: a socket. */
int sys_share(const char *path, gid_t group, mode_t mode);

#endif
