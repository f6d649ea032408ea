/* Facts about the rules: who trips them, at which message, and whom an override lets send more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "monitor/ward.h"

#define ROWS(a) (sizeof(a) / sizeof *(a))

static const char rules[] = "[rule burst]\norigin = login, uid, script, domain\ncount = recipients\nlimit = 10\nper = 10m\n"
			    "action = quarantine\n"
			    "[rule many]\norigin = login\ncount = messages\nlimit = 3\nper = 1m\naction = alert\n"
			    "[rule large]\norigin = client\ncount = bytes\nlimit = 1000\nper = 1h\naction = quarantine\n";

static struct scene {
	struct ward w;
	struct store store;
	struct conf *conf;
} s;

static void begin(const char *mode, const char *overrides)
{
	char text[4000], *mistakes = NULL;
	struct err e;
	int n = snprintf(text, sizeof text, "[spoolward]\nmode = %s\n[spool drop]\nformat = eml\npath = /nowhere\n%s%s", mode,
			 rules, overrides);

	memset(&s, 0, sizeof s);
	if (conf_parse("test", (struct slice){ text, (size_t)n }, &s.conf, &mistakes) != 0)
		fail_msg("%s", mistakes);
	s.w.store = &s.store;
	s.w.next_incident = 7;
	s.w.notes_fd = -1;
	(void)pthread_mutex_init(&s.w.notes_lock, NULL);
	assert_true(roster_init(&s.w.roster, 1000));
	/* the keeper collects what is posted; it never runs */
	assert_int_equal(taker_new(&s.store, NULL, &s.w.taker, &e), 0);
	assert_int_equal(keeper_new(&s.store, s.w.taker, &s.w.keeper, &e), 0);
	ward_conf(&s.w, s.conf);
	s.w.sweep.due = false;
}

static void end(void)
{
	keeper_stop(s.w.keeper);
	taker_free(s.w.taker);
	ward_free(&s.w);
	conf_free(s.conf);
}

/* One message of these origins ("a b c", the first answers), sent ago_ms before now. */
static void send_one(const char *names, struct tally t, int64_t ago_ms)
{
	static unsigned serial;
	char id[24], copy[400], *rest = copy, *name;
	size_t n = 0;

	(void)snprintf(id, sizeof id, "m%u.eml", serial++);
	(void)snprintf(copy, sizeof copy, "%s", names);
	struct message *m = roster_add(&s.w.roster, 0, slice_str(id), serial);
	assert_non_null(m);
	while ((name = strsep(&rest, " ")) != NULL) {
		struct origin_name o;
		assert_true(origin_parse(slice_str(name), &o));
		roster_name(&s.w.roster, m, (unsigned)n++, roster_origin(&s.w.roster, o.text, o.kind, clock_boot_ms()));
	}
	m->accountable = true;
	verdict(&s.w, m, m->origin, n, &t, clock_boot_ms() - ago_ms);
}

static const char *state_of(const char *name)
{
	uint32_t at = roster_origin_find(&s.w.roster, name);
	struct open_incident *i = at == ORIGIN_NONE ? NULL : incident_of(&s.w, at);

	return i != NULL ? i->rec.state : "";
}

static bool held(const char *name)
{
	return s.w.roster.origins[roster_origin_find(&s.w.roster, name)].state == HOLD_HELD;
}

/* Messages of one recipient each: the number of the one that makes name's incident reach state, 0 never. */
static unsigned trips(const char *names, const char *name, const char *state, unsigned most)
{
	for (unsigned i = 1; i <= most; i++) {
		send_one(names, (struct tally){ 10, 1, 1 }, 0);
		if (strcmp(state_of(name), state) == 0)
			return i;
	}
	return 0;
}

