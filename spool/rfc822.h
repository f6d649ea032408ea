/* rfc822.h - header fields and addresses of a message, from bytes that may be anything.
 *
 * Bytes are fed as they come, in pieces of any size; fields come out unfolded. LF and CRLF
 * both end a line, a line that is no field is skipped, NUL is a byte like any other.
 * Nothing allocates; each limit is named here. Nothing fails: what breaks a rule is left out. */
#ifndef SPOOL_RFC822_H
#define SPOOL_RFC822_H

#include "spool/card.h"

#define FIELD_NAME_MAX 76       /* longer names are no field we know: skipped */
#define FIELD_PIECE 2048        /* a longer body comes in several pieces */
#define HEADER_TOTAL_MAX 262144 /* bytes of header; what follows is taken for body */

/* A field, or a piece of one: its body is complete when first and last are both set. The
 * blank behind the colon and those before the line end are part of the body: slice_trim(). */
struct field {
	struct slice name, body;
	bool first, last;
};
/* Non-zero: enough, stop. */
typedef int field_fn(void *arg, const struct field *f);

struct headers {
	int state;
	bool over;       /* the header's end was seen, or a limit, or a field_fn said enough */
	bool emitted;    /* the present field has given a piece */
	uint32_t fields; /* complete ones */
	size_t total, nname, nbody;
	char name[FIELD_NAME_MAX];
	char body[FIELD_PIECE];
};

void headers_init(struct headers *h);
/* False when the header is over; the bytes behind its end are not looked at. */
bool headers_feed(struct headers *h, struct slice bytes, field_fn *got, void *arg);
/* End of the bytes: the last field has no line behind it that ends it. */
void headers_end(struct headers *h, field_fn *got, void *arg);

/* Addresses of a From, To, Cc or Bcc body, good enough where there is no envelope: comments
 * and display names are dropped, groups opened, source routes cut off; nothing is unquoted. */
struct addresses {
	uint32_t count;  /* also of those that were too long to be shown */
	uint32_t depth;  /* of comments */
	bool quoted, escaped, angle, had_angle, cut;
	size_t n;
	char text[ADDRESS_MAX];
};
typedef void address_fn(void *arg, struct slice address);

void addresses_init(struct addresses *a);
void addresses_feed(struct addresses *a, struct slice bytes, address_fn *got, void *arg); /* got may be NULL */
void addresses_end(struct addresses *a, address_fn *got, void *arg);
/* The first address of a whole body; false if there is none, or "<>" (then *out is empty). */
bool address_first(struct slice body, char out[ADDRESS_MAX], struct slice *address);

#endif
