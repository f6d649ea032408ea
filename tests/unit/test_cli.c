/* The command line as rows: what is typed, what the command gets, what the person is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/own.h"
#include "quarantine/cli.h"

#define WORDS 12

static int parse(const char *line, struct cli *c, struct err *e, char room[512])
{
	char *argv[WORDS + 1];
	int argc = 0;
	struct slice rest, word;

	(void)snprintf(room, 512, "spoolward %s", line);
	rest = slice_str(room);
	while (argc < WORDS && slice_cut(&rest, ' ', &word)) {
		room[(size_t)(word.p - room) + word.n] = '\0';
		argv[argc++] = room + (word.p - room);
	}
	if (rest.n > 0)
		argv[argc++] = room + (rest.p - room);
	argv[argc] = NULL;
	return cli_parse(argc, argv, c, e);
}

static const struct { const char *line, *command, *args;
} good[] = {
	{ "status", "status", "{}" },
	{ "stat --json", "status", "{}" },
	{ "--json status", "status", "{}" },
	{ "incidents --all", "incidents", "{\"all\": true}" },
	{ "inc", "incidents", "{}" },
	{ "list", "list", "{}" },
	{ "lis --incident 7 --origin login:joe@example.com", "list",
	  "{\"incident\": 7, \"origin\": \"login:joe@example.com\"}" },
	{ "list --sender *@x.org --larger 10K --spool main", "list",
	  "{\"larger\": 10240, \"sender\": \"*@x.org\", \"spool\": \"main\"}" },
	{ "list --sender=*@x.org --since=@17", "list", "{\"sender\": \"*@x.org\", \"since\": 17}" },
	{ "list --before @0", "list", "{\"before\": 0}" },
	{ "list m1 m2", "list", "{\"ids\": [\"m1\", \"m2\"]}" },
	{ "--incident 7 release", "release", "{\"drip\": 0, \"incident\": 7, \"trust\": 0}" },
	{ "release m12 --trust 2h --drip 60/m", "release", "{\"drip\": 60, \"ids\": [\"m12\"], \"trust\": 7200}" },
	{ "release --all --drip 5", "release", "{\"all\": true, \"drip\": 5, \"trust\": 0}" },
	{ "purge --incident 3 --yes", "purge", "{\"incident\": 3}" },
	{ "show 7", "show", "{\"id\": \"7\"}" },
	{ "show m12 --raw", "show", "{\"id\": \"m12\"}" },
	{ "hold login:joe@example.com", "hold", "{\"for\": 0, \"origin\": \"login:joe@example.com\"}" },
	{ "hold uid:1001 --for 1d", "hold", "{\"for\": 86400, \"origin\": \"uid:1001\"}" },
	{ "lift script:1001:/site/form.php", "lift", "{\"origin\": \"script:1001:/site/form.php\"}" },
	{ "trust client:192.0.2.7 --for 90", "trust", "{\"for\": 90, \"origin\": \"client:192.0.2.7\"}" },
	{ "origins", "origins", "{}" },
	{ "log --since @5 -c /etc/x.conf", "log", "{\"since\": 5}" },
	{ "fsck --repair", "fsck", "{\"repair\": true}" },
	{ "check", "check-config", "{}" },
	{ "check-config my.conf", "check-config", "{}" },
	{ "help --names", "help", "{}" },
	{ "help release", "help", "{}" },
	{ "list -- m5", "list", "{\"ids\": [\"m5\"]}" },
};

static void good_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		char room[512];
		struct cli c;
		struct err e = { 0 };
		print_message("  %s\n", good[i].line);
		int rc = parse(good[i].line, &c, &e, room);
		assert_string_equal(rc == 0 ? "" : e.text, "");
		assert_string_equal(c.command->name, good[i].command);
		own_mem char *args = json_dumps(c.args, JSON_SORT_KEYS);
		assert_string_equal(args, good[i].args);
		cli_free(&c);
	}
}

static const struct { const char *line, *says; } bad[] = {
	{ "", "say what to do" },
	{ "frob", "there are: status incidents" },
	{ "l", "could be any of: list lift log" },
	{ "re", "say which" },
	{ "release", "say which" },
	{ "purge --yes", "say which" },
	{ "release 7", "--incident 7" },
	{ "release x12", "m12" },
	{ "list m", "m12" },
	{ "list m12x", "m12" },
	{ "show", "usage: spoolward show" },
	{ "show 7 8", "usage: spoolward show" },
	{ "show joe", "neither an incident" },
	{ "show 7 --raw", "--raw is for a message" },
	{ "show m7 --raw --json", "exclude" },
	{ "status --all", "does not belong" },
	{ "status now", "usage: spoolward status" },
	{ "list --incident", "needs a value" },
	{ "list --incident x", "must be a number" },
	{ "list --incident -1", "must be a number" },
	{ "list --incident 99999999999999999999", "must be a number" },
	{ "list --larger big", "no size" },
	{ "list --since yesterday", "no time" },
	{ "list --origin joe@example.com", "no origin" },
	{ "list --origin login:", "no origin" },
	{ "list --origin LOGIN", "no origin" },
	{ "list --incident 1 --incident 2", "given twice" },
	{ "list --frob", "no such option" },
	{ "list --incid 7", "no such option" },
	{ "list --all=yes", "no such option" },
	{ "list --sender \xff\xfe", "UTF-8" },
	{ "hold joe@example.com", "no origin" },
	{ "hold", "usage: spoolward hold" },
	{ "trust login:joe", "say for how long" },
	{ "trust login:joe --for 0", "no duration" },
	{ "trust login:joe --for soon", "no duration" },
	{ "release --all --drip 0", "no speed" },
	{ "release --all --drip 60/s", "no speed" },
	{ "release --all --yes", "does not belong" },
};

static void bad_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		char room[512];
		struct cli c;
		struct err e = { 0 };
		print_message("  %s\n", bad[i].line);
		int rc = parse(bad[i].line, &c, &e, room);
		assert_int_equal(rc, -1);
		assert_non_null(strstr(e.text, bad[i].says));
		cli_free(&c);
	}
}

static void flags(void **state)
{
	char room[512];
	struct cli c;
	struct err e;

	(void)state;
	assert_int_equal(parse("--socket /s purge -c f --all --yes --json", &c, &e, room), 0);
	assert_string_equal(c.socket, "/s");
	assert_string_equal(c.conf, "f");
	assert_true(c.yes && c.json && !c.raw && !c.message);
	cli_free(&c);
	assert_int_equal(parse("show m3 --raw", &c, &e, room), 0);
	assert_true(c.raw && c.message);
	cli_free(&c);
	assert_int_equal(parse("check-config my.conf", &c, &e, room), 0);
	assert_string_equal(c.word, "my.conf");
	cli_free(&c);
	assert_int_equal(parse("-V", &c, &e, room), 0);
	assert_int_equal(c.command->id, CLI_VERSION);
	cli_free(&c);
	assert_int_equal(parse("purge --help", &c, &e, room), 0);
	assert_int_equal(c.command->id, CLI_HELP);
	assert_string_equal(c.word, "purge");
	cli_free(&c);
}

/* What was typed comes back in the error: it may have been pasted from a mail. */
static void hostile_word(void **state)
{
	char room[512];
	struct cli c;
	struct err e;

	(void)state;
	assert_int_equal(parse("list \033]0;x\007\r\n", &c, &e, room), -1);
	for (const char *p = e.text; *p != '\0'; p++)
		assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
	cli_free(&c);
}

static void ago(void **state)
{
	char room[512];
	struct cli c;
	struct err e;

	(void)state;
	assert_int_equal(parse("list --since 2h --before @100", &c, &e, room), 0);
	int64_t since = json_integer_value(json_object_get(c.args, "since"));
	assert_in_range(clock_real_s() - since, 7200, 7260);
	assert_int_equal(json_integer_value(json_object_get(c.args, "before")), 100);
	cli_free(&c);
}

static void help_names(void **state)
{
	own_mem char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	(void)state;
	cli_help_names(f);
	cli_help(f);
	for (const struct cli_command *k = cli_commands; k->name != NULL; k++)
		cli_help_command(f, k);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(strncmp(text, "status\nincidents\nlist\n", 22), 0);
	assert_non_null(strstr(text, "--drip N/m"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_lines), cmocka_unit_test(bad_lines), cmocka_unit_test(flags),
		cmocka_unit_test(hostile_word), cmocka_unit_test(ago), cmocka_unit_test(help_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
