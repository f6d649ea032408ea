#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "base/own.h"
#include "conf/ini.h"
#include "conf/rows.h"

#define SPOOL "[spool main]\nformat = postfix\n"

/* What the file is told to be wrong; NULL if it is right. To be freed. */
static char *wrong(struct slice text, struct conf **out)
{
	char *mistakes;
	int rc = conf_parse("t", text, out, &mistakes);

	assert_int_equal(rc == 0, *out != NULL);
	assert_int_equal(rc == 0, mistakes == NULL);
	return mistakes;
}

/* Each text has exactly this mistake, at this line. */
static const struct { struct slice text; const char *says; } mistakes[] = {
	/* sections */
	{ SLICE(""), "t: no [spool NAME] section: which queue should be watched?\n" },
	{ SLICE(SPOOL "[spoolwrad]\n"), "t:3: unknown section [spoolwrad], did you mean \"spoolward\"?\n" },
	{ SLICE(SPOOL "[zebra]\nx = 1\n"), "t:3: unknown section [zebra]\n" },
	{ SLICE(SPOOL "[rule]\n"), "t:3: [rule] needs a name: [rule NAME]\n" },
	{ SLICE(SPOOL "[spoolward x]\n"), "t:3: [spoolward x] takes no name: [spoolward]\n" },
	{ SLICE(SPOOL "[Spool MAIN]\n"), "t:3: [spool main] is there twice, first in line 1\n" },
	{ SLICE(SPOOL "[spool x] # text\n"), "t:3: text after the \"]\": a comment needs a line of its own\n" },
	{ SLICE(SPOOL "[spool x\n"), "t:3: the section's \"]\" is missing\n" },
	{ SLICE(SPOOL "[rule a b]\n"),
	  "t:3: [rule a b]: a section is [KIND] or [KIND NAME], its name 1 to 32 of a-z 0-9 _ . -\n" },
	{ SLICE(SPOOL "[rule a:b]\n"),
	  "t:3: [rule a:b]: a section is [KIND] or [KIND NAME], its name 1 to 32 of a-z 0-9 _ . -\n" },
	{ SLICE(SPOOL "[]\n"), "t:3: []: a section is [KIND] or [KIND NAME], its name 1 to 32 of a-z 0-9 _ . -\n" },
	/* keys */
	{ SLICE("mode = observe\n" SPOOL), "t:1: mode stands before any [section]\n" },
	{ SLICE(SPOOL "[spoolward]\nmood = observe\n"), "t:4: unknown key \"mood\" in [spoolward], did you mean \"mode\"?\n" },
	{ SLICE(SPOOL "[spoolward]\nzzz = 1\n"), "t:4: unknown key \"zzz\" in [spoolward]\n" },
	{ SLICE(SPOOL "[spoolward]\npath = /x\n"), "t:4: path is a key of [spool NAME], not of [spoolward]\n" },
	{ SLICE(SPOOL "limit = 3\n"), "t:3: limit is a key of [rule NAME], not of [spool main]\n" },
	{ SLICE(SPOOL "[spoolward]\nmode = observe\n\nMODE = observe\n"), "t:6: mode is given twice, first in line 4\n" },
	{ SLICE(SPOOL "path\n"), "t:3: \"path\" has no \"=\"\n" },
	{ SLICE(SPOOL "pa th = /x\n"), "t:3: \"pa th\" is no key: 1 to 32 of a-z 0-9 _ . - stand before \"=\"\n" },
	{ SLICE(SPOOL "= /x\n"), "t:3: \"\" is no key: 1 to 32 of a-z 0-9 _ . - stand before \"=\"\n" },
	{ SLICE(SPOOL "path@9 = /x\n"), "t:3: \"path@9\" is no key: 1 to 32 of a-z 0-9 _ . - stand before \"=\"\n" },
	/* what iniparser would swallow or cut */
	{ SLICE(SPOOL "path = /x#y\n"),
	  "t:3: path: the value would be cut at '#': put it in quotes, or a blank before a comment\n" },
	{ SLICE(SPOOL "path = /x ;y\n"), "t:3: path: everything from the ';' on would be ignored: "
	  "put the value in quotes, use ',' in a list and '#' for a comment\n" },
	{ SLICE(SPOOL "path = /x # y \\\nowner = root\n"),
	  "t:3: path: a comment that ends in a backslash would swallow the next line\n" },
	{ SLICE(SPOOL "# y \\\nowner = root\n"), "t:3: a comment that ends in a backslash would swallow the next line\n" },
	{ SLICE(SPOOL "; y \\  \nowner = root\n"), "t:3: a comment that ends in a backslash would swallow the next line\n" },
	{ SLICE(SPOOL "path = /x\\\nowner = root\n"), "t:3: the backslash at the end joins the next line; "
	  "if that is meant, the next line must begin with a blank\n" },
	{ SLICE(SPOOL "path = /x\\\n\n"), "t:3: the backslash at the end joins the next line; "
	  "if that is meant, the next line must begin with a blank\n" },
	{ SLICE(SPOOL "path = /x\\"), "t:3: the file ends after a backslash\n" },
	{ SLICE(SPOOL "path = \"/x\n"), "t:3: path: the quote is not closed\n" },
	{ SLICE(SPOOL "path = '/x\"\n"), "t:3: path: the quote is not closed\n" },
	{ SLICE(SPOOL "path = \"/x\" y\n"), "t:3: path: text after the closing quote would be ignored\n" },
	{ SLICE(SPOOL "path = \"/x\\\"y\"\n"), "t:3: path: no backslash can stand between quotes\n" },
	/* bytes */
	{ SLICE("\xef\xbb\xbf" SPOOL), "t:1: the file begins with a byte order mark: save it as UTF-8 without one\n" },
	{ SLICE(SPOOL "# \0\n"), "t:3: a NUL byte: this is no text file, or it is damaged\n" },
	{ SLICE(SPOOL "# \x1b[2J\n"), "t:3: a control character (\\x1b)\n" },
	{ SLICE(SPOOL "# caf\xe9\n"), "t:3: not UTF-8, or an invisible character, at byte \\xe9\n" },
	{ SLICE(SPOOL "path = /x\xe2\x80\x8b\n"), "t:3: not UTF-8, or an invisible character, at byte \\xe2\n" },
	/* values: each type */
	{ SLICE(SPOOL "[spoolward]\nmode = Enforce\n"),
	  "t:4: mode = \"Enforce\": must be one of observe, enforce, did you mean \"enforce\"?\n" },
	{ SLICE(SPOOL "[spoolward]\nmode =\n"), "t:4: mode = \"\": must be one of observe, enforce\n" },
	{ SLICE(SPOOL "[spoolward]\nmax_messages = 0\n"), "t:4: max_messages = \"0\": must be from 1 to 1000000000\n" },
	{ SLICE(SPOOL "[spoolward]\nmax_messages = 10k\n"), "t:4: max_messages = \"10k\": not a whole number\n" },
	{ SLICE(SPOOL "[spoolward]\nmax_messages = -1\n"), "t:4: max_messages = \"-1\": not a whole number\n" },
	{ SLICE(SPOOL "[spoolward]\nmax_bytes = 10GB\n"), "t:4: max_bytes = \"10GB\": not a size as 1000, 10K, 5M, 2G\n" },
	{ SLICE(SPOOL "[spoolward]\nmax_bytes = 99999999999G\n"),
	  "t:4: max_bytes = \"99999999999G\": not a size as 1000, 10K, 5M, 2G\n" },
	{ SLICE(SPOOL "[spoolward]\nalert_every = soon\n"),
	  "t:4: alert_every = \"soon\": not a time span as 30s, 10m, 2h, 7d, 1h30m\n" },
	{ SLICE(SPOOL "[spoolward]\nalert_every = 0\n"), "t:4: alert_every = \"0\": must be from 1s to 7d\n" },
	{ SLICE(SPOOL "[spoolward]\nalert_every = 169h\n"), "t:4: alert_every = \"169h\": must be from 1s to 7d\n" },
	{ SLICE(SPOOL "[spoolward]\nstate_dir = var\n"), "t:4: state_dir = \"var\": not an absolute path\n" },
	{ SLICE(SPOOL "[spoolward]\nstate_dir = /\n"), "t:4: state_dir = \"/\": cannot be \"/\"\n" },
	{ SLICE(SPOOL "[spoolward]\nstate_dir = /a/../b\n"), "t:4: state_dir = \"/a/../b\": must not hold \".\" or \"..\"\n" },
	{ SLICE(SPOOL "[spoolward]\nstate_dir =\n"), "t:4: state_dir = \"\": is empty\n" },
	{ SLICE(SPOOL "[spoolward]\nhook_user =\n"), "t:4: hook_user = \"\": is empty\n" },
	{ SLICE(SPOOL "[spoolward]\nhook_user = a b\n"), "t:4: hook_user = \"a b\": must be one word\n" },
	{ SLICE(SPOOL "[spoolward]\nhook_user = 4294967295\n"),
	  "t:4: hook_user = \"4294967295\": neither a user name nor a user number\n" },
	{ SLICE(SPOOL "[spoolward]\ntrusted_networks = 192.0.2.0/24, 10.0.0.0/33\n"),
	  "t:4: trusted_networks = \"192.0.2.0/24, 10.0.0.0/33\": \"10.0.0.0/33\" is no network "
	  "as 192.0.2.0/24 or 2001:db8::/32\n" },
	{ SLICE(SPOOL "[spoolward]\ntrusted_networks = ::/0\n"),
	  "t:4: trusted_networks = \"::/0\": \"::/0\" is the whole internet\n" },
	{ SLICE("[spool a]\nformat = postfx\n"),
	  "t:2: format = \"postfx\": must be one of postfix, eml, did you mean \"postfix\"?\n" },
	{ SLICE(SPOOL "[rule a]\nlimit = 1\nper = 1m\norigin = login, uuid\n"), "t:6: origin = \"login, uuid\": \"uuid\" must be "
	  "one of login, script, uid, client, sender, domain, did you mean \"uid\"?\n" },
	{ SLICE(SPOOL "[rule a]\nlimit = 1\nper = 1m\norigin = login,login\n"),
	  "t:6: origin = \"login,login\": login is there twice\n" },
	{ SLICE(SPOOL "[rule a]\nlimit = 1\nper = 1m\norigin =\n"), "t:6: origin = \"\": is empty\n" },
	{ SLICE(SPOOL "[rule a]\nlimit = 0\nper = 1m\n"),
	  "t:4: limit = \"0\": not a whole number from 1 on (bytes also as 10K, 5M, 2G)\n" },
	{ SLICE(SPOOL "[override a]\nmatch = joe\nexempt = yes\n"),
	  "t:4: match = \"joe\": \"joe\" is no KIND:PATTERN as login:joe@example.com\n" },
	{ SLICE(SPOOL "[override a]\nmatch = logn:joe\nexempt = yes\n"),
	  "t:4: match = \"logn:joe\": \"logn\" is no kind of origin, did you mean \"login\"?\n" },
	{ SLICE(SPOOL "[override a]\nmatch = login:a login:b\nexempt = yes\n"),
	  "t:4: match = \"login:a login:b\": \"login:a login:b\" holds a blank; patterns are separated by commas\n" },
	{ SLICE(SPOOL "[override a]\nmatch = client:192.0.2.0/40\nexempt = yes\n"),
	  "t:4: match = \"client:192.0.2.0/40\": \"192.0.2.0/40\" is no address or network\n" },
	{ SLICE(SPOOL "[override a]\nmatch = login:a\nexempt = true\n"), "t:5: exempt = \"true\": must be yes or no\n" },
	{ SLICE(SPOOL "[override a]\nmatch = login:a\nexempt = yes\nuntil = 2026-02-29\n"),
	  "t:6: until = \"2026-02-29\": not a day as 2026-12-31 or a time as 2026-12-31T18:00\n" },
	{ SLICE(SPOOL "[override a]\nmatch = login:a\nlimits = hourly\n"),
	  "t:5: limits = \"hourly\": \"hourly\" is no RULE:LIMIT as hourly:5000\n" },
	/* what several keys tell together */
	{ SLICE("[spool a]\n"), "t:1: [spool a] has no format\n" },
	{ SLICE("[spool a]\nformat = eml\n"), "t:1: [spool a] has no path: format = eml needs one\n" },
	{ SLICE("[spool a]\nformat = eml\npath = /a\nconfig_dir = /b\n"), "t:4: config_dir has no meaning for format = eml\n" },
	{ SLICE("[spool a]\nformat = eml\npath = /a\nhash_depth = 1\n"), "t:4: hash_depth has no meaning for format = eml\n" },
	{ SLICE(SPOOL "names = *.eml\n"), "t:3: names has no meaning for format = postfix\n" },
	{ SLICE(SPOOL "login_header = X-Auth\n"), "t:3: login_header has no meaning for format = postfix\n" },
	{ SLICE(SPOOL "stage = active/x\n"), "t:3: stage = active/x: the MTA looks for mail in active\n" },
	{ SLICE(SPOOL "stage = /active\n"),
	  "t:3: stage = \"/active\": must be a path below the queue's top directory, without \"/\" before it\n" },
	{ SLICE(SPOOL "path = /a/\n[spool b]\nformat = eml\npath = /a\n"),
	  "t:6: path = /a is also the path of [spool main] in line 1\n" },
	{ SLICE(SPOOL "path = /var/spool/spoolward\n"), "t:3: path = /var/spool/spoolward is Spoolward's own directory\n" },
	{ SLICE(SPOOL "[rule a]\nper = 1m\n"), "t:3: [rule a] has no limit\n" },
	{ SLICE(SPOOL "[rule a]\nlimit = 1\n"), "t:3: [rule a] has no per\n" },
	{ SLICE(SPOOL "[rule a]\nlimit = 1K\nper = 1m\n"),
	  "t:4: limit = 1K: only bytes are written so, this rule counts recipients\n" },
	{ SLICE(SPOOL "[override a]\nexempt = yes\n"), "t:3: [override a] has no match\n" },
	{ SLICE(SPOOL "[override a]\nmatch = login:a\n"),
	  "t:3: [override a] changes nothing: give it exempt = yes, or limits\n" },
	{ SLICE(SPOOL "[override a]\nmatch = login:a\nexempt = yes\nlimits = hourly:5\n"),
	  "t:6: limits have no meaning beside exempt = yes\n" },
	{ SLICE(SPOOL "[override a]\nmatch = login:a\nlimits = huorly:5\n"),
	  "t:5: there is no [rule huorly], did you mean \"hourly\"?\n" },
	{ SLICE(SPOOL "[rule mine]\nlimit = 1\nper = 1m\n[override a]\nmatch = login:a\nlimits = hourly:5\n"),
	  "t:8: there is no [rule hourly]\n" },
	{ SLICE(SPOOL "[override a]\nmatch = login:a\nlimits = hourly:5, hourly:6\n"), "t:5: limits names hourly twice\n" },
	{ SLICE(SPOOL "[spoolward]\nexpire = 2d\nexpire_warn = 2d\n"), "t:5: expire_warn = 2d is not shorter than expire = 2d\n" },
	/* all of them, in the order of the lines */
	{ SLICE("[spool a]\nformat = x\npath = x\n[rule b]\nnonsense\n"),
	  "t:2: format = \"x\": must be one of postfix, eml\nt:3: path = \"x\": not an absolute path\n"
	  "t:4: [rule b] has no limit\nt:4: [rule b] has no per\nt:5: \"nonsense\" has no \"=\"\n" },
};

