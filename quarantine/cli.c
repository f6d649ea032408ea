#include "quarantine/cli.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/escape.h"
#include "conf/conf.h"

#define SELECT "[SELECT]"

const struct cli_command cli_commands[] = {
	{ CLI_STATUS, "status", "", "health in a few lines; exit 0 healthy, 1 degraded, 3 not running", RENDER_STATUS,
	  0, 0, false, NULL },
	{ CLI_INCIDENTS, "incidents", "[--all]", "one line per incident", RENDER_INCIDENT, 0, 0, false, NULL },
	{ CLI_LIST, "list", SELECT, "held messages", RENDER_MESSAGE, 0, UINT32_MAX, false, NULL },
	{ CLI_SHOW, "show", "INCIDENT|MESSAGE [--raw]",
	  "an incident: why and what; a message: envelope, headers, parts, text", RENDER_INCIDENT, 1, 1, false, NULL },
	{ CLI_RELEASE, "release", "SELECT [--trust DUR] [--drip N/m]", "give messages back to the mail server",
	  RENDER_MESSAGE, 0, UINT32_MAX, true, "released" },
	{ CLI_PURGE, "purge", "SELECT [--yes]", "destroy messages; asks first", RENDER_MESSAGE, 0, UINT32_MAX, true,
	  "purged" },
	{ CLI_HOLD, "hold", "ORIGIN [--for DUR]", "hold what this origin sends, from now on", RENDER_ORIGIN, 1, 1,
	  false, "held" },
	{ CLI_LIFT, "lift", "ORIGIN", "stop holding or trusting this origin", RENDER_ORIGIN, 1, 1, false, "lifted" },
	{ CLI_TRUST, "trust", "ORIGIN --for DUR", "never hold this origin until then", RENDER_ORIGIN, 1, 1, false,
	  "trusted" },
	{ CLI_ORIGINS, "origins", "", "what is held or trusted, until when, by whom", RENDER_ORIGIN, 0, 0, false,
	  NULL },
	{ CLI_LOG, "log", SELECT, "who did what when", RENDER_AUDIT, 0, UINT32_MAX, false, NULL },
	{ CLI_FSCK, "fsck", "[--repair]", "compare ledger, cells and spools", RENDER_FINDING, 0, 0, false, NULL },
	{ CLI_CHECK, "check-config", "[FILE]", "read a configuration; mistakes with file and line", RENDER_PLAIN, 0, 1,
	  false, NULL },
	{ CLI_HELP, "help", "[COMMAND] [--names]", "this text, or more about one command", RENDER_PLAIN, 0, 1, false,
	  NULL },
	{ CLI_VERSION, NULL, NULL, NULL, RENDER_PLAIN, 0, 0, false, NULL },
};

enum take { TAKE_FLAG, TAKE_TEXT, TAKE_ORIGIN, TAKE_NUMBER, TAKE_SIZE, TAKE_TIME, TAKE_DURATION, TAKE_DRIP };

#define ON(id) (1u << (id))
#define ON_ALL (~0u)
#define ON_SELECT (ON(CLI_LIST) | ON(CLI_RELEASE) | ON(CLI_PURGE) | ON(CLI_LOG))

struct option {
	const char *name, *value; /* value: what the usage calls it; NULL for a flag */
	enum take take;
	unsigned on;      /* the commands that know it */
	bool selects;
	const char *key;  /* in args; NULL: it goes to the field at ... */
	size_t at;        /* ... of struct cli, a bool or a const char * */
	const char *what;
};

#define LOCAL(field) NULL, offsetof(struct cli, field)

