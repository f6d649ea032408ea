/* answer.h - rows of the store as JSON, and a selection read from it. */
#ifndef QUARANTINE_ANSWER_H
#define QUARANTINE_ANSWER_H

#include "quarantine/command.h"
#include "quarantine/recover.h"

json_t *answer_text(const char *s); /* any bytes: what is not UTF-8 becomes U+FFFD */
json_t *answer_message(const struct row *, bool detail);
json_t *answer_incident(const struct incident *);
json_t *answer_origin(const struct origin_row *);
json_t *answer_audit(const struct audit_row *);
json_t *answer_finding(const struct finding *);

/* Sends {"row": ...}; steals row. */
int emit_row(struct emit *, json_t *row, int fd);
int emit_failed(struct emit *, const char *id, const char *why);
int emit_progress(struct emit *, uint64_t done, uint64_t total, const char *what);

/* ids stay valid as long as out lives: free out->ids. states is left as the caller set it. */
int selection_read(const json_t *args, struct selection *out, struct err *e);
/* "incident 7, sender *@x" for the audit trail. */
void selection_text(const struct selection *, char *out, size_t cap);
bool selection_empty(const struct selection *);
/* "m12" */
bool message_id_parse(const char *text, int64_t *id);

#endif
