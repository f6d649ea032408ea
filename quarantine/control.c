#include "quarantine/control.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/log.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/wire.h"
#include "quarantine/command.h"

#define REQUEST_WAIT_S 10
#define SEND_WAIT_S 60
#define GROUP_ROOM 65536 /* a group of thousands */

struct control {
	int fd, stop[2]; /* a byte in stop ends the accepting thread */
	char *path;
	gid_t group, operators;
	bool has_group, has_operators;
	struct store *store;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned clients;
};

struct client {
	struct control *control;
	int fd;
	struct caller caller;
	gid_t gid;
	struct emit emit;
};

static bool group_find(const char *name, gid_t *out)
{
	const struct group *g = name[0] != '\0' ? getgrnam(name) : NULL;

	if (g != NULL)
		*out = g->gr_gid;
	return g != NULL;
}

/* A socket that somebody answers on is another daemon's: leave it. */
static int clear_socket(const struct sockaddr_un *at, struct err *e)
{
	own_fd probe = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (probe >= 0 && connect(probe, (const struct sockaddr *)at, sizeof *at) == 0)
		return err_set(e, ERR_EXISTS, "%s is in use", at->sun_path);
	if (sys_unlink(AT_FDCWD, at->sun_path) != 0 && errno != ENOENT)
		return err_sys(e, "remove %s", at->sun_path);
	return 0;
}

static int bind_socket(struct control *c, struct err *e)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };

	if (slice_text(at.sun_path, sizeof at.sun_path, slice_str(c->path)) != strlen(c->path))
		return err_set(e, ERR_CONFIG, "socket: %s is too long", c->path);
	if (clear_socket(&at, e) != 0)
		return -1;
	c->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->fd < 0)
		return err_sys(e, "make the control socket");
	/* nobody else can connect between bind and chown: the mode is 0600 from the start */
	mode_t old = umask(0177);
	int rc = bind(c->fd, (const struct sockaddr *)&at, sizeof at);
	(void)umask(old);
	if (rc != 0)
		return err_sys(e, "bind %s", c->path);
	if (c->has_group && geteuid() == 0 && sys_share(c->path, c->group, 0660) != 0)
		return err_sys(e, "give %s to its group", c->path);
	if (listen(c->fd, CONTROL_CLIENTS) != 0)
		return err_sys(e, "listen on %s", c->path);
	return 0;
}

int control_open(const struct conf *conf, struct control **out, struct err *e)
{
	struct control *c = calloc(1, sizeof *c);

	*out = NULL;
	if (c == NULL || (c->path = strdup(conf->socket)) == NULL) {
		free(c);
		return err_sys(e, "open the control socket");
	}
	c->fd = c->stop[0] = c->stop[1] = -1;
	c->has_group = group_find(conf->group, &c->group);
	c->has_operators = group_find(conf->operators, &c->operators);
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_cond_init(&c->idle, NULL);
	if (pipe2(c->stop, O_CLOEXEC) != 0 || bind_socket(c, e) != 0) {
		(void)control_stop(c);
		return -1;
	}
	*out = c;
	return 0;
}

static int send_answer(struct emit *emit, json_t *answer, int fd)
{
	struct client *c = emit->arg;
	own_mem char *text = json_dumps(answer, JSON_COMPACT);
	size_t n = text ? strlen(text) : 0;

	json_decref(answer);
	if (text == NULL || n > COMMAND_RECORD)
		return -1;
	return wire_send(c->fd, text, n, &fd, fd >= 0 ? 1 : 0);
}

static void send_end(struct client *c, int code, const char *message)
{
	(void)send_answer(&c->emit,
			  json_pack("{s:{s:i,s:i,s:i,s:i,s:s}}", "end", "code", code, "done", 0, "failed", 0, "bytes", 0,
				    "message", message),
			  -1);
}

/* Is the peer in this group? Its own group, or one of the group's members by name. */
static bool member(const struct client *c, gid_t group)
{
	struct group g, *found = NULL;
	own_mem char *room = malloc(GROUP_ROOM);

	if (c->gid == group)
		return true;
	if (room == NULL || getgrgid_r(group, &g, room, GROUP_ROOM, &found) != 0 || found == NULL)
		return false;
	for (char **name = g.gr_mem; *name != NULL; name++)
		if (strcmp(*name, c->caller.who) == 0)
			return true;
	return false;
}

static bool allowed(const struct client *c, const struct command *command)
{
	const struct control *k = c->control;

	if (c->caller.uid == 0 || c->caller.uid == geteuid())
		return true;
	if (k->has_operators && member(c, k->operators))
		return true;
	return command->role == ROLE_VIEWER && k->has_group && member(c, k->group);
}