static void each_mistake(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
		struct conf *c;
		own_mem char *says = wrong(mistakes[i].text, &c);

		if (says == NULL)
			fail_msg("row %zu should say: %s", i, mistakes[i].says);
		assert_string_equal(says, mistakes[i].says);
	}
}

static char *repeat(const char *head, const char *piece, size_t n, const char *tail)
{
	char *out = NULL;
	size_t size;
	FILE *to = open_memstream(&out, &size);

	assert_non_null(to);
	fputs(head, to);
	for (size_t i = 0; i < n; i++)
		fprintf(to, piece, i);
	fputs(tail, to);
	assert_int_equal(fclose(to), 0);
	return out;
}

static void bounds(void **state)
{
	static const struct { const char *head, *piece; size_t n; const char *tail, *says; } rows[] = {
		{ SPOOL "# ", "x", INI_LINE_MAX - 2, "\n", NULL },
		{ SPOOL "# ", "x", INI_LINE_MAX - 1, "\n", "t:3: a line of 1001 bytes; 1000 is the most\n" },
		{ SPOOL "hashed = a \\\n", " bbbbbb \\\n", 120, " c\n", "t:102: a line of 1002 bytes; 1000 is the most\n" },
		{ SPOOL, "[rule r%zu]\nlimit = 1\nper = 1s\n", CONF_RULES_MAX, "", NULL },
		{ SPOOL, "[rule r%zu]\nlimit = 1\nper = 1s\n", CONF_RULES_MAX + 1, "",
		  "t:195: more than 64 [rule NAME] sections\n" },
		{ "", "[spool s%zu]\nformat = postfix\n", CONF_SPOOLS_MAX, "", NULL },
		{ "", "[spool s%zu]\nformat = postfix\n", CONF_SPOOLS_MAX + 1, "", "t:129: more than 64 [spool NAME] sections\n" },
		{ SPOOL, "[override o%zu]\nmatch = login:a\nexempt = yes\n", CONF_OVERRIDES_MAX, "", NULL },
		{ SPOOL, "[override o%zu]\nmatch = login:a\nexempt = yes\n", CONF_OVERRIDES_MAX + 1, "",
		  "t:3075: more than 1024 [override NAME] sections\n" },
		{ SPOOL "[spoolward]\ntrusted_networks = ", "1.2.%zu.0/24 ", 70, "\n", NULL },
		{ SPOOL "stage = ", "x", 256, "\n", NULL }, /* looked at below: the value is cut where it is shown */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		own_mem char *text = repeat(rows[i].head, rows[i].piece, rows[i].n, rows[i].tail);
		struct conf *c;
		own_mem char *says = wrong(slice_str(text), &c);

		if (strstr(rows[i].head, "stage") != NULL)
			assert_true(says != NULL && strstr(says, "is too long: 255 bytes are the most") != NULL);
		else if (rows[i].says == NULL)
			assert_null(says);
		else
			assert_true(says != NULL && strstr(says, rows[i].says) != NULL);
		conf_free(c);
	}
}

