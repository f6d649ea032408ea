/* render.h - rows of JSON, made readable: tables and pages for people, one object a line for programs.
 *
 * Every string of a row may come from a spammer. What is printed has no control byte but LF
 * (and CR of the progress bar on a terminal), whether it goes to a terminal or not. Only
 * what this file adds by itself (bold, on a terminal, if the caller allows) is no text.
 * Fails: never; whoever reads may be gone, that is for the caller to ask with ferror(). */
#ifndef QUARANTINE_RENDER_H
#define QUARANTINE_RENDER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "base/slice.h"

enum render_kind {
	RENDER_STATUS, RENDER_INCIDENT, RENDER_MESSAGE, RENDER_ORIGIN, RENDER_AUDIT, RENDER_FINDING, RENDER_PLAIN,
	RENDER_KINDS
};

#define RENDER_COLUMNS 12

struct render {
	FILE *out;
	bool json, terminal, bold;
	bool page;    /* one thing at length, not one line each */
	size_t width; /* columns of the terminal */
	enum render_kind kind;
	/* the rest is render.c's */
	json_t *waiting; /* rows that wait until the widths are known */
	bool begun;
	size_t widths[RENDER_COLUMNS]; /* 0: not shown */
};

void render_row(struct render *, const json_t *row);
/* What still waits; also frees. */
void render_end(struct render *);

/* One object and LF; times of this kind become ISO 8601, control and hidden characters \uXXXX. */
void render_json(FILE *out, const json_t *value, enum render_kind);
/* Text of many lines, each escaped; a tab is a blank, the CR of a CRLF goes. */
void render_text(FILE *out, struct slice bytes);
/* One piece of text, escaped; for sentences. */
void render_word(FILE *out, const char *text);

#define RENDER_NUMBER 32
void render_size(char out[RENDER_NUMBER], int64_t bytes);  /* 2.3K */
void render_count(char out[RENDER_NUMBER], int64_t count); /* 1,940 */
void render_span(char out[RENDER_NUMBER], int64_t seconds); /* 10m, 1h, 1d 2h */

/* {"done","total","what"}: a bar on a terminal, else a line. */
void render_progress(FILE *err, const json_t *progress, bool terminal);
void render_progress_end(FILE *err, bool terminal);

/* "mail" of a message as review.h describes it. */
void render_mail(struct render *, const json_t *mail);

/* Members as they may be: absent, or of another type than agreed. */
const char *member_text(const json_t *row, const char *key);
int64_t member_number(const json_t *row, const char *key);

#endif