static void limit_rows(void **state)
{
	static const struct { const char *what, *overrides, *names, *name, *state; unsigned at; } rows[] = {
		{ "the message that passes the limit", "", "login:joe@a.example", "login:joe@a.example", "quarantined", 11 },
		{ "another rule before it", "", "login:joe@a.example", "login:joe@a.example", "alerted", 4 },
		{ "a uid has no such rule", "", "uid:1001", "uid:1001", "alerted", 0 },
		{ "a client has neither", "", "client:192.0.2.7", "client:192.0.2.7", "quarantined", 0 },
		{ "a domain is counted beside its login", "", "login:joe@a.example domain:a.example", "domain:a.example",
		  "quarantined", 11 },
		{ "own limit", "[override x]\nmatch = login:joe@a.example\nlimits = burst:20\n", "login:joe@a.example",
		  "login:joe@a.example", "quarantined", 21 },
		{ "only of the rule that it names", "[override x]\nmatch = login:joe@a.example\nlimits = many:20\n",
		  "login:joe@a.example", "login:joe@a.example", "quarantined", 11 },
		{ "a smaller one", "[override x]\nmatch = login:joe@a.example\nlimits = burst:5\n", "login:joe@a.example",
		  "login:joe@a.example", "quarantined", 6 },
		{ "by pattern", "[override x]\nmatch = login:*@a.example\nlimits = burst:20\n", "login:joe@a.example",
		  "login:joe@a.example", "quarantined", 21 },
		{ "case does not count", "[override x]\nmatch = login:*@A.Example\nlimits = burst:20\n", "login:joe@a.example",
		  "login:joe@a.example", "quarantined", 21 },
		{ "another domain's", "[override x]\nmatch = login:*@b.example\nlimits = burst:20\n", "login:joe@a.example",
		  "login:joe@a.example", "quarantined", 11 },
		{ "exempt", "[override x]\nmatch = login:joe@a.example\nexempt = yes\n", "login:joe@a.example",
		  "login:joe@a.example", "quarantined", 0 },
		{ "exact before pattern, whatever comes first",
		  "[override x]\nmatch = login:*\nlimits = burst:15\n[override y]\nmatch = login:joe@a.example\nlimits = burst:20\n",
		  "login:joe@a.example", "login:joe@a.example", "quarantined", 21 },
		{ "of two patterns the first",
		  "[override x]\nmatch = login:*\nlimits = burst:15\n[override y]\nmatch = login:*@a.example\nlimits = burst:20\n",
		  "login:joe@a.example", "login:joe@a.example", "quarantined", 16 },
		{ "account before domain",
		  "[override x]\nmatch = domain:a.*\nlimits = burst:30\n[override y]\nmatch = login:*\nlimits = burst:20\n",
		  "login:joe@a.example domain:a.example", "login:joe@a.example", "quarantined", 21 },
		{ "domain before client",
		  "[override x]\nmatch = client:192.0.2.0/24\nlimits = burst:30\n[override y]\nmatch = domain:a.*\nlimits = burst:20\n",
		  "login:joe@a.example client:192.0.2.7 domain:a.example", "login:joe@a.example", "quarantined", 21 },
		{ "exact domain before account pattern",
		  "[override x]\nmatch = login:*\nlimits = burst:15\n[override y]\nmatch = domain:a.example\nlimits = burst:20\n",
		  "login:joe@a.example domain:a.example", "login:joe@a.example", "quarantined", 21 },
		{ "a client by network", "[override x]\nmatch = client:192.0.2.0/24\nlimits = burst:20\n",
		  "login:joe@a.example client:192.0.2.7", "login:joe@a.example", "quarantined", 21 },
		{ "not the network beside it", "[override x]\nmatch = client:192.0.3.0/24\nlimits = burst:20\n",
		  "login:joe@a.example client:192.0.2.7", "login:joe@a.example", "quarantined", 11 },
		{ "an IPv6 /64 inside a /32", "[override x]\nmatch = client:2001:db8::/32\nlimits = burst:20\n",
		  "login:joe@a.example client:2001:db8:1:2::5", "login:joe@a.example", "quarantined", 21 },
		{ "until a day to come", "[override x]\nmatch = login:*\nlimits = burst:20\nuntil = 2999-12-31\n",
		  "login:joe@a.example", "login:joe@a.example", "quarantined", 21 },
		{ "until a day that is over", "[override x]\nmatch = login:*\nexempt = yes\nuntil = 2020-12-31\n",
		  "login:joe@a.example", "login:joe@a.example", "quarantined", 11 },
		{ "one that is over gives way to one that is not",
		  "[override x]\nmatch = login:joe@a.example\nexempt = yes\nuntil = 2020-12-31\n"
		  "[override y]\nmatch = domain:a.example\nlimits = burst:20\n",
		  "login:joe@a.example domain:a.example", "login:joe@a.example", "quarantined", 21 },
	};

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		print_message("  %s\n", rows[i].what);
		begin("enforce", rows[i].overrides);
		assert_int_equal(trips(rows[i].names, rows[i].name, rows[i].state, 60), rows[i].at);
		end();
	}
}

static void units(void **state)
{
	(void)state;
	begin("enforce", "");
	send_one("login:joe", (struct tally){ 10, 1, 10 }, 0); /* the limit itself is allowed */
	assert_string_equal(state_of("login:joe"), "");
	send_one("login:joe", (struct tally){ 10, 1, 1 }, 0);
	assert_string_equal(state_of("login:joe"), "quarantined");
	send_one("client:192.0.2.7", (struct tally){ 1000, 1, 1 }, 0);
	assert_string_equal(state_of("client:192.0.2.7"), "");
	send_one("client:192.0.2.7", (struct tally){ 1, 1, 1 }, 0);
	assert_string_equal(state_of("client:192.0.2.7"), "quarantined");
	send_one("login:eve", (struct tally){ 10, 1, 1000 }, 0); /* one message with too many recipients */
	assert_string_equal(state_of("login:eve"), "quarantined");
	end();
}