static void many_mistakes(void **state)
{
	own_mem char *text = repeat(SPOOL, "nonsense %zu\n", 250, "");
	struct conf *c;
	own_mem char *says = wrong(slice_str(text), &c);
	size_t lines = 0;

	(void)state;
	assert_non_null(says);
	for (const char *p = says; *p != '\0'; p++)
		lines += *p == '\n';
	assert_int_equal(lines, MISTAKES_MAX + 1);
	assert_non_null(strstr(says, "t: and 150 more\n"));
}

static void too_many_keys(void **state)
{
	own_mem char *text = repeat(SPOOL, "k%zu = 1\n", INI_KEYS_MAX + 100, "");
	struct conf *c;
	own_mem char *says = wrong(slice_str(text), &c);

	(void)state;
	assert_non_null(says);
	assert_null(c);
}

static void defaults(void **state)
{
	struct conf *c;
	own_mem char *says = wrong(SLICE(SPOOL), &c);

	(void)state;
	assert_null(says);
	assert_string_equal(c->file, "t");
	assert_int_equal(c->mode, MODE_OBSERVE);
	assert_string_equal(c->state_dir, "/var/lib/spoolward");
	assert_string_equal(c->quarantine_dir, "/var/spool/spoolward");
	assert_string_equal(c->socket, "/run/spoolward/control");
	assert_string_equal(c->group, "spoolward");
	assert_string_equal(c->operators, "");
	assert_int_equal(c->alert_every_s, 900);
	assert_int_equal(c->reconcile_s, 300);
	assert_int_equal(c->max_bytes, UINT64_C(10) << 30);
	assert_int_equal(c->max_messages, 1000000);
	assert_int_equal(c->min_free, 512 << 20);
	assert_int_equal(c->expire_s, 30 * 86400);
	assert_int_equal(c->expire_warn_s, 3 * 86400);
	assert_int_equal(c->forget_after_s, 400 * 86400);
	assert_int_equal(c->max_origins, 1000000);
	assert_int_equal(c->ntrusted, 0);
	assert_string_equal(c->on_incident, "");
	assert_string_equal(c->hook_user, "nobody");
	assert_int_equal(c->hook_timeout_s, 30);
	assert_int_equal(c->nspools, 1);
	assert_string_equal(c->spools[0].name, "main");
	assert_ptr_equal(c->spools[0].format, &spool_postfix);
	assert_null(c->spools[0].path);
	assert_null(c->spools[0].owner);
	assert_null(c->spools[0].stage);
	assert_null(c->spools[0].hashed);
	assert_int_equal(c->spools[0].hash_depth, -1);
	assert_string_equal(c->spools[0].login_header, "");
	assert_int_equal(c->spools[0].line, 1);
	conf_free(c);
}