static const struct option options[] = {
	{ "--incident", "N", TAKE_NUMBER, ON_SELECT, true, "incident", 0, "taken for this incident" },
	{ "--origin", "ORIGIN", TAKE_ORIGIN, ON_SELECT, true, "origin", 0, "of this origin, as login:joe@example.com" },
	{ "--sender", "PATTERN", TAKE_TEXT, ON_SELECT, true, "sender", 0,
	  "envelope sender; * and ? stand for anything" },
	{ "--recipient", "PATTERN", TAKE_TEXT, ON_SELECT, true, "recipient", 0, "one of the recipients" },
	{ "--subject", "PATTERN", TAKE_TEXT, ON_SELECT, true, "subject", 0, "subject" },
	{ "--spool", "NAME", TAKE_TEXT, ON_SELECT, true, "spool", 0, "taken from this spool" },
	{ "--larger", "SIZE", TAKE_SIZE, ON_SELECT, true, "larger", 0, "larger than 500K, 10M, ..." },
	{ "--before", "TIME", TAKE_TIME, ON_SELECT, true, "before", 0,
	  "before 2026-12-31, 2026-12-31T10:00, or 2h ago: 2h" },
	{ "--since", "TIME", TAKE_TIME, ON_SELECT, true, "since", 0, "since then, as with --before" },
	{ "--all", NULL, TAKE_FLAG, ON_SELECT | ON(CLI_INCIDENTS), true, "all", 0,
	  "everything; of incidents: also the closed ones" },
	{ "--trust", "DUR", TAKE_DURATION, ON(CLI_RELEASE), false, "trust", 0,
	  "and trust the origins for so long, as 2h or 7d" },
	{ "--drip", "N/m", TAKE_DRIP, ON(CLI_RELEASE), false, "drip", 0, "at most N messages a minute" },
	{ "--yes", NULL, TAKE_FLAG, ON(CLI_PURGE), false, LOCAL(yes), "do not ask" },
	{ "--raw", NULL, TAKE_FLAG, ON(CLI_SHOW), false, LOCAL(raw), "the bytes of the message" },
	{ "--for", "DUR", TAKE_DURATION, ON(CLI_HOLD) | ON(CLI_TRUST), false, "for", 0, "for so long, as 2h or 7d" },
	{ "--repair", NULL, TAKE_FLAG, ON(CLI_FSCK), false, "repair", 0, "mend what is safe to mend" },
	{ "--names", NULL, TAKE_FLAG, ON(CLI_HELP), false, LOCAL(names), "only the names of the commands" },
	{ "--json", NULL, TAKE_FLAG, ON_ALL, false, LOCAL(json), "one JSON object a line" },
	{ "-c", "FILE", TAKE_TEXT, ON_ALL, false, LOCAL(conf), "configuration (" CONF_PATH ")" },
	{ "--socket", "PATH", TAKE_TEXT, ON_ALL, false, LOCAL(socket), "control socket of the daemon" },
};

#define NOPTIONS (sizeof options / sizeof *options)

