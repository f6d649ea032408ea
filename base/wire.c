#include "base/wire.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	char room[CMSG_SPACE(WIRE_FDS_MAX * sizeof(int))];
	struct cmsghdr align;
};

int wire_pair(int sv[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv);
}

int wire_send(int fd, const void *p, size_t n, const int *fds, size_t nfds)
{
	union control c;
	struct iovec iov = { (void *)(size_t)p, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds > WIRE_FDS_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (nfds > 0) {
		memset(&c, 0, sizeof c);
		m.msg_control = c.room;
		m.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(h), fds, nfds * sizeof(int));
	}
	for (;;) {
		ssize_t put = sendmsg(fd, &m, MSG_NOSIGNAL);
		if (put >= 0)
			return 0;
		if (errno != EINTR)
			return -1;
	}
}

/* Keeps the first max descriptors, closes the others. */
static void collect(struct msghdr *m, int *fds, size_t max, size_t *nfds)
{
	for (struct cmsghdr *h = CMSG_FIRSTHDR(m); h != NULL; h = CMSG_NXTHDR(m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;
			memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
			if (*nfds < max)
				fds[(*nfds)++] = fd;
			else
				(void)close(fd);
		}
	}
}

ssize_t wire_recv(int fd, void *p, size_t cap, int *fds, size_t max_fds, size_t *nfds)
{
	union control c;
	struct iovec iov = { p, cap };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.room, .msg_controllen = sizeof c.room };
	size_t got_fds = 0;
	ssize_t got;

	do
		got = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -1;
	collect(&m, fds, max_fds, &got_fds);
	if (nfds != NULL)
		*nfds = got_fds;
	if (m.msg_flags & MSG_TRUNC) {
		for (size_t i = 0; i < got_fds; i++)
			(void)close(fds[i]);
		if (nfds != NULL)
			*nfds = 0;
		errno = EMSGSIZE;
		return -1;
	}
	return got;
}