/* DESIGN: burst, hourly, minute, daily. */
static void default_rules(const struct conf *c)
{
	static const struct { const char *name; uint64_t limit; int64_t per_s; enum conf_action action; } rows[] = {
		{ "burst", 150, 600, ACTION_QUARANTINE }, { "hourly", 300, 3600, ACTION_QUARANTINE },
		{ "minute", 60, 60, ACTION_ALERT }, { "daily", 1000, 86400, ACTION_ALERT },
	};

	assert_int_equal(c->nrules, sizeof rows / sizeof *rows);
	for (size_t i = 0; i < c->nrules; i++) {
		assert_string_equal(c->rules[i].name, rows[i].name);
		assert_int_equal(c->rules[i].limit, rows[i].limit);
		assert_int_equal(c->rules[i].per_s, rows[i].per_s);
		assert_int_equal(c->rules[i].action, rows[i].action);
		assert_int_equal(c->rules[i].count, COUNT_RECIPIENTS);
		assert_int_equal(c->rules[i].origins, 1u << ORIGIN_LOGIN | 1u << ORIGIN_UID | 1u << ORIGIN_SCRIPT);
	}
}

/* The sample file says in its rules what holds without it. */
static void sample_rules(void **state)
{
	char *text = NULL;
	size_t n;
	FILE *to = open_memstream(&text, &n);
	struct conf *c;
	own_mem char *says = wrong(SLICE(SPOOL), &c);

	(void)state;
	assert_null(says);
	default_rules(c);
	conf_free(c);
	assert_non_null(to);
	assert_int_equal(conf_sample(to), 0);
	fputs(SPOOL, to);
	assert_int_equal(fclose(to), 0);
	says = wrong((struct slice){ text, n }, &c);
	if (says != NULL)
		fail_msg("%s", says);
	default_rules(c);
	conf_free(c);
	free(text);
}

