/* conf_parse(): whatever the file says, it is told why it was refused, or every value is in its range. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "conf/rows.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

#define MUST(x) ((x) ? (void)0 : abort())

static void spools_ok(const struct conf *c)
{
	MUST(c->nspools >= 1 && c->nspools <= CONF_SPOOLS_MAX);
	for (size_t i = 0; i < c->nspools; i++) {
		const struct conf_spool *s = &c->spools[i];

		MUST(s->name != NULL && *s->name != '\0' && s->format != NULL && s->line > 0);
		MUST(s->path != NULL || s->format->ask != NULL);
		MUST(s->path == NULL || *s->path == '/');
		MUST(s->stage == NULL || (*s->stage != '/' && *s->stage != '\0'));
		MUST(s->hash_depth >= -1 && s->hash_depth <= SPOOL_DEPTH_MAX);
		MUST(s->names != NULL && s->login_header != NULL && s->client_header != NULL && s->sender_header != NULL);
	}
}

static void rules_ok(const struct conf *c)
{
	MUST(c->nrules >= 1 && c->nrules <= CONF_RULES_MAX);
	for (size_t i = 0; i < c->nrules; i++) {
		const struct conf_rule *r = &c->rules[i];

		MUST(r->name != NULL && r->limit >= 1 && r->per_s >= 1 && r->count < COUNT_KINDS);
		MUST(r->origins != 0 && r->origins < 1u << ORIGIN_KINDS && r->action <= ACTION_QUARANTINE);
	}
	MUST(c->noverrides <= CONF_OVERRIDES_MAX);
	for (size_t i = 0; i < c->noverrides; i++) {
		const struct conf_override *o = &c->overrides[i];

		MUST(o->name != NULL && o->match != NULL && o->match[0] != NULL && o->nlimits <= CONF_LIMITS_MAX);
		for (size_t k = 0; k < o->nlimits; k++)
			MUST(o->limits[k].rule != NULL && o->limits[k].limit >= 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct conf *c;
	char *mistakes;

	if (conf_parse("f", (struct slice){ (const char *)data, n }, &c, &mistakes) != 0) {
		MUST(c == NULL && mistakes != NULL && slice_starts(slice_str(mistakes), SLICE("f:")));
		free(mistakes);
		return 0;
	}
	MUST(c != NULL && mistakes == NULL);
	MUST(*c->state_dir == '/' && *c->quarantine_dir == '/' && *c->socket == '/' && strlen(c->socket) <= 107);
	MUST(c->mode <= MODE_ENFORCE && c->alert_every_s >= 1 && c->expire_s >= 1 && c->expire_warn_s < c->expire_s);
	MUST(c->max_bytes >= 1 && c->max_messages >= 1 && c->ntrusted <= CONF_NETS_MAX);
	MUST(*c->on_incident == '/' || *c->on_incident == '\0');
	spools_ok(c);
	rules_ok(c);
	conf_free(c);
	return 0;
}
