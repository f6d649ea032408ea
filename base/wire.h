/* wire.h - records between roles: SOCK_SEQPACKET, one record per call, with descriptors.
 *
 * A record has an exact size that the receiver knows; whoever sends another is cut off by
 * the caller. Descriptors that were not asked for are closed here. */
#ifndef BASE_WIRE_H
#define BASE_WIRE_H

#include <stddef.h>
#include <sys/types.h>

#define WIRE_FDS_MAX 64

/* Close-on-exec on both ends; 0 or -1 with errno. */
int wire_pair(int sv[2]);
/* Blocks unless the socket does not; 0 or -1 with errno. A dead peer is EPIPE, never a signal. */
int wire_send(int fd, const void *p, size_t n, const int *fds, size_t nfds);
/* The record's length, 0 at end of file, -1 with errno. EMSGSIZE: it was longer than cap.
 * Up to max_fds descriptors (close-on-exec) go to fds, their number to *nfds. */
ssize_t wire_recv(int fd, void *p, size_t cap, int *fds, size_t max_fds, size_t *nfds);

#endif
