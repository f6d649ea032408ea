/* spoolward.c - the command line: asks the daemon, or does the same work itself when none runs.
 *
 * One path for answers: a record of the socket and a row of a command in this process both end
 * in answer(). What is printed goes through render.h; what a message says through review.h. */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/own.h"
#include "base/wire.h"
#include "conf/conf.h"
#include "quarantine/cli.h"
#include "quarantine/command.h"
#include "quarantine/render.h"
#include "quarantine/review.h"
#include "quarantine/store.h"

#define SOCKET_PATH "/run/spoolward/control" /* where the configuration may not be read */
#define PROGRESS_MS 5000
#define PROGRESS_BAR_MS 100
#define STATUS_WAIT_S 10
#define RAW_LINE 8192

struct session {
	struct cli cli;
	struct conf *conf;
	char *mistakes; /* why there is no conf */
	const char *socket;
	struct store *store;
	struct render render;
	struct emit emit;
	bool err_terminal, bar;
	int64_t progress_ms;
	bool counting;  /* rows go to count, the end stays silent */
	json_t *count;
	int end_code;   /* -1: no end yet */
	bool failed_here;
	char line[RAW_LINE]; /* --raw on a terminal: the line that is not whole yet */
	size_t line_n;
};

/* For stderr. Whatever it quotes may come from a mail or from the other side. */
static void say(const char *what, const char *why)
{
	(void)fputs("spoolward: ", stderr);
	render_word(stderr, what);
	if (why != NULL && *why != '\0') {
		(void)fputs(": ", stderr);
		render_word(stderr, why);
	}
	(void)fputc('\n', stderr);
}

static void say_lines(const char *lines)
{
	if (lines != NULL)
		render_text(stderr, slice_str(lines));
}

/* ---- answers ---- */

static void clear_bar(struct session *s)
{
	if (s->bar)
		render_progress_end(stderr, s->err_terminal);
	s->bar = false;
}

static void on_progress(struct session *s, const json_t *progress)
{
	int64_t now = clock_boot_ms(), every = s->err_terminal ? PROGRESS_BAR_MS : PROGRESS_MS;

	if (s->progress_ms != 0 && now - s->progress_ms < every)
		return;
	/* The first report is never a line of its own in a log: the work may be over in a moment. */
	if (s->progress_ms != 0 || s->err_terminal)
		render_progress(stderr, progress, s->err_terminal);
	s->bar = s->err_terminal;
	s->progress_ms = now;
}

static void on_failed(struct session *s, const json_t *failed)
{
	clear_bar(s);
	say(member_text(failed, "id"), member_text(failed, "why"));
	if (s->cli.json) {
		json_t *row =
			json_pack("{s:s, s:s}", "id", member_text(failed, "id"), "failed", member_text(failed, "why"));
		render_json(stdout, row, RENDER_PLAIN);
		json_decref(row);
	}
}

static void sum_up(struct session *s, const json_t *end)
{
	char done[RENDER_NUMBER], failed[RENDER_NUMBER], bytes[RENDER_NUMBER];

	render_count(done, member_number(end, "done"));
	render_count(failed, member_number(end, "failed"));
	render_size(bytes, member_number(end, "bytes"));
	(void)printf("%s %s message%s", s->cli.command->verb, done, member_number(end, "done") == 1 ? "" : "s");
	if (member_number(end, "bytes") > 0)
		(void)printf(" (%s)", bytes);
	(void)printf(", %s failed\n", failed);
}

static void on_end(struct session *s, const json_t *end)
{
	const struct cli_command *k = s->cli.command;
	const char *message = member_text(end, "message");

	clear_bar(s);
	s->end_code = (int)member_number(end, "code");
	if (s->counting)
		return;
	render_end(&s->render);
	bool did = s->end_code == CODE_DONE || s->end_code == CODE_PARTLY;
	if (s->cli.json && k->verb != NULL) {
		json_t *row = json_pack("{s:s, s:i, s:I, s:I, s:I, s:s}", "command", k->name, "code", s->end_code,
					"done", (json_int_t)member_number(end, "done"), "failed",
					(json_int_t)member_number(end, "failed"), "bytes",
					(json_int_t)member_number(end, "bytes"), "message", message);
		render_json(stdout, row, RENDER_PLAIN);
		json_decref(row);
	} else if (k->must_select && did) {
		sum_up(s, end);
	} else if (k->verb != NULL && did) {
		(void)printf("%s ", k->verb);
		render_word(stdout, s->cli.word);
		(void)putchar('\n');
	}
	(void)fflush(stdout);
	if (*message == '\0')
		message = s->end_code == CODE_NOTHING  ? "nothing matched"
			  : s->end_code == CODE_DENIED ? "not permitted"
						       : "";
	if (*message != '\0' && s->end_code == CODE_DONE && !s->cli.json) {
		render_text(stdout, slice_str(message));
	} else if (*message != '\0' && !(s->cli.json && s->end_code == CODE_DONE)) {
		say(message, NULL);
	}
}

