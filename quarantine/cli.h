/* cli.h - the command line of spoolward: one table of commands, one of options.
 *
 * Pure: argv in, the arguments of a command (command.h) out. Nothing is opened, nothing
 * printed but by the cli_help functions. Fails: with a sentence for the person in e->text;
 * that is always exit code 64. */
#ifndef QUARANTINE_CLI_H
#define QUARANTINE_CLI_H

#include <jansson.h>
#include <stdio.h>

#include "base/err.h"
#include "quarantine/render.h"

enum cli_id {
	CLI_STATUS, CLI_INCIDENTS, CLI_LIST, CLI_SHOW, CLI_RELEASE, CLI_PURGE, CLI_HOLD, CLI_LIFT, CLI_TRUST,
	CLI_ORIGINS, CLI_LOG, CLI_FSCK, CLI_CHECK, CLI_HELP, CLI_VERSION
};

struct cli_command {
	enum cli_id id;
	const char *name;
	const char *usage;       /* what follows the name */
	const char *what;        /* one line for people */
	enum render_kind rows;   /* what its rows are */
	unsigned least, most;    /* words that are not options */
	bool must_select;        /* refuses to mean "everything" by silence */
	const char *verb;        /* what it has done, "released"; NULL: it only shows */
};
extern const struct cli_command cli_commands[]; /* name NULL at the end */

/* Borrows from argv; owns args. */
struct cli {
	const struct cli_command *command;
	json_t *args;             /* as command.h wants them */
	const char *conf, *socket; /* NULL: not given */
	const char *word;         /* first word behind the command, NULL: none */
	bool json, yes, raw, names;
	bool message;             /* show: of a message, not of an incident */
};

/* 0, or -1: usage. Either way cli_free() is welcome. */
int cli_parse(int argc, char *const argv[], struct cli *out, struct err *e);
void cli_free(struct cli *);

/* By name or unique beginning; NULL and *e if there is none or more than one. */
const struct cli_command *cli_command_find(const char *word, struct err *e);

void cli_help(FILE *out);
void cli_help_command(FILE *out, const struct cli_command *);
void cli_help_names(FILE *out);

#endif