static void serve(struct client *c, const char *text, size_t n)
{
	json_error_t why;
	json_t *request = json_loadb(text, n, JSON_REJECT_DUPLICATES, &why);
	const char *name = json_string_value(json_object_get(request, "command"));
	const char *tty = json_string_value(json_object_get(request, "tty"));
	json_t *args = json_object_get(request, "args");
	const struct command *command = name ? command_find(name) : NULL;

	(void)slice_text(c->caller.tty, sizeof c->caller.tty, slice_str(tty ? tty : ""));
	if (command == NULL) {
		send_end(c, CODE_USAGE, "no such command");
	} else if (!allowed(c, command)) {
		log_warn("action=%s who=\"%s\" uid=%u refused: not permitted", name, c->caller.who, (unsigned)c->caller.uid);
		send_end(c, CODE_DENIED, "not permitted");
	} else {
		(void)command_run(command, c->control->store, &c->caller, json_is_object(args) ? args : NULL, &c->emit);
	}
	json_decref(request);
}

static void *client_main(void *arg)
{
	struct client *c = arg;
	own_mem char *text = malloc(COMMAND_RECORD);
	struct timeval wait = { REQUEST_WAIT_S, 0 }, out = { SEND_WAIT_S, 0 };
	ssize_t n = -1;

	c->emit = (struct emit){ send_answer, c };
	(void)setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	(void)setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &out, sizeof out);
	/* one connection may ask several times: count, then purge */
	while (text != NULL && (n = wire_recv(c->fd, text, COMMAND_RECORD, NULL, 0, NULL)) > 0)
		serve(c, text, (size_t)n);
	(void)close(c->fd);
	(void)pthread_mutex_lock(&c->control->lock);
	c->control->clients--;
	(void)pthread_cond_signal(&c->control->idle);
	(void)pthread_mutex_unlock(&c->control->lock);
	free(c);
	return NULL;
}

static void welcome(struct control *k, int fd)
{
	struct client *c = calloc(1, sizeof *c);
	struct ucred peer;
	socklen_t n = sizeof peer;
	pthread_t thread;
	pthread_attr_t attr;

	(void)pthread_mutex_lock(&k->lock);
	bool room = k->clients < CONTROL_CLIENTS;
	k->clients += room;
	(void)pthread_mutex_unlock(&k->lock);
	if (c != NULL && room && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0) {
		const struct passwd *pw = getpwuid(peer.uid);
		c->control = k;
		c->fd = fd;
		c->gid = peer.gid;
		c->caller.uid = peer.uid;
		c->caller.pid = peer.pid;
		if (pw != NULL)
			(void)slice_text(c->caller.who, sizeof c->caller.who, slice_str(pw->pw_name));
		else
			(void)snprintf(c->caller.who, sizeof c->caller.who, "%u", (unsigned)peer.uid);
		(void)pthread_attr_init(&attr);
		(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
		(void)pthread_attr_setstacksize(&attr, 1 << 20);
		int rc = pthread_create(&thread, &attr, client_main, c);
		(void)pthread_attr_destroy(&attr);
		if (rc == 0)
			return;
	}
	(void)pthread_mutex_lock(&k->lock);
	k->clients -= room;
	(void)pthread_mutex_unlock(&k->lock);
	(void)close(fd);
	free(c);
}

static void *accept_main(void *arg)
{
	struct control *c = arg;
	struct pollfd wait[2] = { { .fd = c->fd, .events = POLLIN }, { .fd = c->stop[0], .events = POLLIN } };

	for (;;) {
		if (poll(wait, 2, -1) < 0 && errno != EINTR)
			break;
		if (wait[1].revents != 0)
			break;
		int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);
		if (fd >= 0)
			welcome(c, fd);
		else if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
			(void)poll(NULL, 0, 100); /* no descriptors: a pause instead of a spin */
	}
	return NULL;
}

int control_start(struct control *c, struct store *s, struct err *e)
{
	c->store = s;
	errno = pthread_create(&c->thread, NULL, accept_main, c);
	if (errno != 0)
		return err_sys(e, "start the control thread");
	c->started = true;
	return 0;
}

bool control_stop(struct control *c)
{
	struct timespec until;

	if (c == NULL)
		return true;
	if (c->started) {
		(void)sys_write(c->stop[1], "", 1);
		(void)pthread_join(c->thread, NULL);
		(void)clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += 5;
		(void)pthread_mutex_lock(&c->lock);
		while (c->clients > 0 && pthread_cond_timedwait(&c->idle, &c->lock, &until) == 0)
			;
		(void)pthread_mutex_unlock(&c->lock);
	}
	if (c->fd >= 0) {
		(void)close(c->fd);
		(void)sys_unlink(AT_FDCWD, c->path);
	}
	if (c->stop[0] >= 0)
		(void)close(c->stop[0]);
	if (c->stop[1] >= 0)
		(void)close(c->stop[1]);
	/* a client that is still at work keeps c: the process ends now, and recovery finishes what it began */
	bool idle = c->clients == 0;
	if (idle) {
		free(c->path);
		free(c);
	}
	return idle;
}