/* ---- show of a message ---- */

static int raw_put(void *arg, struct slice piece)
{
	struct session *s = arg;

	if (!s->render.terminal) {
		(void)fwrite(piece.p, 1, piece.n, stdout);
		return ferror(stdout);
	}
	for (size_t i = 0; i < piece.n; i++) {
		s->line[s->line_n++] = piece.p[i];
		if (piece.p[i] == '\n' || s->line_n == sizeof s->line) {
			render_text(stdout, (struct slice){ s->line, s->line_n });
			s->line_n = 0;
		}
	}
	return ferror(stdout);
}

static int show_raw(struct session *s, int fd, const struct spool_format *format, struct err *e)
{
	if (s->render.terminal)
		say("escaped for the terminal; redirect to a file for the bytes themselves", NULL);
	int rc = review_raw(fd, format, raw_put, s, e);
	if (s->line_n > 0)
		render_text(stdout, (struct slice){ s->line, s->line_n });
	s->line_n = 0;
	return rc;
}

/* What the file itself says goes into the row, or the bytes straight out. */
static int read_message(struct session *s, json_t *row, int fd, struct err *e)
{
	const struct spool_format *format = spool_format_find(slice_str(member_text(row, "format")));

	if (format == NULL)
		return err_set(e, ERR_CONFIG, "the message is of a format that is not known here");
	if (s->cli.raw)
		return show_raw(s, fd, format, e);
	json_t *mail = review_mail(fd, format, e);
	return mail != NULL ? json_object_set_new(row, "mail", mail) : -1;
}

/* The row alone is better than nothing: what was released or purged has no file any more. */
static void show_message(struct session *s, json_t *row, int fd)
{
	struct err e = { 0 };
	int rc = 0;

	if (fd >= 0)
		rc = read_message(s, row, fd, &e);
	else
		(void)err_set(&e, ERR_GONE, "it is not in the quarantine, only its record is left");
	if (rc != 0 || (fd < 0 && s->cli.raw))
		s->failed_here = true;
	if (s->cli.json && json_object_get(row, "mail") == NULL)
		(void)json_object_set_new(row, "mail", json_null());
	if (!s->cli.raw)
		render_row(&s->render, row);
	(void)fflush(stdout);
	if (e.text[0] != '\0')
		say(member_text(row, "id"), e.text);
}

/* ---- one request ---- */

static void on_row(struct session *s, json_t *row, int fd)
{
	if (s->counting) {
		json_decref(s->count);
		s->count = json_incref(row);
	} else if (s->cli.message && s->cli.command->id == CLI_SHOW) {
		show_message(s, row, fd);
	} else {
		clear_bar(s);
		render_row(&s->render, row);
	}
}

/* -1: whoever reads our output is gone. */
static int answer(struct session *s, json_t *record, int fd)
{
	json_t *v;

	if ((v = json_object_get(record, "row")) != NULL)
		on_row(s, v, fd);
	else if ((v = json_object_get(record, "progress")) != NULL)
		on_progress(s, v);
	else if ((v = json_object_get(record, "failed")) != NULL)
		on_failed(s, v);
	else if ((v = json_object_get(record, "end")) != NULL)
		on_end(s, v);
	return ferror(stdout) ? -1 : 0;
}

static int here_put(struct emit *emit, json_t *record, int fd)
{
	int rc = answer(emit->arg, record, fd);

	json_decref(record);
	return rc;
}

static const char *terminal_name(void)
{
	const char *name = ttyname(STDIN_FILENO);

	return name ? name : "";
}

static int dial(const char *path, struct err *e)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	own_fd fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return err_sys(e, "make a socket");
	if (strlen(path) >= sizeof to.sun_path)
		return err_set(e, ERR_CONFIG, "%s: too long for the path of a socket", path);
	memcpy(to.sun_path, path, strlen(path) + 1);
	if (connect(fd, (const struct sockaddr *)&to, sizeof to) != 0)
		return err_sys(e, "connect to %s", path);
	return give_fd(&fd);
}

static bool nobody_there(const struct err *e)
{
	return e->sys == ENOENT || e->sys == ECONNREFUSED || e->sys == ENOTDIR;
}

