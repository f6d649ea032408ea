/* Facts about origins: who answers for a message, and who can never be made to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "quarantine/origin.h"

#define S(lit) { "" lit, sizeof(lit) - 1 }
#define ROWS(a) (sizeof(a) / sizeof *(a))

static struct conf *conf;

static int make_conf(void **state)
{
	static const char text[] = "[spoolward]\ntrusted_networks = 10.0.0.0/8, 2001:db8:7::/48, 127.0.0.0/8\n"
				   "[spool drop]\nformat = eml\npath = /nowhere\n";
	char *mistakes = NULL;

	(void)state;
	int rc = conf_parse("test", slice_str(text), &conf, &mistakes);
	if (mistakes != NULL)
		print_message("%s", mistakes);
	free(mistakes);
	return rc;
}

static int drop_conf(void **state)
{
	(void)state;
	conf_free(conf);
	return 0;
}

#define AUTH CARD_AUTH
#define LOCAL CARD_LOCAL
#define NUL CARD_NULL_SENDER
#define OWN CARD_INTERNAL

static const struct fact {
	const char *what;
	uint32_t flags;
	int64_t uid;
	struct slice login, script, client, sender;
	bool accountable;
	const char *names; /* a blank behind each */
} rows[] = {
	/* the order of who answers */
	{ "login", AUTH, -1, S("Joe@Example.COM"), S(""), S("192.0.2.7"), S("joe@example.com"), true,
	  "login:joe@example.com client:192.0.2.7 sender:joe@example.com domain:example.com " },
	{ "login before script and uid", AUTH | LOCAL, 1001, S("joe"), S("1001:/a.php"), S(""), S("a@b.c"), true,
	  "login:joe sender:a@b.c domain:b.c " },
	{ "script before uid, and alone: the uid may run many", LOCAL, 1001, S(""), S("1001:/site/form.php"), S(""),
	  S("a@b.c"), true, "script:1001:/site/form.php sender:a@b.c domain:b.c " },
	{ "uid", LOCAL, 1001, S(""), S(""), S(""), S("a@b.c"), true, "uid:1001 sender:a@b.c domain:b.c " },
	{ "root is a uid too", LOCAL, 0, S(""), S(""), S(""), S("a@b.c"), true, "uid:0 sender:a@b.c domain:b.c " },
	{ "client", 0, -1, S(""), S(""), S("192.0.2.7"), S("a@b.c"), true, "client:192.0.2.7 " },
	{ "nobody", 0, -1, S(""), S(""), S(""), S("a@b.c"), false, "" },
	/* the forging rule */
	{ "an outsider forges a customer's sender", 0, -1, S(""), S(""), S("203.0.113.9"), S("victim@customer.example"), true,
	  "client:203.0.113.9 " },
	{ "a trusted network may name a sender", 0, -1, S(""), S(""), S("10.1.2.3"), S("v@customer.example"), true,
	  "client:10.1.2.3 sender:v@customer.example domain:customer.example " },
	{ "a trusted IPv6 network too", 0, -1, S(""), S(""), S("IPv6:2001:db8:7::25"), S("v@c.example"), true,
	  "client:2001:db8:7::/64 sender:v@c.example domain:c.example " },
	{ "a login without its flag counts for nothing", 0, -1, S("joe"), S(""), S("203.0.113.9"), S("v@c.example"), true,
	  "client:203.0.113.9 " },
	{ "a flag without a login names nobody", AUTH, -1, S(""), S(""), S("203.0.113.9"), S("v@c.example"), true,
	  "client:203.0.113.9 sender:v@c.example domain:c.example " },
	/* the null sender */
	{ "a bounce holds no client", NUL, -1, S(""), S(""), S("203.0.113.9"), S(""), false, "" },
	{ "nor a uid", NUL | LOCAL, 1001, S(""), S(""), S(""), S(""), false, "" },
	{ "nor a script", NUL | LOCAL, 1001, S(""), S("1001:/a.php"), S(""), S(""), false, "" },
	{ "but a login answers for its own", NUL | AUTH, -1, S("joe"), S(""), S("192.0.2.7"), S(""), true,
	  "login:joe client:192.0.2.7 " },
	{ "a null sender with a text is still one", NUL | AUTH, -1, S("joe"), S(""), S(""), S("v@c.example"), true, "login:joe " },
	{ "the MTA's own mail", OWN | AUTH, -1, S("joe"), S(""), S("192.0.2.7"), S("a@b.c"), false, "" },
	/* addresses */
	{ "loopback is nobody", 0, -1, S(""), S(""), S("127.0.0.1"), S("v@c.example"), false, "" },
	{ "all of it, even if trusted", 0, -1, S(""), S(""), S("127.3.2.1"), S("v@c.example"), false, "" },
	{ "IPv6 loopback", 0, -1, S(""), S(""), S("IPv6:::1"), S("v@c.example"), false, "" },
	{ "loopback in IPv6 clothes", 0, -1, S(""), S(""), S("::ffff:127.0.0.1"), S("v@c.example"), false, "" },
	{ "web mail: login over loopback", AUTH, -1, S("joe"), S(""), S("127.0.0.1"), S("joe@b.c"), true,
	  "login:joe sender:joe@b.c domain:b.c " },
	{ "IPv6 by /64", 0, -1, S(""), S(""), S("2001:db8:1:2:3:4:5:6"), S(""), true, "client:2001:db8:1:2::/64 " },
	{ "IPv4 in IPv6 clothes is IPv4", 0, -1, S(""), S(""), S("::ffff:192.0.2.7"), S(""), true, "client:192.0.2.7 " },
	{ "no address", 0, -1, S(""), S(""), S("unknown"), S("a@b.c"), false, "" },
	{ "cut address", 0, -1, S(""), S(""), S("192.0.2"), S("a@b.c"), false, "" },
	/* text */
	{ "control bytes are written out", AUTH, -1, S("a\nb\x01"), S(""), S(""), S(""), true, "login:a\\x0ab\\x01 " },
	{ "a NUL too", AUTH, -1, S("a\0b"), S(""), S(""), S(""), true, "login:a\\x00b " },
	{ "broken UTF-8 too", AUTH, -1, S("a\xff"), S(""), S(""), S(""), true, "login:a\\xff " },
	{ "UTF-8 stays", AUTH, -1, S("j\xc3\xb6"), S(""), S(""), S(""), true, "login:j\xc3\xb6 " },
	{ "sender without a domain", AUTH, -1, S("joe"), S(""), S(""), S("joe"), true, "login:joe sender:joe " },
	{ "the last @ counts", AUTH, -1, S("joe"), S(""), S(""), S("\"a@b\"@C.D"), true,
	  "login:joe sender:\"a@b\"@c.d domain:c.d " },
	{ "nothing behind the @", AUTH, -1, S("joe"), S(""), S(""), S("a@"), true, "login:joe sender:a@ " },
};

