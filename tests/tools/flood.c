/* flood.c - an SMTP client that submits many messages, honest or not.
 *
 *   flood --port N --id PREFIX [--count N] [--sessions M] [--login L --password P] [--sender S]
 *         [--domain D] [--recipients R] [--size BYTES] [--rate PER_SECOND] [--from ADDRESS] [--header LINE]
 *
 * Message n carries X-Test-Id: PREFIX-n and goes to r<n>.<k>.PREFIX@D (k below R). '#' in D is n.
 * Prints a line for each message that was not accepted ("refused ID reply") or whose answer never
 * came ("unsure ID"), then "accepted N". */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BODY_MAX (1u << 20)

static struct {
	const char *login, *password, *sender, *domain, *from, *header, *id;
	unsigned port, count, sessions, recipients, size, rate;
} opt = { .password = "secret", .sender = "nobody@example.test", .domain = "there.example",
	  .count = 1, .sessions = 1, .recipients = 1, .size = 1500 };

/* What the sessions (processes) share. */
static struct shared {
	unsigned next, accepted;
} *shared;
static struct timespec started;

static uint64_t fnv(const char *p, size_t n)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)p[i]) * 0x100000001b3u;
	return h;
}

static void base64(const char *in, size_t n, char *out)
{
	static const char abc[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)(unsigned char)in[i] << 16;

		v |= i + 1 < n ? (uint32_t)(unsigned char)in[i + 1] << 8 : 0;
		v |= i + 2 < n ? (uint32_t)(unsigned char)in[i + 2] : 0;
		*out++ = abc[v >> 18];
		*out++ = abc[v >> 12 & 63];
		*out++ = i + 1 < n ? abc[v >> 6 & 63] : '=';
		*out++ = i + 2 < n ? abc[v & 63] : '=';
	}
	*out = '\0';
}

/* The last line of a reply, or false when the connection is gone. */
static bool reply(FILE *s, char line[512])
{
	do {
		if (fgets(line, 512, s) == NULL)
			return false;
	} while (strlen(line) > 3 && line[3] == '-');
	line[strcspn(line, "\r\n")] = '\0';
	return true;
}

static bool expect(FILE *s, char code, char line[512])
{
	return reply(s, line) && line[0] == code;
}

static FILE *dial(char line[512])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port) }, from = a;
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FILE *s;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	from.sin_port = 0;
	if (opt.from != NULL && (inet_pton(AF_INET, opt.from, &from.sin_addr) != 1 ||
				 bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0)) {
		perror(opt.from);
		exit(1);
	}
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || (s = fdopen(fd, "r+")) == NULL) {
		close(fd);
		return NULL;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!expect(s, '2', line))
		goto fail;
	fprintf(s, "EHLO flood.example\r\n");
	fflush(s);
	if (!expect(s, '2', line))
		goto fail;
	if (opt.login != NULL) {
		char plain[512], coded[1024];
		int n = snprintf(plain, sizeof(plain), "%c%s%c%s", 0, opt.login, 0, opt.password);

		base64(plain, (size_t)n, coded);
		fprintf(s, "AUTH PLAIN %s\r\n", coded);
		fflush(s);
		if (!expect(s, '2', line))
			goto fail;
	}
	return s;
fail:
	fclose(s);
	return NULL;
}

/* A body that shows damage: dots in front, a "From ", blank lines inside and at the end. */
static size_t body(unsigned n, char *out, size_t cap)
{
	size_t at = (size_t)snprintf(out, cap, "Message %s-%u\r\n.one dot\r\n..two\r\nFrom here\r\n\r\n", opt.id, n);

	for (unsigned i = 0; at < opt.size && at + 128 < cap; i++)
		at += (size_t)snprintf(out + at, cap - at, "%u of %s-%u: all work and no play makes a dull message.\r\n", i,
				       opt.id, n);
	return at + (size_t)snprintf(out + at, cap - at, "end\r\n\r\n");
}

static void domain_of(unsigned n, char out[256])
{
	size_t at = 0;

	for (const char *p = opt.domain; *p && at < 240; p++)
		at += *p == '#' ? (size_t)snprintf(out + at, 256 - at, "%u", n) : (out[at] = *p, 1u);
	out[at] = '\0';
}

static void data(FILE *s, unsigned n)
{
	static char text[BODY_MAX];
	size_t len = body(n, text, sizeof(text));
	char at[256];

	domain_of(n, at);
	fprintf(s,
		"From: <%s>\r\nTo: <r%u.0.%s@%s>\r\nSubject: test %s-%u\r\nMessage-ID: <%s-%u@flood.example>\r\n"
		"X-Test-Id: %s-%u\r\nX-Test-Sum: %016llx\r\n%s%s\r\n",
		opt.sender, n, opt.id, at, opt.id, n, opt.id, n, opt.id, n, (unsigned long long)fnv(text, len),
		opt.header ? opt.header : "", opt.header ? "\r\n" : "");
	for (char *p = text, *lf; p < text + len; p = lf + 1) {
		lf = memchr(p, '\n', (size_t)(text + len - p));
		if (*p == '.')
			putc('.', s);
		fwrite(p, 1, (size_t)(lf + 1 - p), s);
	}
	fputs(".\r\n", s);
	fflush(s);
}