static int send_request(int fd, const char *command, json_t *args)
{
	json_t *request = json_pack("{s:s, s:O, s:s}", "command", command, "args", args, "tty", terminal_name());
	own_mem char *text = request ? json_dumps(request, JSON_COMPACT) : NULL;
	int rc = -1;

	json_decref(request);
	if (text == NULL)
		say("out of memory", NULL);
	else if (strlen(text) > COMMAND_RECORD)
		say("too many words for one request; select by incident or origin instead", NULL);
	else if (wire_send(fd, text, strlen(text), NULL, 0) != 0)
		say("send the request", strerrordesc_np(errno));
	else
		rc = 0;
	return rc;
}

/* One record; 1: go on, 0: that was the end, -1: it went wrong and is said. */
static int receive(struct session *s, int fd, char *room)
{
	size_t nfds = 0;
	int got_fd = -1;
	ssize_t n = wire_recv(fd, room, COMMAND_RECORD, &got_fd, 1, &nfds);
	own_fd file = nfds > 0 ? got_fd : -1;

	if (n <= 0) {
		clear_bar(s);
		render_end(&s->render);
		say(n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? "the daemon runs but does not answer"
								       : "the daemon broke off before the end",
		    n < 0 ? strerrordesc_np(errno) : NULL);
		return -1;
	}
	json_t *record = json_loadb(room, (size_t)n, JSON_ALLOW_NUL, NULL);
	if (!json_is_object(record)) {
		json_decref(record);
		say("the daemon's answer makes no sense", NULL);
		return -1;
	}
	int rc = answer(s, record, file);
	json_decref(record);
	return s->end_code >= 0 ? 0 : rc != 0 ? -1 : 1;
}

