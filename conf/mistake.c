#include "conf/mistake.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/escape.h"

#define WORD_MAX 40

void mistake(struct mistakes *m, int line, const char *fmt, ...)
{
	va_list ap;
	char *text = NULL;

	if (m->n == MISTAKES_MAX) {
		m->more++;
		return;
	}
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	m->at[m->n].line = line;
	m->at[m->n].text = text;
	m->n++;
}

/* By line; those of one line stay in the order in which they were found. */
static void sort(struct mistakes *m)
{
	for (size_t i = 1; i < m->n; i++)
		for (size_t k = i; k > 0 && m->at[k].line < m->at[k - 1].line; k--) {
			int line = m->at[k].line;
			char *text = m->at[k].text;

			m->at[k] = m->at[k - 1];
			m->at[k - 1].line = line;
			m->at[k - 1].text = text;
		}
}

char *mistakes_text(struct mistakes *m)
{
	char *out = NULL;
	size_t size;
	FILE *to = m->n > 0 ? open_memstream(&out, &size) : NULL;

	sort(m);
	for (size_t i = 0; i < m->n; i++) {
		const char *text = m->at[i].text ? m->at[i].text : "out of memory";

		if (to != NULL && m->at[i].line > 0)
			fprintf(to, "%s:%d: %s\n", m->file, m->at[i].line, text);
		else if (to != NULL)
			fprintf(to, "%s: %s\n", m->file, text);
		free(m->at[i].text);
	}
	if (to != NULL && m->more > 0)
		fprintf(to, "%s: and %zu more\n", m->file, m->more);
	m->n = m->more = 0;
	if (to != NULL && fclose(to) != 0) {
		free(out);
		return NULL;
	}
	return out;
}

const char *shown(char out[SHOWN], struct slice text)
{
	(void)escape_text(out, SHOWN, text, ESCAPE_QUOTED);
	return out;
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Insertions, deletions, changes and swaps of neighbours that lead from a to b. */
static size_t distance(struct slice a, struct slice b)
{
	size_t d[WORD_MAX + 1][WORD_MAX + 1];

	for (size_t i = 0; i <= a.n; i++)
		d[i][0] = i;
	for (size_t k = 0; k <= b.n; k++)
		d[0][k] = k;
	for (size_t i = 1; i <= a.n; i++)
		for (size_t k = 1; k <= b.n; k++) {
			size_t change = d[i - 1][k - 1] + (ascii_lower(a.p[i - 1]) != ascii_lower(b.p[k - 1]));

			d[i][k] = least(change, least(d[i - 1][k], d[i][k - 1]) + 1);
			if (i > 1 && k > 1 && a.p[i - 1] == b.p[k - 2] && a.p[i - 2] == b.p[k - 1])
				d[i][k] = least(d[i][k], d[i - 2][k - 2] + 1);
		}
	return d[a.n][b.n];
}

const char *nearest(struct slice word, const char *(*name)(const void *list, size_t i), const void *list)
{
	const char *best = NULL, *one;
	size_t best_d = 3;

	for (size_t i = 0; word.n <= WORD_MAX && (one = name(list, i)) != NULL; i++) {
		struct slice s = slice_str(one);
		size_t d;

		if (s.n > WORD_MAX)
			continue;
		d = distance(word, s);
		/* half of a short word changed is another word */
		if (d < best_d && 2 * d <= s.n) {
			best = one;
			best_d = d;
		}
	}
	return best;
}

struct names {
	const char *const *names;
	size_t n;
};

static const char *name_at(const void *list, size_t i)
{
	const struct names *l = list;

	return i < l->n ? l->names[i] : NULL;
}

const char *nearest_of(struct slice word, const char *const *names, size_t n)
{
	struct names l = { names, n };

	return nearest(word, name_at, &l);
}

const char *hint(char out[HINT], const char *meant)
{
	out[0] = '\0';
	if (meant != NULL)
		(void)snprintf(out, HINT, ", did you mean \"%s\"?", meant);
	return out;
}
