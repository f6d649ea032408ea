#include "conf/rows.h"

const struct section_row section_rows[SECTION_KINDS] = {
	[SECTION_GLOBAL] = { "spoolward", "[spoolward]", false, "What holds for the whole daemon." },
	[SECTION_SPOOL] = { "spool", "[spool NAME]", true,
		"One queue to guard.\n"
		"At least one is needed, and each has a section.\n"
		"NAME appears in alerts and selects with --spool: letters and digits, dot, \"-\" and \"_\"; case does not count." },
	[SECTION_RULE] = { "rule", "[rule NAME]", true,
		"How much is too much: an origin that passes limit within per trips the rule.\n"
		"If the file has any rule, only the rules of the file apply.\n"
		"If it has none, the four rules of the sample file do." },
	[SECTION_OVERRIDE] = { "override", "[override NAME]", true,
		"Other limits, or none, for those who may send more: a newsletter, a shop.\n"
		"An exact match goes before a pattern, an account before a domain, a domain before a client.\n"
		"\"spoolward trust\" does the same at run time, with an end." },
};

const char *const origin_kind_names[ORIGIN_KINDS] = { "login", "script", "uid", "client", "sender", "domain" };
const char *const count_kind_names[COUNT_KINDS] = { "recipients", "messages", "bytes" };
const char *const mode_names[2] = { "observe", "enforce" };
const char *const action_names[2] = { "alert", "quarantine" };

#define MINUTE 60
#define DAY 86400
#define MANY (UINT64_C(1) << 62)
#define G(f) offsetof(struct conf, f)
#define S(f) offsetof(struct conf_spool, f)
#define R(f) offsetof(struct conf_rule, f)
#define O(f) offsetof(struct conf_override, f)
#define FIELD_MAX 76 /* a header field's name fits a line */

