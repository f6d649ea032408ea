#include "quarantine/origin.h"

#include <stdio.h>

#include "base/escape.h"

/* Folded and printable, so that one account has one name, in the table, in a log line and on a command line. */
static void name_set(struct origin_name *to, enum origin_kind kind, struct slice value)
{
	static const char hex[] = "0123456789abcdef";
	size_t n = (size_t)snprintf(to->text, sizeof to->text, "%s:", origin_kind_names[kind]);

	to->kind = kind;
	while (value.n > 0 && n + 5 < sizeof to->text) {
		size_t take = escape_passes(value);
		if (take == 1) {
			to->text[n++] = ascii_lower(value.p[0]);
		} else if (take > 1) {
			memcpy(to->text + n, value.p, take);
			n += take;
		} else {
			unsigned char c = (unsigned char)value.p[0];
			to->text[n++] = '\\', to->text[n++] = 'x';
			to->text[n++] = hex[c >> 4], to->text[n++] = hex[c & 15];
			take = 1;
		}
		value.p += take;
		value.n -= take;
	}
	to->text[n] = '\0';
}

static void add(struct origin_names *out, enum origin_kind kind, struct slice value)
{
	if (value.n > 0 && out->n < ORIGINS_MAX)
		name_set(&out->name[out->n++], kind, value);
}

static bool trusted(const struct conf *conf, const struct net *client)
{
	for (size_t i = 0; i < conf->ntrusted; i++)
		if (net_contains(&conf->trusted[i], client))
			return true;
	return false;
}

void origin_names(const struct card *c, const struct conf *conf, struct origin_names *out)
{
	struct slice sender = CARD_GET(c, sender), login = CARD_GET(c, login), script = CARD_GET(c, script);
	struct net client;
	char text[NET_TEXT] = "";
	bool null_sender = (c->flags & CARD_NULL_SENDER) != 0;

	memset(out, 0, sizeof *out);
	if (c->flags & CARD_INTERNAL)
		return;
	bool from_net = net_parse(CARD_GET(c, client), &client) && !net_loopback(&client);
	bool vouched = (c->flags & (CARD_AUTH | CARD_LOCAL)) != 0 || (from_net && trusted(conf, &client));
	if (from_net) {
		struct net n = client.family == 6 ? net_mask(client, 64) : client;
		net_text(&n, text);
	}
	if ((c->flags & CARD_AUTH) != 0 && login.n > 0) {
		add(out, ORIGIN_LOGIN, login);
	} else if (null_sender) {
		return; /* a bounce or an automatic answer: an outsider could cause it in a customer's name */
	} else if (script.n > 0) {
		/* not the uid beside it: one uid may run the scripts of many */
		add(out, ORIGIN_SCRIPT, script);
	} else if (c->uid >= 0) {
		char uid[24];
		(void)snprintf(uid, sizeof uid, "%lld", (long long)c->uid);
		add(out, ORIGIN_UID, slice_str(uid));
	}
	add(out, ORIGIN_CLIENT, slice_str(text));
	out->accountable = out->n > 0;
	if (!vouched || null_sender)
		return;
	add(out, ORIGIN_SENDER, sender);
	const char *at = sender.n ? memrchr(sender.p, '@', sender.n) : NULL;
	if (at != NULL)
		add(out, ORIGIN_DOMAIN, (struct slice){ at + 1, sender.n - (size_t)(at + 1 - sender.p) });
}

bool origin_parse(struct slice text, struct origin_name *out)
{
	struct slice kind, value = text;
	enum origin_kind k;
	struct net n;
	char net[NET_TEXT];

	if (!slice_cut(&value, ':', &kind) || !origin_kind_find(kind, &k) || value.n == 0 || value.n + 16 > ORIGIN_TEXT)
		return false;
	if (k == ORIGIN_CLIENT) {
		if (!net_parse(value, &n))
			return false;
		if (n.family == 6 && n.bits > 64)
			n = net_mask(n, 64);
		net_text(&n, net);
		value = slice_str(net);
	}
	name_set(out, k, value);
	return true;
}