static int ask_daemon(struct session *s, int fd, const char *command, json_t *args)
{
	own_mem char *room = malloc(COMMAND_RECORD);
	const struct timeval patience = { .tv_sec = STATUS_WAIT_S };
	int rc = 1;

	if (room == NULL || send_request(fd, command, args) != 0)
		return CODE_PARTLY;
	if (s->cli.command->id == CLI_STATUS)
		(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	while (rc > 0)
		rc = receive(s, fd, room);
	return rc == 0 ? s->end_code : CODE_PARTLY;
}

/* ---- without the daemon ---- */

static void say_one(const char *text)
{
	say(text, NULL);
}

/* Spools are brought up (and what a crash left is mended) only where something is to change. */
static int open_store(struct session *s)
{
	const struct cli_command *k = s->cli.command;
	struct err e;

	if (s->conf == NULL) {
		say("the daemon is not running, and without its configuration nothing can be done here", NULL);
		say_lines(s->mistakes);
		return CODE_NOT_RUNNING;
	}
	if (store_open(s->conf, &s->store, &e) == 0) {
		if (k->verb != NULL) {
			say("the daemon is not running; doing the work here", NULL);
			log_open("spoolward", 0, LOG_LEVEL_NOTICE); /* what changes is known to syslog too */
		}
		if (k->verb != NULL || k->id == CLI_FSCK)
			store_up(s->store, say_one);
		return CODE_DONE;
	}
	if (e.kind == ERR_EXISTS) {
		say("the daemon does not answer, but another process has the store", e.text);
		return CODE_NOT_RUNNING;
	}
	say("the daemon is not running, and the store cannot be opened here", e.text);
	return e.kind == ERR_DENIED ? CODE_DENIED : CODE_NOT_RUNNING;
}

static int ask_here(struct session *s, const char *name, json_t *args)
{
	const struct command *command = command_find(name);
	const struct passwd *pw = getpwuid(getuid());
	struct caller caller = { .uid = getuid(), .pid = getpid() };

	if (command == NULL) {
		say("no such command", name);
		return CODE_USAGE;
	}
	int code = s->store == NULL ? open_store(s) : CODE_DONE;
	if (code != CODE_DONE)
		return code;
	if (pw != NULL)
		(void)snprintf(caller.who, sizeof caller.who, "%s", pw->pw_name);
	else
		(void)snprintf(caller.who, sizeof caller.who, "%lu", (unsigned long)caller.uid);
	(void)snprintf(caller.tty, sizeof caller.tty, "%s", terminal_name());
	return command_run(command, s->store, &caller, args, &s->emit);
}

static int not_running(struct session *s)
{
	if (s->cli.json)
		(void)puts("{\"running\":false}");
	else
		(void)puts("not running");
	return CODE_NOT_RUNNING;
}

static int ask(struct session *s, const char *command, json_t *args)
{
	struct err e;
	own_fd fd = s->store != NULL ? -1 : dial(s->socket, &e);

	s->end_code = -1;
	s->progress_ms = 0;
	if (fd >= 0)
		return ask_daemon(s, fd, command, args);
	if (s->store == NULL && !nobody_there(&e)) {
		say(e.text, NULL);
		return e.kind == ERR_DENIED ? CODE_DENIED : CODE_NOT_RUNNING;
	}
	if (s->cli.command->id == CLI_STATUS)
		return not_running(s);
	return ask_here(s, command, args);
}

/* ---- commands ---- */

static bool answer_is_yes(void)
{
	char text[16] = "";

	if (fgets(text, sizeof text, stdin) == NULL)
		return false;
	struct slice word = slice_trim(slice_str(text));
	return slice_ieq(word, SLICE("y")) || slice_ieq(word, SLICE("yes"));
}

static bool confirmed(const json_t *count)
{
	char messages[RENDER_NUMBER], bytes[RENDER_NUMBER], origins[RENDER_NUMBER];

	render_count(messages, member_number(count, "messages"));
	render_size(bytes, member_number(count, "bytes"));
	render_count(origins, member_number(count, "origins"));
	(void)fprintf(stderr, "Purge %s message%s (%s) of %s origin%s for ever? [y/N] ", messages,
		      member_number(count, "messages") == 1 ? "" : "s", bytes, origins,
		      member_number(count, "origins") == 1 ? "" : "s");
	(void)fflush(stderr);
	return answer_is_yes();
}

/* 0: go on. What is purged is gone: without a person or --yes nothing is. */
static int confirm(struct session *s)
{
	json_t *args;

	if (s->cli.command->id != CLI_PURGE || s->cli.yes)
		return CODE_DONE;
	args = json_copy(s->cli.args);
	(void)json_object_set_new(args, "for", json_string("purge"));
	s->counting = true;
	int code = ask(s, "count", args);
	s->counting = false;
	json_decref(args);
	if (code == CODE_NOTHING || (code == CODE_DONE && member_number(s->count, "messages") == 0)) {
		say("nothing matched", NULL);
		return CODE_NOTHING;
	}
	if (code != CODE_DONE) {
		say(code == CODE_DENIED ? "not permitted" : "the messages could not be counted", NULL);
		return code;
	}
	if (confirmed(s->count)) { /* and nothing that came while the question stood */
		(void)json_object_set_new(s->cli.args, "last", json_integer(member_number(s->count, "last")));
		return CODE_DONE;
	}
	say("nothing was purged", NULL);
	return CODE_PARTLY;
}

static void check_summary(const struct conf *c, FILE *out)
{
	render_word(out, c->file);
	(void)fprintf(out, ": ok\n  mode %s, %zu spool%s, %zu rule%s, %zu override%s\n", mode_names[c->mode],
		      c->nspools, c->nspools == 1 ? "" : "s", c->nrules, c->nrules == 1 ? "" : "s", c->noverrides,
		      c->noverrides == 1 ? "" : "s");
	for (size_t i = 0; i < c->nspools; i++) {
		(void)fputs("  spool ", out);
		render_word(out, c->spools[i].name);
		(void)fprintf(out, ": %s, ", c->spools[i].format->name);
		render_word(out, c->spools[i].path ? c->spools[i].path : "path as the mail server says");
		(void)fputc('\n', out);
	}
}

static void check_json(const char *path, const struct conf *c, const char *mistakes)
{
	struct slice rest = slice_str(mistakes), line;
	json_t *list = json_array();

	while (slice_line(&rest, &line))
		(void)json_array_append_new(list, json_stringn_nocheck(line.p, line.n));
	json_t *row = json_pack("{s:b, s:o}", "ok", c != NULL, "mistakes", list);
	(void)json_object_set_new_nocheck(row, "file", json_string_nocheck(path));
	if (c != NULL) {
		(void)json_object_set_new(row, "mode", json_string(mode_names[c->mode]));
		(void)json_object_set_new(row, "spools", json_integer((json_int_t)c->nspools));
		(void)json_object_set_new(row, "rules", json_integer((json_int_t)c->nrules));
		(void)json_object_set_new(row, "overrides", json_integer((json_int_t)c->noverrides));
	}
	render_json(stdout, row, RENDER_PLAIN);
	json_decref(row);
}

static int check_config(const struct cli *cli)
{
	const char *path = cli->word ? cli->word : cli->conf ? cli->conf : CONF_PATH;
	own_mem char *mistakes = NULL;
	struct conf *conf = NULL;
	int rc = conf_load(path, &conf, &mistakes);

	if (cli->json)
		check_json(path, rc == 0 ? conf : NULL, mistakes);
	else if (rc == 0)
		check_summary(conf, stdout);
	else
		say_lines(mistakes);
	conf_free(conf);
	return rc == 0 ? CODE_DONE : CODE_CONFIG;
}

static int help(const struct cli *cli)
{
	const struct cli_command *k;
	struct err e;

	if (cli->names) {
		cli_help_names(stdout);
		return CODE_DONE;
	}
	if (cli->word == NULL) {
		cli_help(stdout);
		return CODE_DONE;
	}
	k = cli_command_find(cli->word, &e);
	if (k == NULL) {
		(void)fprintf(stderr, "spoolward: %s\n", e.text);
		return CODE_USAGE;
	}
	cli_help_command(stdout, k);
	return CODE_DONE;
}

/* The socket to ask, and what a missing daemon would need. 0, or an exit code. */
static int configure(struct session *s)
{
	const char *path = s->cli.conf ? s->cli.conf : CONF_PATH;

	if (conf_load(path, &s->conf, &s->mistakes) == 0) {
		s->socket = s->cli.socket ? s->cli.socket : s->conf->socket;
		return CODE_DONE;
	}
	bool hidden = access(path, R_OK) != 0 && errno == EACCES;
	if (s->cli.socket != NULL || (hidden && s->cli.conf == NULL)) {
		/* A viewer need not read the configuration, and the daemon may run on when it is broken. */
		s->socket = s->cli.socket ? s->cli.socket : SOCKET_PATH;
		return CODE_DONE;
	}
	say_lines(s->mistakes);
	return hidden ? CODE_DENIED : CODE_CONFIG;
}

static int run(struct session *s)
{
	const struct cli_command *k = s->cli.command;
	int code;

	if (k->id == CLI_PURGE && !s->cli.yes && (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO))) {
		say("purge asks before it destroys, and there is no terminal; add --yes", NULL);
		return CODE_USAGE;
	}
	code = configure(s);
	if (code == CODE_DONE)
		code = confirm(s);
	if (code != CODE_DONE)
		return code;
	code = ask(s, k->name, s->cli.args);
	render_end(&s->render);
	return code == CODE_DONE && s->failed_here ? CODE_PARTLY : code;
}

