#include "conf/rows.h"

static void formats(FILE *to)
{
	for (size_t i = 0; i < SPOOL_FORMATS_MAX && spool_formats[i] != NULL; i++)
		fprintf(to, "%s%s", i > 0 ? ", " : "", spool_formats[i]->name);
}

/* Each line of text behind head; "@formats@" becomes the list of them. */
static void lines(FILE *to, const char *head, const char *text)
{
	struct slice in = slice_str(text), line;

	while (slice_line(&in, &line)) {
		const char *at = memmem(line.p, line.n, "@formats@", 9);

		if (at == NULL) {
			fprintf(to, "%s%.*s\n", head, (int)line.n, line.p);
			continue;
		}
		fprintf(to, "%s%.*s", head, (int)(at - line.p), line.p);
		formats(to);
		fprintf(to, "%.*s\n", (int)(line.p + line.n - (at + 9)), at + 9);
	}
}

static void keys(FILE *to, enum section_kind kind)
{
	for (const struct row *r = conf_rows; r->key != NULL; r++) {
		if (r->section != kind)
			continue;
		(void)fputc('\n', to);
		lines(to, "# ", r->help);
		/* the one decision that should be seen without looking for it */
		fprintf(to, "%s%s =%s%s\n", r->at == offsetof(struct conf, mode) && kind == SECTION_GLOBAL ? "" : "# ", r->key,
			r->fallback && *r->fallback ? " " : "", r->fallback ? r->fallback : "");
	}
}

static void heading(FILE *to, enum section_kind kind)
{
	fprintf(to, "\n\n# ---- %s ", section_rows[kind].title);
	for (size_t n = strlen(section_rows[kind].title); n < 80; n++)
		(void)fputc('-', to);
	(void)fputc('\n', to);
	lines(to, "# ", section_rows[kind].help);
}

static void spools(FILE *to)
{
	heading(to, SECTION_SPOOL);
	(void)fputs("#\n# Take the \"#\" away from one of these sections:\n", to);
	for (size_t i = 0; i < SPOOL_FORMATS_MAX && spool_formats[i] != NULL; i++) {
		const struct spool_format *f = spool_formats[i];

		fprintf(to, "\n# %s\n#[spool %s]\n#format = %s\n", f->what, i == 0 ? "main" : f->name, f->name);
		if (f->ask == NULL)
			(void)fputs("#path = /path/of/the/queue\n", to);
	}
	(void)fputs("\n# All keys of such a section, with their defaults:\n", to);
	keys(to, SECTION_SPOOL);
}

static void rules(FILE *to)
{
	static const struct { const char *what, *name, *limit, *per, *action; } rows[] = {
		{ "A spam run: many recipients at once.", "burst", "150", "10m", "quarantine" },
		{ "A slower one.", "hourly", "300", "1h", "quarantine" },
		{ "Early signs; nothing is held for them.", "minute", "60", "1m", "alert" },
		{ NULL, "daily", "1000", "24h", "alert" },
	};

	heading(to, SECTION_RULE);
	(void)fputs("#\n# All keys of such a section, with their defaults:\n", to);
	keys(to, SECTION_RULE);
	for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
		(void)fputc('\n', to);
		if (rows[i].what != NULL)
			fprintf(to, "# %s\n", rows[i].what);
		fprintf(to, "[rule %s]\norigin = login, uid, script\ncount = recipients\nlimit = %s\nper = %s\naction = %s\n",
			rows[i].name, rows[i].limit, rows[i].per, rows[i].action);
	}
}

int conf_sample(FILE *to)
{
	(void)fputs("# spoolward.conf - what Spoolward watches, what it allows, what it keeps.\n"
		    "#\n"
		    "# Check it with \"spoolward check-config\"; load it with \"systemctl reload spoolward\".\n"
		    "# A daemon that runs keeps its old configuration if the new one has a mistake.\n"
		    "#\n"
		    "# A line \"# key = value\" shows the default. Comments begin with \"#\"; a value with \"#\" or \";\"\n"
		    "# in it stands in \"quotes\". Times: 30s, 10m, 2h, 7d. Sizes: 10K, 5M, 2G (powers of 1024).\n"
		    "# What is not known, or given twice, is a mistake. See spoolward.conf(5).\n\n", to);
	lines(to, "# ", section_rows[SECTION_GLOBAL].help);
	(void)fputs("[spoolward]\n", to);
	keys(to, SECTION_GLOBAL);
	spools(to);
	rules(to);
	heading(to, SECTION_OVERRIDE);
	(void)fputs("\n#[override newsletter]\n#match = login:*@lists.example.com\n#exempt = yes\n#until = 2030-12-31\n"
		    "\n# All keys of such a section, with their defaults:\n", to);
	keys(to, SECTION_OVERRIDE);
	return fflush(to) == 0 && !ferror(to) ? 0 : -1;
}

int conf_manual(FILE *to)
{
	for (int k = 0; k < SECTION_KINDS; k++) {
		fprintf(to, ".Ss %s\n", section_rows[k].title);
		lines(to, "", section_rows[k].help);
		(void)fputs(".Bl -tag -width Ds\n", to);
		for (const struct row *r = conf_rows; r->key != NULL; r++) {
			if ((int)r->section != k)
				continue;
			fprintf(to, ".It Ic %s\n(%s", r->key, r->type->name);
			if (r->traits & ROW_REQUIRED)
				(void)fputs(", required", to);
			else if (r->fallback != NULL && *r->fallback != '\0')
				fprintf(to, ", default %s", r->fallback);
			(void)fputs(")\n", to);
			lines(to, "", r->help);
		}
		(void)fputs(".El\n", to);
	}
	return fflush(to) == 0 && !ferror(to) ? 0 : -1;
}
