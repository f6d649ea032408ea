/* sink.c - the other end of the wire: an SMTP server that remembers what it accepted.
 *
 *   sink --log FILE [--port N] [--delay MS] [--fail-first] [--tempfail-all]
 *
 * Prints its port (--port 0: one that is free), then serves 127.0.0.1 until it is killed. One line
 * for every accepted (message, recipient) goes to FILE before the 250 does:
 *
 *   recipient <tab> X-Test-Id <tab> sum of the body as it came <tab> X-Test-Sum <tab> envelope sender
 *
 * so a message that arrives twice has two lines, and one that was damaged has two different sums. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FNV_START 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u
#define FDS_MAX 4096
#define RCPTS_MAX 1000
#define WORD 320
#define SEEN_BITS 20

enum part { COMMANDS, HEADERS, BODY, WAITING };

struct conn {
	int fd;
	enum part part;
	char in[65536];
	size_t n;
	char sender[WORD], id[WORD], claimed[WORD];
	char *rcpts[RCPTS_MAX];
	size_t nrcpts;
	uint64_t sum;
	int64_t due; /* milliseconds: when a WAITING message is answered */
};

static struct conn *conns[FDS_MAX];
static int log_fd = -1, epoll_fd = -1;
static int64_t delay;
static bool fail_first, fail_all;
static uint64_t seen[1u << SEEN_BITS]; /* hashes of recipients that had their first failure */

static void die(const char *what)
{
	fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static uint64_t fnv(uint64_t h, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * FNV_PRIME;
	return h;
}

static bool first_time(const char *rcpt)
{
	uint64_t h = fnv(FNV_START, rcpt, strlen(rcpt)) | 1;
	size_t mask = (1u << SEEN_BITS) - 1;

	for (size_t i = (size_t)h & mask, tries = 0; tries <= mask; i = (i + 1) & mask, tries++) {
		if (seen[i] == h)
			return false;
		if (seen[i] == 0) {
			seen[i] = h;
			return true;
		}
	}
	errno = ENOMEM;
	die("table of recipients");
	return false;
}

static void conn_clear(struct conn *c)
{
	for (size_t i = 0; i < c->nrcpts; i++)
		free(c->rcpts[i]);
	c->nrcpts = 0;
	c->sender[0] = c->id[0] = c->claimed[0] = '\0';
	c->sum = FNV_START;
}

static void conn_close(struct conn *c)
{
	conn_clear(c);
	conns[c->fd] = NULL;
	close(c->fd);
	free(c);
}

static void say(struct conn *c, const char *text)
{
	/* Replies are short and the peer waits for each: a full socket buffer means a broken peer,
	 * and it will find the connection closed. */
	if (send(c->fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		shutdown(c->fd, SHUT_RDWR);
}

/* The word in <angle brackets>, in lower case so that recipients compare. */
static void address(const char *line, char out[WORD])
{
	const char *from = strchr(line, '<'), *to = from ? strchr(from, '>') : NULL;
	size_t n = from && to ? (size_t)(to - from - 1) : 0;

	if (n >= WORD)
		n = WORD - 1;
	for (size_t i = 0; i < n; i++)
		out[i] = from[1 + i] >= 'A' && from[1 + i] <= 'Z' ? (char)(from[1 + i] + 32) : from[1 + i];
	out[n] = '\0';
}

static void command(struct conn *c, const char *line)
{
	if (!strncasecmp(line, "EHLO", 4)) {
		say(c, "250-sink.example.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n");
	} else if (!strncasecmp(line, "MAIL FROM:", 10)) {
		conn_clear(c);
		address(line, c->sender);
		say(c, "250 2.1.0 ok\r\n");
	} else if (!strncasecmp(line, "RCPT TO:", 8)) {
		char word[WORD];

		address(line, word);
		if (fail_all || (fail_first && first_time(word))) {
			say(c, "451 4.3.0 later, please\r\n");
		} else if (c->nrcpts == RCPTS_MAX || (c->rcpts[c->nrcpts] = strdup(word)) == NULL) {
			say(c, "452 4.5.3 too many\r\n");
		} else {
			c->nrcpts++;
			say(c, "250 2.1.5 ok\r\n");
		}
	} else if (!strncasecmp(line, "DATA", 4)) {
		if (c->nrcpts == 0) {
			say(c, "554 5.5.1 no valid recipients\r\n");
		} else {
			c->part = HEADERS;
			say(c, "354 go on\r\n");
		}
	} else if (!strncasecmp(line, "QUIT", 4)) {
		say(c, "221 2.0.0 bye\r\n");
		shutdown(c->fd, SHUT_RDWR);
	} else {
		if (!strncasecmp(line, "RSET", 4))
			conn_clear(c);
		say(c, "250 2.0.0 ok\r\n");
	}
}

static void header(char out[WORD], const char *line, const char *name)
{
	size_t n = strlen(name);

	if (strncasecmp(line, name, n) == 0)
		snprintf(out, WORD, "%s", line + n + strspn(line + n, " \t"));
}

static void accepted(struct conn *c)
{
	char text[4 * WORD + 64];

	for (size_t i = 0; i < c->nrcpts; i++) {
		int n = snprintf(text, sizeof(text), "%s\t%s\t%016llx\t%s\t%s\n", c->rcpts[i], c->id,
				 (unsigned long long)c->sum, c->claimed, c->sender);

		if (write(log_fd, text, (size_t)n) != n) /* one write: lines never mix */
			die("log");
	}
	conn_clear(c);
	c->part = COMMANDS;
	say(c, "250 2.0.0 taken\r\n");
}

/* line ends with a NUL where its CRLF was. */
static void one_line(struct conn *c, char *line, size_t n)
{
	if (c->part == COMMANDS) {
		command(c, line);
	} else if (n == 1 && line[0] == '.') {
		c->part = WAITING;
		c->due = now_ms() + delay;
		if (delay == 0)
			accepted(c);
	} else {
		if (line[0] == '.') {
			line++;
			n--;
		}
		if (c->part == BODY) {
			c->sum = fnv(fnv(c->sum, line, n), "\r\n", 2);
		} else if (n == 0) {
			c->part = BODY;
		} else {
			header(c->id, line, "X-Test-Id:");
			header(c->claimed, line, "X-Test-Sum:");
		}
	}
}

/* Works through what has come, until a message has to wait for its delayed answer. */
static bool work(struct conn *c)
{
	size_t at = 0;
	char *lf;

	while (c->part != WAITING && (lf = memchr(c->in + at, '\n', c->n - at)) != NULL) {
		char *line = c->in + at;
		size_t n = (size_t)(lf - line);

		at += n + 1;
		if (n > 0 && line[n - 1] == '\r')
			n--;
		line[n] = '\0';
		one_line(c, line, n);
	}
	memmove(c->in, c->in + at, c->n - at);
	c->n -= at;
	return c->n < sizeof(c->in);
}

static void readable(struct conn *c)
{
	ssize_t n;

	if (c->n == sizeof(c->in)) /* only while an answer waits */
		return;
	n = recv(c->fd, c->in + c->n, sizeof(c->in) - c->n, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n > 0) {
		c->n += (size_t)n;
		if (work(c) || c->part == WAITING)
			return;
	}
	conn_close(c); /* a peer that left before its 250 was not served: nothing is in the log */
}

static void welcome(int listener)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int one = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (fd >= FDS_MAX || (conns[fd] = calloc(1, sizeof(struct conn))) == NULL) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	conns[fd]->fd = ev.data.fd = fd;
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)
		die("epoll");
	say(conns[fd], "220 sink.example.test ESMTP\r\n");
}

/* Answers what is due; returns how long epoll may sleep. */
static int answer_due(void)
{
	int64_t now = now_ms(), next = -1;

	if (delay == 0)
		return -1;
	for (int fd = 0; fd < FDS_MAX; fd++) {
		struct conn *c = conns[fd];

		if (c == NULL || c->part != WAITING)
			continue;
		if (c->due <= now) {
			accepted(c);
			work(c);
		}
		if (c->part == WAITING && (next < 0 || c->due - now < next))
			next = c->due - now;
	}
	return (int)(next < 0 ? -1 : next + 1);
}

static int listen_on(unsigned port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
	socklen_t n = sizeof(a);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
	    bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 512) != 0 ||
	    getsockname(fd, (struct sockaddr *)&a, &n) != 0)
		die("listen");
	printf("%u\n", ntohs(a.sin_port));
	fflush(stdout);
	return fd;
}