/* What is older than the window is not held against anybody. */
static void windows(void **state)
{
	(void)state;
	begin("enforce", "");
	send_one("uid:1", (struct tally){ 10, 1, 10 }, 11 * 60000);
	send_one("uid:1", (struct tally){ 10, 1, 10 }, 0);
	assert_string_equal(state_of("uid:1"), "");
	send_one("uid:2", (struct tally){ 10, 1, 10 }, 9 * 60000);
	send_one("uid:2", (struct tally){ 10, 1, 1 }, 0);
	assert_string_equal(state_of("uid:2"), "quarantined");
	end();
}

static void modes(void **state)
{
	(void)state;
	begin("observe", "");
	assert_int_equal(trips("login:joe", "login:joe", "observed", 60), 11);
	assert_false(held("login:joe"));
	assert_false(s.w.sweep.due);
	assert_int_equal(incident_of(&s.w, roster_origin_find(&s.w.roster, "login:joe"))->rec.would_take, 11);
	end();
	begin("enforce", "");
	assert_int_equal(trips("login:joe", "login:joe", "quarantined", 60), 11);
	assert_true(held("login:joe"));
	assert_true(s.w.sweep.due);
	end();
	begin("enforce", ""); /* an alert holds nobody */
	assert_int_equal(trips("login:joe", "login:joe", "alerted", 60), 4);
	assert_false(held("login:joe"));
	assert_false(s.w.sweep.due);
	end();
}

/* One incident per origin: it rises, never falls back, and grows with what follows. */
static void incidents(void **state)
{
	(void)state;
	begin("enforce", "");
	for (int i = 0; i < 4; i++)
		send_one("login:joe client:192.0.2.7", (struct tally){ 10, 1, 1 }, 0);
	struct open_incident *i = incident_of(&s.w, roster_origin_find(&s.w.roster, "login:joe"));
	assert_int_equal(i->rec.id, 7);
	assert_string_equal(i->rec.rule, "many");
	for (int k = 0; k < 20; k++)
		send_one("login:joe client:192.0.2.8", (struct tally){ 10, 1, 1 }, 0);
	i = incident_of(&s.w, roster_origin_find(&s.w.roster, "login:joe"));
	assert_int_equal(i->rec.id, 7);
	assert_string_equal(i->rec.rule, "burst");
	assert_string_equal(i->rec.state, "quarantined");
	assert_int_equal(i->rec.recipients, 24);
	assert_int_equal(i->rec.messages, 24);
	assert_int_equal(i->rec.limit, 10);
	send_one("login:eve", (struct tally){ 10, 1, 11 }, 0);
	assert_int_equal(incident_of(&s.w, roster_origin_find(&s.w.roster, "login:eve"))->rec.id, 8);
	end();
}

/* The right one, and only that one. */
static void others_are_left_alone(void **state)
{
	uint32_t origin;

	(void)state;
	begin("enforce", "[override x]\nmatch = login:good@a.example\nexempt = yes\n");
	for (int i = 0; i < 30; i++)
		send_one("login:good@a.example domain:a.example", (struct tally){ 10, 1, 5 }, 0);
	assert_string_equal(state_of("domain:a.example"), ""); /* what an exempt account sends does not weigh on its domain */
	assert_string_equal(state_of("login:good@a.example"), "");
	for (int i = 0; i < 11; i++)
		send_one("login:bad@a.example client:192.0.2.7", (struct tally){ 10, 1, 1 }, 0);
	assert_true(held("login:bad@a.example"));
	assert_false(held("client:192.0.2.7"));
	send_one("login:other@b.example client:192.0.2.7", (struct tally){ 10, 1, 1 }, 0);
	assert_false(held("login:other@b.example"));
	/* a client that is held by itself holds no login behind it */
	for (int i = 0; i < 3; i++)
		send_one("client:203.0.113.9", (struct tally){ 600, 1, 1 }, 0);
	assert_true(held("client:203.0.113.9"));
	struct message *m = roster_add(&s.w.roster, 0, SLICE("later.eml"), 1);
	roster_name(&s.w.roster, m, 0, roster_origin(&s.w.roster, "login:customer", ORIGIN_LOGIN, 0));
	roster_name(&s.w.roster, m, 1, roster_origin_find(&s.w.roster, "client:203.0.113.9"));
	m->accountable = true;
	assert_false(message_held(&s.w, m, &origin));
	end();
}

static void trusted(void **state)
{
	(void)state;
	begin("enforce", "");
	uint32_t joe = roster_origin(&s.w.roster, "login:joe", ORIGIN_LOGIN, 0);
	origin_hold(&s.w, joe, HOLD_TRUSTED, 0, NULL, "root", "by hand");
	assert_int_equal(trips("login:joe domain:a.example", "login:joe", "quarantined", 60), 0);
	assert_string_equal(state_of("login:joe"), "");
	assert_string_equal(state_of("domain:a.example"), "");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limit_rows), cmocka_unit_test(units),	   cmocka_unit_test(windows), cmocka_unit_test(modes),
		cmocka_unit_test(incidents),  cmocka_unit_test(others_are_left_alone), cmocka_unit_test(trusted),
	};

	log_open("test", 1, LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