static void look_around(struct session *s)
{
	struct winsize w = { 0 };
	bool terminal = isatty(STDOUT_FILENO),
	     wide = terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0;
	const char *no_color = getenv("NO_COLOR");

	s->err_terminal = isatty(STDERR_FILENO);
	s->emit = (struct emit){ here_put, s };
	s->render = (struct render){
		.out = stdout,
		.json = s->cli.json,
		.terminal = terminal,
		.bold = terminal && !(no_color != NULL && *no_color != '\0') && !s->cli.json,
		.page = s->cli.command->id == CLI_SHOW,
		.width = wide ? w.ws_col : 80,
		.kind = s->cli.message ? RENDER_MESSAGE : s->cli.command->rows,
	};
}

static void close_session(struct session *s)
{
	if (s->store != NULL)
		store_close(s->store);
	conf_free(s->conf);
	free(s->mistakes);
	json_decref(s->count);
	cli_free(&s->cli);
}

/* Widths of characters are known only in a UTF-8 locale; text is UTF-8 in every one. */
static void set_locale(void)
{
	if (setlocale(LC_CTYPE, "") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
		(void)setlocale(LC_CTYPE, "C.UTF-8");
}

static int dispatch(struct session *s)
{
	switch (s->cli.command->id) {
	case CLI_VERSION:
		(void)printf("spoolward %s\n", VERSION);
		return CODE_DONE;
	case CLI_HELP:
		return help(&s->cli);
	case CLI_CHECK:
		return check_config(&s->cli);
	default:
		look_around(s);
		return run(s);
	}
}

int main(int argc, char *argv[])
{
	static struct session s;
	struct err e = { 0 };
	int code = CODE_USAGE;

	set_locale();
	log_open("spoolward", 1, LOG_LEVEL_WARN);
	(void)signal(SIGPIPE, SIG_IGN); /* "| head" must not kill a release half way */
	if (cli_parse(argc, argv, &s.cli, &e) == 0)
		code = dispatch(&s);
	else
		(void)fprintf(stderr, "spoolward: %s\n", e.text);
	close_session(&s);
	if (fflush(stdout) != 0 && errno != EPIPE && code == CODE_DONE)
		code = CODE_PARTLY;
	return code;
}