int main(int argc, char **argv)
{
	static const struct option options[] = { { "port", required_argument, NULL, 'p' },
						 { "log", required_argument, NULL, 'l' },
						 { "delay", required_argument, NULL, 'd' },
						 { "fail-first", no_argument, NULL, 'f' },
						 { "tempfail-all", no_argument, NULL, 'a' },
						 { NULL, 0, NULL, 0 } };
	struct epoll_event ev = { .events = EPOLLIN }, got[64];
	unsigned port = 0;
	int o, listener;

	while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (o == 'p')
			port = (unsigned)strtoul(optarg, NULL, 10);
		else if (o == 'd')
			delay = strtol(optarg, NULL, 10);
		else if (o == 'f')
			fail_first = true;
		else if (o == 'a')
			fail_all = true;
		else if (o != 'l')
			return 64;
		else if ((log_fd = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) < 0)
			die(optarg);
	}
	if (log_fd < 0 || optind != argc) {
		fprintf(stderr, "usage: sink --log FILE [--port N] [--delay MS] [--fail-first] [--tempfail-all]\n");
		return 64;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* never outlives the test that started it */
	listener = listen_on(port);
	ev.data.fd = listener;
	if ((epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &ev) != 0)
		die("epoll");
	for (;;) {
		int n = epoll_wait(epoll_fd, got, 64, answer_due());

		for (int i = 0; i < n; i++) {
			if (got[i].data.fd == listener)
				welcome(listener);
			else if (conns[got[i].data.fd] != NULL)
				readable(conns[got[i].data.fd]);
		}
	}
}