/* Every "# key = default" of [spoolward], made active, is what holds anyway. */
static void sample_defaults(void **state)
{
	char *text = NULL, *active = NULL;
	size_t n, m;
	FILE *to = open_memstream(&text, &n), *act = open_memstream(&active, &m);
	struct slice in, line;
	struct conf *c;
	char *says;
	bool global = false;

	(void)state;
	assert_true(to != NULL && act != NULL);
	assert_int_equal(conf_sample(to), 0);
	assert_int_equal(fclose(to), 0);
	in = (struct slice){ text, n };
	while (slice_line(&in, &line)) {
		if (slice_starts(line, SLICE("[")))
			global = slice_eq(line, SLICE("[spoolward]"));
		if (slice_starts(line, SLICE("# ---- ")))
			global = false;
		for (const struct row *r = conf_rows; global && r->key != NULL; r++) {
			struct slice rest = line;

			if (slice_drop_head(&rest, SLICE("# ")) && slice_starts(rest, slice_str(r->key)) &&
			    rest.n > strlen(r->key) + 1 && rest.p[strlen(r->key) + 1] == '=')
				line = rest;
		}
		fprintf(act, "%.*s\n", (int)line.n, line.p);
	}
	fputs(SPOOL, act);
	assert_int_equal(fclose(act), 0);
	assert_non_null(strstr(active, "\nhook_timeout = 30s\n"));
	says = wrong((struct slice){ active, m }, &c);
	if (says != NULL)
		fail_msg("%s", says);
	assert_int_equal(c->max_bytes, UINT64_C(10) << 30);
	conf_free(c);
	free(text);
	free(active);
}