enum outcome { ACCEPTED, REFUSED, UNSURE };

static enum outcome submit(FILE *s, unsigned n, char line[512])
{
	char at[256];

	domain_of(n, at);
	fprintf(s, "MAIL FROM:<%s>\r\n", opt.sender);
	fflush(s);
	if (!expect(s, '2', line))
		return REFUSED;
	for (unsigned k = 0; k < opt.recipients; k++) {
		fprintf(s, "RCPT TO:<r%u.%u.%s@%s>\r\n", n, k, opt.id, at);
		fflush(s);
		if (!expect(s, '2', line))
			return REFUSED;
	}
	fprintf(s, "DATA\r\n");
	fflush(s);
	if (!expect(s, '3', line))
		return REFUSED;
	data(s, n);
	if (!reply(s, line))
		return UNSURE;
	return line[0] == '2' ? ACCEPTED : REFUSED;
}

/* Message n leaves at n / rate: the whole run is bounded, however many sessions share it. */
static void pace(unsigned n)
{
	struct timespec t = started;
	uint64_t ns;

	if (opt.rate == 0)
		return;
	ns = (uint64_t)n * 1000000000u / opt.rate + (uint64_t)t.tv_nsec;
	t.tv_sec += (time_t)(ns / 1000000000u);
	t.tv_nsec = (long)(ns % 1000000000u);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static void session(void)
{
	static char line[512] = "no connection";
	FILE *s = NULL;
	unsigned n;

	while ((n = __atomic_fetch_add(&shared->next, 1, __ATOMIC_RELAXED)) < opt.count) {
		enum outcome o = REFUSED;

		pace(n);
		for (int tries = 0; s == NULL && tries < 50; tries++)
			if ((s = dial(line)) == NULL)
				usleep(100000);
		if (s != NULL)
			o = submit(s, n, line);
		if (o == ACCEPTED) {
			__atomic_fetch_add(&shared->accepted, 1, __ATOMIC_RELAXED);
			continue;
		}
		if (o == UNSURE)
			printf("unsure %s-%u\n", opt.id, n);
		else
			printf("refused %s-%u %s\n", opt.id, n, line);
		fflush(stdout);
		if (s != NULL)
			fclose(s);
		s = NULL;
	}
	if (s != NULL) {
		fprintf(s, "QUIT\r\n");
		fflush(s);
		(void)reply(s, line);
	}
	_exit(0);
}

static bool options(int argc, char **argv)
{
	static const struct {
		struct option o;
		const char **text;
		unsigned *number;
	} rows[] = {
		{ { "login", 1, NULL, 1 }, &opt.login, NULL },	   { { "password", 1, NULL, 1 }, &opt.password, NULL },
		{ { "sender", 1, NULL, 1 }, &opt.sender, NULL },   { { "domain", 1, NULL, 1 }, &opt.domain, NULL },
		{ { "from", 1, NULL, 1 }, &opt.from, NULL },	   { { "header", 1, NULL, 1 }, &opt.header, NULL },
		{ { "id", 1, NULL, 1 }, &opt.id, NULL },	   { { "port", 1, NULL, 1 }, NULL, &opt.port },
		{ { "count", 1, NULL, 1 }, NULL, &opt.count },	   { { "sessions", 1, NULL, 1 }, NULL, &opt.sessions },
		{ { "size", 1, NULL, 1 }, NULL, &opt.size },	   { { "recipients", 1, NULL, 1 }, NULL, &opt.recipients },
		{ { "rate", 1, NULL, 1 }, NULL, &opt.rate },
	};
	struct option all[sizeof(rows) / sizeof(rows[0]) + 1];
	int at;

	memset(all, 0, sizeof(all));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		all[i] = rows[i].o;
	while (getopt_long(argc, argv, "", all, &at) == 1) {
		if (rows[at].text != NULL)
			*rows[at].text = optarg;
		else
			*rows[at].number = (unsigned)strtoul(optarg, NULL, 10);
	}
	return optind == argc && opt.id != NULL && opt.port != 0 && opt.sessions != 0;
}

int main(int argc, char **argv)
{
	if (!options(argc, argv)) {
		fprintf(stderr, "usage: flood --port N --id PREFIX [options, see flood.c]\n");
		return 64;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGPIPE, SIG_IGN);
	clock_gettime(CLOCK_MONOTONIC, &started);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		return 1;
	for (unsigned i = 0; i < opt.sessions; i++) {
		pid_t pid = fork();

		if (pid < 0)
			perror("fork"); /* fewer sessions, the same messages */
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			session();
		}
	}
	while (wait(NULL) > 0)
		;
	printf("accepted %u\n", shared->accepted);
	return shared->next >= opt.count ? 0 : 1;
}