/* section, key, type, where, least, most, words, traits, default, help */
const struct row conf_rows[] = {
	{ SECTION_GLOBAL, "mode", &type_enum, G(mode), 0, 1, mode_names, 0, "observe",
	  "observe: does everything but move mail; alerts say what would have been taken.\n"
	  "enforce: quarantines what the rules say.\n"
	  "Run with observe until the alerts name only those that you would have stopped." },
	{ SECTION_GLOBAL, "state_dir", &type_path, G(state_dir), 2, 4000, NULL, 0, "/var/lib/spoolward",
	  "Directory of the ledger: incidents, held messages, traffic history, audit trail." },
	{ SECTION_GLOBAL, "quarantine_dir", &type_path, G(quarantine_dir), 2, 4000, NULL, 0, "/var/spool/spoolward",
	  "Directory of the held messages.\n"
	  "On the file system of the queue a message is moved by one rename; elsewhere it is copied and synced." },
	{ SECTION_GLOBAL, "socket", &type_path, G(socket), 2, 107, NULL, 0, "/run/spoolward/control",
	  "Control socket of the command spoolward." },
	{ SECTION_GLOBAL, "group", &type_word, G(group), 0, INT8_MAX, NULL, ROW_EMPTY, "spoolward",
	  "Group that may look: status, incidents, list, show, traffic.\n"
	  "Root always may; empty for root alone." },
	{ SECTION_GLOBAL, "operators", &type_word, G(operators), 0, INT8_MAX, NULL, ROW_EMPTY, "",
	  "Group that may also act: release, purge, hold, lift, trust.\n"
	  "Empty: root alone." },
	{ SECTION_GLOBAL, "alert_every", &type_duration, G(alert_every_s), 1, 7 * DAY, NULL, 0, "15m",
	  "At most one update per incident in this time while it grows.\n"
	  "Opening and closing are always told." },
	{ SECTION_GLOBAL, "reconcile", &type_duration, G(reconcile_s), 1, DAY, NULL, 0, "5m",
	  "Time between full scans of each queue, which find what events did not tell." },
	{ SECTION_GLOBAL, "max_bytes", &type_size, G(max_bytes), 1, MANY, NULL, 0, "10G",
	  "The quarantine never holds more.\n"
	  "When it is full, an alert is sent and mail stays with the MTA." },
	{ SECTION_GLOBAL, "max_messages", &type_count, G(max_messages), 1, 1000000000, NULL, 0, "1000000",
	  "The same, as a number of messages." },
	{ SECTION_GLOBAL, "min_free", &type_size, G(min_free), 0, MANY, NULL, 0, "512M",
	  "Space that the quarantine leaves free on its file system." },
	{ SECTION_GLOBAL, "expire", &type_duration, G(expire_s), 1, 3650 * (uint64_t)DAY, NULL, 0, "30d",
	  "A message that nobody decided about is purged after this time, and that is logged." },
	{ SECTION_GLOBAL, "expire_warn", &type_duration, G(expire_warn_s), 0, 3650 * (uint64_t)DAY, NULL, 0, "3d",
	  "An alert is sent this long before; 0 for none.\n"
	  "If it is not given, it is at most half of expire." },
	{ SECTION_GLOBAL, "forget_after", &type_duration, G(forget_after_s), 1, 36500 * (uint64_t)DAY, NULL, 0, "400d",
	  "Closed incidents, the audit trail and the traffic history are kept this long." },
	{ SECTION_GLOBAL, "max_origins", &type_count, G(max_origins), 16, 100000000, NULL, 0, "1000000",
	  "Origins that are remembered at once; each needs up to 256 bytes of memory.\n"
	  "Beyond that the idlest is forgotten, and counted." },
	{ SECTION_GLOBAL, "trusted_networks", &type_networks, 0, 0, 0, NULL, ROW_EMPTY, "",
	  "Networks whose envelope senders are believed: 192.0.2.0/24, 2001:db8::/32.\n"
	  "A sender can be forged: mail from elsewhere is never held for its sender or domain." },
	{ SECTION_GLOBAL, "on_incident", &type_path, G(on_incident), 2, 4000, NULL, ROW_EMPTY, "",
	  "Program to run when an incident opens, changes its stage or closes.\n"
	  "It gets the incident in its environment and as JSON on its standard input, and no shell." },
	{ SECTION_GLOBAL, "hook_user", &type_account, G(hook_user), 1, INT8_MAX, NULL, 0, "nobody",
	  "User that on_incident runs as: a name or a number." },
	{ SECTION_GLOBAL, "hook_timeout", &type_duration, G(hook_timeout_s), 1, 10 * MINUTE, NULL, 0, "30s",
	  "on_incident is ended after this time." },

	{ SECTION_SPOOL, "format", &type_format, S(format), 0, 0, NULL, ROW_REQUIRED, NULL,
	  "What the queue looks like: @formats@." },
	{ SECTION_SPOOL, "path", &type_path, S(path), 1, 4000, NULL, 0, NULL,
	  "The queue's top directory.\n"
	  "If it is not given, the MTA is asked; a format without an MTA to ask needs it." },
	{ SECTION_SPOOL, "config_dir", &type_path, S(config_dir), 1, 4000, NULL, ROW_ASKED, NULL,
	  "Configuration directory of the MTA that is asked, where it is not the usual one." },
	{ SECTION_SPOOL, "owner", &type_account, S(owner), 1, INT8_MAX, NULL, 0, NULL,
	  "User that the queue files belong to, a name or a number; files of others are ignored.\n"
	  "If it is not given: what the MTA says, or the owner of the queue's first directory." },
	{ SECTION_SPOOL, "stage", &type_below, S(stage), 1, 255, NULL, 0, NULL,
	  "Private directory below the queue's top directory, where messages rest on their way.\n"
	  "If it is not given, the format says it; no MTA may look there." },
	{ SECTION_SPOOL, "hashed", &type_text, S(hashed), 1, 255, NULL, ROW_HASHED, NULL,
	  "Names of hashed queue directories, where the MTA is not asked." },
	{ SECTION_SPOOL, "hash_depth", &type_level, S(hash_depth), 0, SPOOL_DEPTH_MAX, NULL, ROW_HASHED, NULL,
	  "Levels of hash directories below those." },
	{ SECTION_SPOOL, "names", &type_text, S(names), 1, 255, NULL, ROW_HEADERS, "*.eml",
	  "Patterns of file names that are messages, separated by blanks." },
	{ SECTION_SPOOL, "login_header", &type_word, S(login_header), 0, FIELD_MAX, NULL, ROW_HEADERS | ROW_EMPTY, "",
	  "Header field that names the authenticated account.\n"
	  "Only a field that the mail server itself sets, and removes from what its clients send, can be believed." },
	{ SECTION_SPOOL, "client_header", &type_word, S(client_header), 0, FIELD_MAX, NULL, ROW_HEADERS | ROW_EMPTY, "",
	  "Header field that holds the client's address." },
	{ SECTION_SPOOL, "sender_header", &type_word, S(sender_header), 0, FIELD_MAX, NULL, ROW_HEADERS | ROW_EMPTY, "",
	  "Header field that holds the envelope sender." },

	{ SECTION_RULE, "origin", &type_origins, R(origins), 0, 0, NULL, 0, "login, uid, script",
	  "Kinds of origins that are counted: login, script, uid, client, sender, domain." },
	{ SECTION_RULE, "count", &type_enum, R(count), 0, COUNT_KINDS - 1, count_kind_names, 0, "recipients",
	  "What is counted: recipients, messages or bytes." },
	{ SECTION_RULE, "limit", &type_limit, R(limit), 1, MANY, NULL, ROW_REQUIRED, NULL,
	  "More than this trips the rule; bytes may be written as 10K, 5M, 2G." },
	{ SECTION_RULE, "per", &type_duration, R(per_s), 1, 7 * DAY, NULL, ROW_REQUIRED, NULL,
	  "The sliding window in which it is counted." },
	{ SECTION_RULE, "action", &type_enum, R(action), 0, 1, action_names, 0, "alert",
	  "alert: tells.\n"
	  "quarantine: tells, takes what is queued and holds what follows, until a person decides." },

	{ SECTION_OVERRIDE, "match", &type_matches, O(match), 0, 0, NULL, ROW_REQUIRED, NULL,
	  "Whom it is for, as KIND:PATTERN, separated by commas: login:*@lists.example.com, client:192.0.2.0/24." },
	{ SECTION_OVERRIDE, "exempt", &type_yes, O(exempt), 0, 0, NULL, 0, "no",
	  "yes: no rule applies." },
	{ SECTION_OVERRIDE, "until", &type_time, O(until_s), 0, 0, NULL, 0, NULL,
	  "Ends with that day, 2026-12-31, or at that time, 2026-12-31T18:00.\n"
	  "If it is not given, it has no end." },
	{ SECTION_OVERRIDE, "limits", &type_limits, 0, 1, MANY, NULL, 0, NULL,
	  "Own limits as RULE:LIMIT, separated by commas; other rules stay as they are." },
	{ .key = NULL },
};