static void everything(void **state)
{
	static const char text[] =
		"; old style comment\r\n"
		"[SpoolWard]\r\n"
		"Mode = enforce   # now\r\n"
		"  max_bytes = 2k\n"
		"operators=\"mail-ops\" # them\n"
		"trusted_networks = 192.0.2.7/24 10.0.0.0/8, \\\n"
		"   2001:db8::/32\n"
		"on_incident = '/usr/local/bin/page;me #1'\n"
		"expire = 1d\n"
		"[spool Drop-1]\n"
		"format = eml\n"
		"path = /srv/drop///\n"
		"names = *.eml *.msg\n"
		"login_header = X-Auth-User\n"
		"owner = 1001\n"
		"stage = .stage\n"
		"[spool pf]\n"
		"format = postfix\n"
		"config_dir = /etc/postfix-out\n"
		"hashed = deferred, defer\n"
		"hash_depth = 2\n"
		"[rule Bytes]\n"
		"origin = login sender,domain\n"
		"count = bytes\n"
		"limit = 1G\n"
		"per = 1h30m\n"
		"action = quarantine\n"
		"[override news]\n"
		"match = login:*@lists.example.com, client:2001:db8:1::/48,script:1001:/a b/c.php\n"
		"until = @1798761599\n"
		"limits = BYTES:2G";
	struct conf *c;
	own_mem char *says = wrong(SLICE(""), &c);
	const struct conf_spool *s;

	(void)state;
	free(says);
	says = wrong((struct slice){ text, sizeof text - 1 }, &c);
	if (says != NULL)
		fail_msg("%s", says);
	assert_int_equal(c->mode, MODE_ENFORCE);
	assert_int_equal(c->max_bytes, 2048);
	assert_string_equal(c->operators, "mail-ops");
	assert_int_equal(c->ntrusted, 3);
	assert_int_equal(c->trusted[0].bits, 24);
	assert_int_equal(c->trusted[2].family, 6);
	assert_string_equal(c->on_incident, "/usr/local/bin/page;me #1");
	/* not given: at most half of expire */
	assert_int_equal(c->expire_warn_s, 43200);
	s = &c->spools[0];
	assert_string_equal(s->name, "drop-1");
	assert_string_equal(s->path, "/srv/drop");
	assert_string_equal(s->names, "*.eml *.msg");
	assert_string_equal(s->login_header, "X-Auth-User");
	assert_string_equal(s->owner, "1001");
	assert_string_equal(s->stage, ".stage");
	s = &c->spools[1];
	assert_string_equal(s->config_dir, "/etc/postfix-out");
	assert_string_equal(s->hashed, "deferred, defer");
	assert_int_equal(s->hash_depth, 2);
	assert_int_equal(s->line, 17);
	assert_int_equal(c->nrules, 1);
	assert_string_equal(c->rules[0].name, "bytes");
	assert_int_equal(c->rules[0].origins, 1u << ORIGIN_LOGIN | 1u << ORIGIN_SENDER | 1u << ORIGIN_DOMAIN);
	assert_int_equal(c->rules[0].count, COUNT_BYTES);
	assert_int_equal(c->rules[0].limit, 1u << 30);
	assert_int_equal(c->rules[0].per_s, 5400);
	assert_int_equal(c->noverrides, 1);
	assert_string_equal(c->overrides[0].match[0], "login:*@lists.example.com");
	assert_string_equal(c->overrides[0].match[1], "client:2001:db8:1::/48");
	assert_string_equal(c->overrides[0].match[2], "script:1001:/a b/c.php");
	assert_null(c->overrides[0].match[3]);
	assert_int_equal(c->overrides[0].until_s, 1798761599);
	assert_string_equal(c->overrides[0].limits[0].rule, "bytes");
	assert_int_equal(c->overrides[0].limits[0].limit, UINT64_C(2) << 30);
	assert_false(c->overrides[0].exempt);
	conf_free(c);
}

