/* net.h - internet addresses and networks, as text and as something to compare. */
#ifndef BASE_NET_H
#define BASE_NET_H

#include "base/slice.h"

struct net {
	uint8_t family; /* 4 or 6; an IPv4-mapped IPv6 address is IPv4 */
	uint8_t bits;   /* of the prefix: 32 or 128 for one host */
	uint8_t addr[16];
};

#define NET_TEXT 64

/* "192.0.2.7", "192.0.2.0/24", "2001:db8::1", "IPv6:2001:db8::1", "[2001:db8::1]". Host bits of a network are cleared. */
bool net_parse(struct slice text, struct net *out);
/* The network of that many bits around it. */
struct net net_mask(struct net n, unsigned bits);
bool net_contains(const struct net *outer, const struct net *inner);
bool net_loopback(const struct net *n);
/* "192.0.2.7"; "/bits" is added where it is not one host. */
void net_text(const struct net *n, char out[NET_TEXT]);

#endif
