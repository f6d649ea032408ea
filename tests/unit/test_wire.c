/* Facts about records between roles. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/slice.h"
#include "base/wire.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))

static int sv[2];

static int open_pair(void **state)
{
	(void)state;
	return wire_pair(sv);
}

static int close_pair(void **state)
{
	(void)state;
	(void)close(sv[0]);
	(void)close(sv[1]);
	return 0;
}

static size_t open_fds(void)
{
	size_t n = 0;

	for (int fd = 0; fd < 300; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void borders_are_kept(void **state)
{
	char buf[64];

	(void)state;
	assert_int_equal(wire_send(sv[0], "abc", 3, NULL, 0), 0);
	assert_int_equal(wire_send(sv[0], "de", 2, NULL, 0), 0);
	assert_int_equal(wire_recv(sv[1], buf, sizeof buf, NULL, 0, NULL), 3);
	assert_memory_equal(buf, "abc", 3);
	assert_int_equal(wire_recv(sv[1], buf, sizeof buf, NULL, 0, NULL), 2);
	assert_memory_equal(buf, "de", 2);
}

static void descriptor_rows(void **state)
{
	static const struct { const char *what; size_t sent, asked, got; } rows[] = {
		{ "none", 0, 4, 0 },
		{ "one", 1, 4, 1 },
		{ "as many as asked", 4, 4, 4 },
		{ "too many: the rest is closed", 9, 4, 4 },
		{ "none was asked for: all are closed", 3, 0, 0 },
		{ "the most", WIRE_FDS_MAX, WIRE_FDS_MAX, WIRE_FDS_MAX },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		int out[WIRE_FDS_MAX], in[WIRE_FDS_MAX];
		char buf[8];
		size_t got = 99, before = open_fds();
		print_message("  %s\n", rows[i].what);
		for (size_t k = 0; k < rows[i].sent; k++)
			out[k] = STDERR_FILENO;
		assert_int_equal(wire_send(sv[0], "x", 1, out, rows[i].sent), 0);
		assert_int_equal(wire_recv(sv[1], buf, sizeof buf, in, rows[i].asked, &got), 1);
		assert_int_equal(got, rows[i].got);
		assert_int_equal(open_fds(), before + got);
		for (size_t k = 0; k < got; k++) {
			assert_int_equal(fcntl(in[k], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
			(void)close(in[k]);
		}
	}
}

/* A record that is longer than the receiver knows breaks the rules: nothing of it is kept. */
static void too_long(void **state)
{
	char big[100] = { 0 }, buf[10];
	int out[2] = { STDERR_FILENO, STDERR_FILENO }, in[2];
	size_t n = 9, before = open_fds();

	(void)state;
	assert_int_equal(wire_send(sv[0], big, sizeof big, out, 2), 0);
	assert_int_equal(wire_recv(sv[1], buf, sizeof buf, in, 2, &n), -1);
	assert_int_equal(errno, EMSGSIZE);
	assert_int_equal(n, 0);
	assert_int_equal(open_fds(), before);
	assert_int_equal(wire_send(sv[0], "ok", 2, NULL, 0), 0); /* the next one is whole */
	assert_int_equal(wire_recv(sv[1], buf, sizeof buf, NULL, 0, NULL), 2);
}

static void too_many_to_send(void **state)
{
	int out[WIRE_FDS_MAX + 1] = { 0 };

	(void)state;
	assert_int_equal(wire_send(sv[0], "x", 1, out, WIRE_FDS_MAX + 1), -1);
	assert_int_equal(errno, EINVAL);
}

static void dead_peer(void **state)
{
	char buf[8];

	(void)state;
	(void)close(sv[1]);
	sv[1] = -1;
	assert_int_equal(wire_send(sv[0], "x", 1, NULL, 0), -1); /* and no signal */
	assert_int_equal(errno, EPIPE);
	assert_int_equal(wire_recv(sv[0], buf, sizeof buf, NULL, 0, NULL), 0);
}

static void not_now(void **state)
{
	char buf[1000] = { 0 };
	unsigned sent = 0;

	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(fcntl(sv[i], F_SETFL, O_NONBLOCK), 0);
	assert_int_equal(wire_recv(sv[1], buf, sizeof buf, NULL, 0, NULL), -1);
	assert_int_equal(errno, EAGAIN);
	while (sent < 100000 && wire_send(sv[0], buf, sizeof buf, NULL, 0) == 0)
		sent++;
	assert_int_equal(errno, EAGAIN);
	assert_in_range(sent, 1, 99999);
	while (sent > 0 && wire_recv(sv[1], buf, sizeof buf, NULL, 0, NULL) == (ssize_t)sizeof buf)
		sent--;
	assert_int_equal(sent, 0); /* each arrived once */
}

static void closed_on_exec(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++)
		assert_int_equal(fcntl(sv[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, open_pair, close_pair)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(borders_are_kept), TEST(descriptor_rows), TEST(too_long), TEST(too_many_to_send),
		TEST(dead_peer),	TEST(not_now),	       TEST(closed_on_exec),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