static void durations(void **state)
{
	static const struct { struct slice text; int64_t s; } rows[] = {
		{ SLICE("0"), 0 }, { SLICE("90"), 90 }, { SLICE("30s"), 30 }, { SLICE("10m"), 600 }, { SLICE("2h"), 7200 },
		{ SLICE("7d"), 604800 }, { SLICE("1h30m"), 5400 }, { SLICE("1d1s"), 86401 }, { SLICE("36525d"), 3155760000 },
		{ SLICE(""), -1 }, { SLICE("m"), -1 }, { SLICE("1h30"), -1 }, { SLICE("30m1h"), -1 }, { SLICE("1h1h"), -1 },
		{ SLICE("1 h"), -1 }, { SLICE("-1s"), -1 }, { SLICE("1.5h"), -1 }, { SLICE("1w"), -1 }, { SLICE("1M"), -1 },
		{ SLICE("36526d"), -1 }, { SLICE("36525d1s"), -1 }, { SLICE("99999999999999999999s"), -1 }, { SLICE("1m\0"), -1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t s = -7;

		print_message("  %s\n", rows[i].text.p);
		assert_int_equal(conf_duration(rows[i].text, &s), rows[i].s >= 0);
		assert_int_equal(s, rows[i].s >= 0 ? rows[i].s : -7);
	}
}

static void sizes(void **state)
{
	static const struct { struct slice text; bool ok; uint64_t n; } rows[] = {
		{ SLICE("0"), true, 0 }, { SLICE("10"), true, 10 }, { SLICE("10K"), true, 10240 }, { SLICE("5m"), true, 5 << 20 },
		{ SLICE("2G"), true, UINT64_C(2) << 30 }, { SLICE("1T"), true, UINT64_C(1) << 40 },
		{ SLICE("18446744073709551615"), true, UINT64_MAX }, { SLICE("18014398509481983K"), true, UINT64_MAX - 1023 },
		{ SLICE("18446744073709551616"), false, 0 }, { SLICE("18014398509481984K"), false, 0 }, { SLICE(""), false, 0 },
		{ SLICE("K"), false, 0 }, { SLICE("10KB"), false, 0 }, { SLICE("1.5G"), false, 0 }, { SLICE("-1"), false, 0 },
		{ SLICE("1 K"), false, 0 }, { SLICE("1\0"), false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		uint64_t n = 7;

		print_message("  %s\n", rows[i].text.p);
		assert_int_equal(conf_size(rows[i].text, &n), rows[i].ok);
		assert_int_equal(n, rows[i].ok ? rows[i].n : 7);
	}
}

static void times(void **state)
{
	static const struct { struct slice text; bool end; int64_t s; } rows[] = {
		/* TZ is Berlin */
		{ SLICE("2026-12-31"), true, 1798757999 }, { SLICE("2026-12-31"), false, 1798671600 },
		{ SLICE("2026-12-31T10:00"), true, 1798707600 }, { SLICE("2026-12-31T10:00:30"), true, 1798707630 },
		{ SLICE("2026-12-31T10:00Z"), true, 1798711200 }, { SLICE("2026-12-31T10:00:00+02:30"), true, 1798702200 },
		{ SLICE("2026-12-31T10:00-01:00"), false, 1798714800 }, { SLICE("2026-07-01T00:00"), false, 1782856800 },
		{ SLICE("2024-02-29"), false, 1709161200 }, { SLICE("2000-02-29T00:00Z"), false, 951782400 },
		{ SLICE("@0"), false, 0 }, { SLICE("@1798757999"), true, 1798757999 },
		{ SLICE("2026-02-29"), true, -1 }, { SLICE("2100-02-29"), true, -1 }, { SLICE("2026-13-01"), true, -1 },
		{ SLICE("2026-00-01"), true, -1 }, { SLICE("2026-04-31"), true, -1 }, { SLICE("2026-1-1"), true, -1 },
		{ SLICE("1969-12-31"), true, -1 }, { SLICE("2026-12-31T24:00"), true, -1 }, { SLICE("2026-12-31T10"), true, -1 },
		{ SLICE("2026-12-31T10:60"), true, -1 }, { SLICE("2026-12-31 10:00"), true, -1 }, { SLICE(""), true, -1 },
		{ SLICE("2026-12-31T10:00+1:00"), true, -1 }, { SLICE("2026-12-31T10:00Zulu"), true, -1 }, { SLICE("@"), true, -1 },
		{ SLICE("@-1"), true, -1 }, { SLICE("tomorrow"), true, -1 }, { SLICE("2026-12-31T10:00:"), true, -1 },
	};

	(void)state;
	assert_int_equal(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
	tzset();
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		int64_t s = -1;

		print_message("  %s\n", rows[i].text.p);
		assert_int_equal(conf_time(rows[i].text, rows[i].end, &s), rows[i].s >= 0);
		assert_int_equal(s, rows[i].s);
	}
}

static void amounts(void **state)
{
	char out[AMOUNT];

	(void)state;
	assert_string_equal(duration_text(out, 0), "0");
	assert_string_equal(duration_text(out, 90), "1m30s");
	assert_string_equal(duration_text(out, 7 * 86400), "7d");
	assert_string_equal(size_text(out, 0), "0");
	assert_string_equal(size_text(out, 1000), "1000");
	assert_string_equal(size_text(out, UINT64_C(512) << 20), "512M");
	assert_string_equal(size_text(out, UINT64_C(1) << 62), "4194304T");
}

static void nearness(void **state)
{
	static const char *const names[] = { "limit", "per", "action", "expire" };
	static const struct { struct slice word; const char *meant; } rows[] = {
		{ SLICE("limt"), "limit" }, { SLICE("limits"), "limit" }, { SLICE("lmiit"), "limit" }, { SLICE("pre"), "per" },
		{ SLICE("actoin"), "action" }, { SLICE("expires"), "expire" }, { SLICE("xp"), NULL }, { SLICE(""), NULL },
		{ SLICE("ACTION"), "action" }, { SLICE("milit"), "limit" }, { SLICE("timid"), "limit" }, { SLICE("tmi"), NULL },
		{ SLICE("a-word-that-is-much-too-long-to-be-near-to-anything"), NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		const char *meant = nearest_of(rows[i].word, names, sizeof names / sizeof *names);

		print_message("  %s\n", rows[i].word.p);
		if (rows[i].meant == NULL)
			assert_null(meant);
		else
			assert_string_equal(meant, rows[i].meant);
	}
}

/* A reload reads anew: nothing of the first reading is left, a mistake does not harm the one that runs. */
static void twice(void **state)
{
	struct conf *a, *b, *c;

	(void)state;
	assert_null(wrong(SLICE(SPOOL "[spoolward]\nmode = enforce\n"), &a));
	free(wrong(SLICE("[spool main]\nformat = nothing\n"), &b));
	assert_null(b);
	assert_int_equal(a->mode, MODE_ENFORCE);
	assert_null(wrong(SLICE("[spool other]\nformat = postfix\n"), &c));
	assert_int_equal(c->mode, MODE_OBSERVE);
	assert_string_equal(a->spools[0].name, "main");
	assert_string_equal(c->spools[0].name, "other");
	conf_free(a);
	conf_free(c);
	conf_free(NULL);
}

static void files(void **state)
{
	char path[] = "/tmp/spoolward-conf-XXXXXX", *says;
	own_fd fd = mkstemp(path);
	own_mem char *big = calloc(1, CONF_FILE_MAX + 1);
	struct conf *c;
	char want[100];

	(void)state;
	assert_true(fd >= 0 && big != NULL);
	assert_int_equal(write(fd, SPOOL, sizeof SPOOL - 1), sizeof SPOOL - 1);
	assert_int_equal(conf_load(path, &c, &says), 0);
	assert_string_equal(c->file, path);
	conf_free(c);

	memset(big, '\n', CONF_FILE_MAX + 1);
	assert_int_equal(pwrite(fd, big, CONF_FILE_MAX, 0), CONF_FILE_MAX);
	assert_int_equal(conf_load(path, &c, &says), -1);
	(void)snprintf(want, sizeof want, "%s: no [spool NAME] section: which queue should be watched?\n", path);
	assert_string_equal(says, want);
	free(says);
	assert_int_equal(pwrite(fd, big, CONF_FILE_MAX + 1, 0), CONF_FILE_MAX + 1);
	assert_int_equal(conf_load(path, &c, &says), -1);
	(void)snprintf(want, sizeof want, "%s: is larger than 1048576 bytes\n", path);
	assert_string_equal(says, want);
	free(says);
	unlink(path);

	assert_int_equal(conf_load(path, &c, &says), -1);
	(void)snprintf(want, sizeof want, "%s: cannot be read", path);
	assert_true(slice_starts(slice_str(says), slice_str(want)));
	free(says);
	assert_int_equal(conf_load("/", &c, &says), -1);
	assert_string_equal(says, "/: is no regular file\n");
	free(says);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(conf_load(path, &c, &says), -1);
	assert_non_null(strstr(says, "is no regular file"));
	free(says);
	unlink(path);
}

/* The rows themselves: defaults that pass, help that mdoc and a comment can hold. */
static void rows(void **state)
{
	(void)state;
	for (const struct row *r = conf_rows; r->key != NULL; r++) {
		struct slice in = slice_str(r->help), line;

		print_message("  %s\n", r->key);
		assert_true(strlen(r->key) <= INI_NAME_MAX && in.n > 0);
		assert_null(strchr(r->help, '\\'));
		while (slice_line(&in, &line)) {
			assert_true(line.n > 0 && line.n < 118);
			assert_true(line.p[0] != '.' && line.p[0] != '\'' && line.p[line.n - 1] == '.');
		}
		for (const struct row *o = conf_rows; o < r; o++)
			assert_true(o->section != r->section || strcmp(o->key, r->key) != 0);
		if (r->fallback == NULL)
			continue;
		assert_int_equal(r->traits & ROW_REQUIRED, 0);
		assert_true(*r->fallback != '\0' || (r->traits & ROW_EMPTY));
	}
}

/* conf/spoolward.conf is what conf_sample() prints. */
static void sample_file(void **state)
{
	const char *src = getenv("SRC");
	char path[4096];
	own_mem char *kept = NULL, *made = NULL;
	size_t n, m;
	struct err e = { 0 };
	FILE *to = open_memstream(&made, &m);

	(void)state;
	(void)snprintf(path, sizeof path, "%s/conf/spoolward.conf", src ? src : ".");
	assert_non_null(to);
	assert_int_equal(conf_sample(to), 0);
	assert_int_equal(fclose(to), 0);
	if (conf_read(path, &kept, &n, &e) != 0)
		fail_msg("%s: %s", path, e.text);
	if (!slice_eq((struct slice){ kept, n }, (struct slice){ made, m }))
		fail_msg("%s is not what conf_sample() prints: tests/docs --write", path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_mistake), cmocka_unit_test(bounds), cmocka_unit_test(many_mistakes),
		cmocka_unit_test(too_many_keys), cmocka_unit_test(defaults), cmocka_unit_test(sample_rules),
		cmocka_unit_test(sample_defaults), cmocka_unit_test(everything), cmocka_unit_test(durations),
		cmocka_unit_test(sizes), cmocka_unit_test(times), cmocka_unit_test(amounts), cmocka_unit_test(nearness),
		cmocka_unit_test(twice), cmocka_unit_test(files), cmocka_unit_test(rows), cmocka_unit_test(sample_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