/* A usage error quotes what a person typed: escaped, it may have been pasted from a mail. */
static int usage(struct err *e, const char *word, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int usage(struct err *e, const char *word, const char *fmt, ...)
{
	char said[120], why[300];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	if (word == NULL)
		return err_set(e, ERR_CONFIG, "%s", why);
	(void)escape_text(said, sizeof said, slice_str(word), ESCAPE_QUOTED);
	return err_set(e, ERR_CONFIG, "\"%s\": %s", said, why);
}

const struct cli_command *cli_command_find(const char *word, struct err *e)
{
	const struct cli_command *found = NULL;
	char names[256] = "";
	size_t matches = 0, used = 0;

	for (const struct cli_command *c = cli_commands; c->name != NULL; c++)
		if (strcmp(c->name, word) == 0)
			return c;
	for (const struct cli_command *c = cli_commands; *word != '\0' && c->name != NULL; c++)
		if (strncmp(c->name, word, strlen(word)) == 0) {
			found = c;
			matches++;
		}
	if (matches == 1)
		return found;
	for (const struct cli_command *c = cli_commands; c->name != NULL; c++) {
		if (matches > 0 && strncmp(c->name, word, strlen(word)) != 0)
			continue;
		int n = snprintf(names + used, sizeof names - used, " %s", c->name);
		used += n > 0 && (size_t)n < sizeof names - used ? (size_t)n : 0;
	}
	(void)usage(e, word, matches > 0 ? "could be any of:%s" : "no such command; there are:%s", names);
	return NULL;
}

/* By pointer: the parser that fills it runs in the same list of arguments. */
static json_t *number(bool ok, const uint64_t *v)
{
	return ok ? json_integer(*v > INT64_MAX ? INT64_MAX : (json_int_t)*v) : NULL;
}

static bool origin_ok(struct slice text)
{
	struct slice kind;
	enum origin_kind which;

	return slice_cut(&text, ':', &kind) && text.n > 0 && origin_kind_find(kind, &which);
}

/* A time; or how long ago, which is what one knows at night. */
static json_t *time_json(struct slice text)
{
	int64_t v = 0;

	if (conf_time(text, false, &v))
		return json_integer(v);
	return conf_duration(text, &v) ? json_integer(clock_real_s() - v) : NULL;
}

static json_t *drip_json(struct slice text)
{
	uint64_t v = 0;

	(void)slice_drop_tail(&text, SLICE("/m"));
	return number(slice_u64(text, 1000000, &v) && v > 0, &v);
}

static const char *const take_what[] = {
	[TAKE_TEXT] = "must be UTF-8 text, not empty",
	[TAKE_ORIGIN] = "no origin; write it as login:joe@example.com, uid:1001, script:..., client:192.0.2.7, "
			"sender:... or domain:...",
	[TAKE_NUMBER] = "must be a number",
	[TAKE_SIZE] = "no size; write it as 500K or 10M",
	[TAKE_TIME] = "no time; write it as 2026-12-31, 2026-12-31T10:00, or 2h for two hours ago",
	[TAKE_DURATION] = "no duration; write it as 30m, 2h or 7d",
	[TAKE_DRIP] = "no speed; write it as 60/m",
};

static json_t *take_value(enum take take, const char *text)
{
	struct slice s = slice_str(text);
	uint64_t u = 0;
	int64_t v = 0;

	switch (take) {
	case TAKE_FLAG:
		return json_true();
	case TAKE_TEXT:
		return s.n > 0 ? json_string(text) : NULL;
	case TAKE_ORIGIN:
		return origin_ok(s) ? json_string(text) : NULL;
	case TAKE_NUMBER:
		return number(slice_u64(s, INT32_MAX, &u), &u);
	case TAKE_SIZE:
		return number(conf_size(s, &u), &u);
	case TAKE_TIME:
		return time_json(s);
	case TAKE_DURATION:
		return conf_duration(s, &v) && v > 0 ? json_integer(v) : NULL;
	case TAKE_DRIP:
		return drip_json(s);
	}
	return NULL;
}

static int set_arg(struct cli *c, const char *key, enum take take, const char *text, struct err *e)
{
	json_t *v = take_value(take, text);

	if (v == NULL)
		return usage(e, text, "%s", take_what[take]);
	return json_object_set_new(c->args, key, v) == 0 ? 0 : err_set(e, ERR_AGAIN, "out of memory");
}

/* What was typed, sorted: options know their rows before the command is known, since they may come first. */
struct typed {
	const struct option *option;
	const char *value;
};

struct words {
	const char **word;
	struct typed *opts;
	size_t nwords, nopts;
};

static const struct option *option_find(const char *arg, const char **value)
{
	for (size_t i = 0; i < NOPTIONS; i++) {
		size_t n = strlen(options[i].name);
		if (strncmp(arg, options[i].name, n) != 0)
			continue;
		if (arg[n] == '\0') {
			*value = NULL;
			return &options[i];
		}
		if (arg[n] == '=' && n > 2 && options[i].value != NULL) {
			*value = arg + n + 1;
			return &options[i];
		}
	}
	return NULL;
}

static int sort_words(int argc, char *const argv[], struct words *w, struct cli *out, struct err *e)
{
	bool only_words = false;

	for (int i = 1; i < argc; i++) {
		struct typed t;
		if (only_words || argv[i][0] != '-') {
			w->word[w->nwords++] = argv[i];
			continue;
		}
		if (strcmp(argv[i], "--") == 0) {
			only_words = true;
			continue;
		}
		if (strcmp(argv[i], "-V") == 0 || strcmp(argv[i], "--version") == 0 || strcmp(argv[i], "-h") == 0 ||
		    strcmp(argv[i], "--help") == 0) {
			bool help = strchr(argv[i], 'h') != NULL;
			out->command = &cli_commands[help ? CLI_HELP : CLI_VERSION];
			continue;
		}
		t.option = option_find(argv[i], &t.value);
		if (t.option == NULL)
			return usage(e, argv[i], "no such option; see spoolward help");
		if (t.option->value != NULL && t.value == NULL) {
			if (i + 1 >= argc)
				return usage(e, argv[i], "needs a value (%s)", t.option->value);
			t.value = argv[++i];
		}
		w->opts[w->nopts++] = t;
	}
	return 0;
}

static int set_options(struct cli *c, const struct words *w, bool *selected, struct err *e)
{
	for (size_t i = 0; i < w->nopts; i++) {
		const struct option *o = w->opts[i].option;
		const char *v = w->opts[i].value;
		if (!(o->on & ON(c->command->id)))
			return usage(e, o->name, "does not belong to \"%s\"; it takes: %s", c->command->name,
				     c->command->usage);
		*selected = *selected || o->selects;
		if (o->key != NULL) {
			if (json_object_get(c->args, o->key) != NULL)
				return usage(e, o->name, "given twice");
			if (set_arg(c, o->key, o->take, v, e) != 0)
				return err_add(e, "%s", o->name);
		} else if (o->take == TAKE_FLAG) {
			*(bool *)(void *)((char *)c + o->at) = true;
		} else {
			*(const char **)(void *)((char *)c + o->at) = v;
		}
	}
	return 0;
}

static bool message_id(const char *word)
{
	uint64_t n;

	return word[0] == 'm' && slice_u64(slice_str(word + 1), INT64_MAX, &n);
}

static bool incident_id(const char *word)
{
	uint64_t n;

	return slice_u64(slice_str(word), INT32_MAX, &n);
}

static int set_ids(struct cli *c, const struct words *w, struct err *e)
{
	json_t *ids = json_array();

	(void)json_object_set_new(c->args, "ids", ids);
	for (size_t i = 1; i < w->nwords; i++) {
		if (incident_id(w->word[i]))
			return usage(e, w->word[i], "a message is m%s; for all of an incident say --incident %s",
				     w->word[i], w->word[i]);
		if (!message_id(w->word[i]))
			return usage(e, w->word[i], "no message; they are named m12 and so on");
		(void)json_array_append_new(ids, json_string(w->word[i]));
	}
	return 0;
}

static int set_words(struct cli *c, const struct words *w, bool *selected, struct err *e)
{
	const struct cli_command *k = c->command;
	size_t n = w->nwords - 1;

	if (n < k->least || n > k->most)
		return usage(e, NULL, "usage: spoolward %s %s", k->name, k->usage);
	c->word = n > 0 ? w->word[1] : NULL;
	switch (k->id) {
	case CLI_LIST:
	case CLI_RELEASE:
	case CLI_PURGE:
	case CLI_LOG:
		*selected = *selected || n > 0;
		return n > 0 ? set_ids(c, w, e) : 0;
	case CLI_SHOW:
		c->message = message_id(c->word);
		if (!c->message && !incident_id(c->word))
			return usage(e, c->word, "neither an incident (7) nor a message (m12)");
		return set_arg(c, "id", TAKE_TEXT, c->word, e);
	case CLI_HOLD:
	case CLI_LIFT:
	case CLI_TRUST:
		return set_arg(c, "origin", TAKE_ORIGIN, c->word, e);
	default:
		return 0;
	}
}

static int finish(struct cli *c, bool selected, struct err *e)
{
	enum cli_id id = c->command->id;

	if (c->command->must_select && !selected)
		return usage(e, NULL,
			     "say which: --incident N, --origin ORIGIN, --sender PATTERN, message ids, ... or --all");
	if (id == CLI_TRUST && json_object_get(c->args, "for") == NULL)
		return usage(e, NULL, "say for how long, as --for 7d: nobody is trusted for ever by hand");
	if (id == CLI_SHOW && c->raw && !c->message)
		return usage(e, c->word, "--raw is for a message (m12), not for an incident");
	if (id == CLI_SHOW && c->raw && c->json)
		return usage(e, NULL, "--raw and --json exclude each other");
	if (id == CLI_HOLD && json_object_get(c->args, "for") == NULL)
		(void)json_object_set_new(c->args, "for", json_integer(0));
	if (id == CLI_RELEASE && json_object_get(c->args, "trust") == NULL)
		(void)json_object_set_new(c->args, "trust", json_integer(0));
	if (id == CLI_RELEASE && json_object_get(c->args, "drip") == NULL)
		(void)json_object_set_new(c->args, "drip", json_integer(0));
	return 0;
}

static int parse(int argc, char *const argv[], struct words *w, struct cli *out, struct err *e)
{
	bool selected = false;

	if (sort_words(argc, argv, w, out, e) != 0)
		return -1;
	if (out->command != NULL && out->command->id == CLI_HELP && w->nwords > 0) {
		out->word = w->word[0]; /* "list --help" is "help list" */
		return 0;
	}
	if (out->command != NULL)
		return 0;
	if (w->nwords == 0)
		return usage(e, NULL, "say what to do; see spoolward help");
	out->command = cli_command_find(w->word[0], e);
	if (out->command == NULL || set_options(out, w, &selected, e) != 0 || set_words(out, w, &selected, e) != 0)
		return -1;
	return finish(out, selected, e);
}

int cli_parse(int argc, char *const argv[], struct cli *out, struct err *e)
{
	size_t n = argc > 0 ? (size_t)argc : 1;
	struct words w = { .word = calloc(n, sizeof *w.word), .opts = calloc(n, sizeof *w.opts) };
	int rc = -1;

	*out = (struct cli){ .args = json_object() };
	if (w.word == NULL || w.opts == NULL || out->args == NULL)
		(void)err_set(e, ERR_AGAIN, "out of memory");
	else
		rc = parse(argc, argv, &w, out, e);
	free(w.word);
	free(w.opts);
	return rc;
}

void cli_free(struct cli *c)
{
	json_decref(c->args);
	c->args = NULL;
}

void cli_help_names(FILE *out)
{
	for (const struct cli_command *c = cli_commands; c->name != NULL; c++)
		(void)fprintf(out, "%s\n", c->name);
}

static void help_options(FILE *out, unsigned on, bool general)
{
	for (size_t i = 0; i < NOPTIONS; i++) {
		char left[40];
		if (!(options[i].on & on) || (options[i].on == ON_ALL) != general)
			continue;
		(void)snprintf(left, sizeof left, "%s %s", options[i].name, options[i].value ? options[i].value : "");
		(void)fprintf(out, "  %-22s %s\n", left, options[i].what);
	}
}

void cli_help_command(FILE *out, const struct cli_command *c)
{
	(void)fprintf(out, "spoolward %s%s%s\n  %s\n", c->name, *c->usage ? " " : "", c->usage, c->what);
	if (ON(c->id) & ON_SELECT)
		(void)fprintf(out,
			      "SELECT is message ids (m12) and any of the options below; they combine with AND.\n");
	help_options(out, ON(c->id), false);
	(void)fprintf(out, "with every command:\n");
	help_options(out, ON_ALL, true);
}

void cli_help(FILE *out)
{
	(void)fprintf(out, "usage: spoolward COMMAND ...   (a unique beginning of a command will do)\n");
	for (const struct cli_command *c = cli_commands; c->name != NULL; c++) {
		char left[64];
		(void)snprintf(left, sizeof left, "%s %s", c->name, c->usage);
		(void)fprintf(out, "  %-42s %s\n", left, c->what);
	}
	(void)fprintf(out, "SELECT is message ids (m12) and any of these; they combine with AND:\n");
	help_options(out, ON(CLI_LIST), false);
	(void)fprintf(out, "with every command:\n");
	help_options(out, ON_ALL, true);
	(void)fprintf(out, "exit: 0 done, 1 part of it failed, 2 nothing matched, 3 daemon not running, 64 usage,\n"
			   "      77 not permitted, 78 configuration\n");
}