static void names_of_cards(void **state)
{
	struct origin_names names;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		const struct fact *r = &rows[i];
		struct card c;
		char all[ORIGINS_MAX * ORIGIN_TEXT] = "";
		print_message("  %s\n", r->what);
		card_init(&c, CARD_NEW);
		c.flags = r->flags;
		c.uid = r->uid;
		(void)card_put(&c, &c.login, r->login, LOGIN_MAX);
		(void)card_put(&c, &c.script, r->script, SCRIPT_MAX);
		(void)card_put(&c, &c.client, r->client, 64);
		(void)card_put(&c, &c.sender, r->sender, ADDRESS_MAX);
		origin_names(&c, conf, &names);
		for (size_t k = 0; k < names.n; k++) {
			size_t n = strlen(all);
			(void)snprintf(all + n, sizeof all - n, "%s ", names.name[k].text);
		}
		assert_string_equal(all, r->names);
		assert_int_equal(names.accountable, r->accountable);
	}
}

/* However long the text: it is cut, never past its end, and what it names stays one name. */
static void long_names(void **state)
{
	static char text[LOGIN_MAX];
	struct origin_names names;
	struct card c;

	(void)state;
	for (int kind = 0; kind < 3; kind++) {
		memset(text, kind == 0 ? 'A' : kind == 1 ? '\n' : '\xc3', sizeof text);
		card_init(&c, CARD_NEW);
		c.flags = CARD_AUTH;
		(void)card_put(&c, &c.login, (struct slice){ text, sizeof text }, LOGIN_MAX);
		origin_names(&c, conf, &names);
		assert_int_equal(names.n, 1);
		assert_in_range(strlen(names.name[0].text), LOGIN_MAX / 2, ORIGIN_TEXT - 1);
	}
}

static void typed_names(void **state)
{
	static const struct { const char *what, *text, *is; enum origin_kind kind; } typed[] = {
		{ "login", "login:Joe@Example.com", "login:joe@example.com", ORIGIN_LOGIN },
		{ "uid", "uid:1001", "uid:1001", ORIGIN_UID },
		{ "script keeps its colon", "script:1001:/a.php", "script:1001:/a.php", ORIGIN_SCRIPT },
		{ "client", "client:192.0.2.7", "client:192.0.2.7", ORIGIN_CLIENT },
		{ "IPv6 client becomes its /64", "client:2001:db8::5", "client:2001:db8::/64", ORIGIN_CLIENT },
		{ "a network", "client:192.0.2.99/24", "client:192.0.2.0/24", ORIGIN_CLIENT },
		{ "domain", "domain:Example.COM", "domain:example.com", ORIGIN_DOMAIN },
		{ "no kind", "joe@example.com", NULL, ORIGIN_KINDS },
		{ "unknown kind", "user:joe", NULL, ORIGIN_KINDS },
		{ "no value", "login:", NULL, ORIGIN_KINDS },
		{ "nothing", "", NULL, ORIGIN_KINDS },
		{ "no address", "client:joe", NULL, ORIGIN_KINDS },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(typed); i++) {
		struct origin_name name;
		print_message("  %s\n", typed[i].what);
		assert_int_equal(origin_parse(slice_str(typed[i].text), &name), typed[i].is != NULL);
		if (typed[i].is == NULL)
			continue;
		assert_string_equal(name.text, typed[i].is);
		assert_int_equal(name.kind, typed[i].kind);
		/* and once more: the name of a name is itself, as the ledger needs it */
		struct origin_name again;
		assert_true(origin_parse(slice_str(name.text), &again));
		assert_string_equal(again.text, typed[i].is);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_of_cards),
		cmocka_unit_test(long_names),
		cmocka_unit_test(typed_names),
	};

	return cmocka_run_group_tests(tests, make_conf, drop_conf);
}
