#include "base/net.h"

#include <arpa/inet.h>
#include <stdio.h>

static unsigned full(const struct net *n)
{
	return n->family == 4 ? 32 : 128;
}

static bool host_parse(struct slice text, struct net *out)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	char host[NET_TEXT];

	if (text.n == 0 || text.n >= sizeof host || memchr(text.p, '\0', text.n) != NULL)
		return false;
	(void)slice_text(host, sizeof host, text);
	memset(out, 0, sizeof *out);
	if (inet_pton(AF_INET, host, out->addr) == 1) {
		out->family = 4;
	} else if (inet_pton(AF_INET6, host, out->addr) == 1) {
		out->family = 6;
		if (memcmp(out->addr, mapped, sizeof mapped) == 0) {
			memmove(out->addr, out->addr + 12, 4);
			memset(out->addr + 4, 0, 12);
			out->family = 4;
		}
	} else {
		return false;
	}
	out->bits = (uint8_t)full(out);
	return true;
}

bool net_parse(struct slice text, struct net *out)
{
	struct slice host;
	struct net n;
	uint64_t bits;

	if (slice_istarts(text, SLICE("IPv6:"))) {
		text.p += 5;
		text.n -= 5;
	}
	if (slice_drop_head(&text, SLICE("[")) && !slice_drop_tail(&text, SLICE("]")))
		return false;
	if (!slice_cut(&text, '/', &host)) {
		if (!host_parse(text, &n))
			return false;
		*out = n;
		return true;
	}
	if (!host_parse(host, &n) || !slice_u64(text, full(&n), &bits))
		return false;
	*out = net_mask(n, (unsigned)bits);
	return true;
}

struct net net_mask(struct net n, unsigned bits)
{
	for (unsigned i = 0; i < sizeof n.addr; i++) {
		unsigned keep = bits > 8 * i ? bits - 8 * i : 0;
		if (keep < 8)
			n.addr[i] &= (uint8_t)(0xff00u >> keep);
	}
	if (bits < n.bits)
		n.bits = (uint8_t)bits;
	return n;
}

bool net_contains(const struct net *outer, const struct net *inner)
{
	if (outer->family != inner->family || outer->bits > inner->bits)
		return false;
	struct net cut = net_mask(*inner, outer->bits);
	return memcmp(cut.addr, outer->addr, sizeof cut.addr) == 0;
}

bool net_loopback(const struct net *n)
{
	static const uint8_t six[16] = { [15] = 1 };

	return n->family == 4 ? n->addr[0] == 127 : memcmp(n->addr, six, sizeof six) == 0;
}

void net_text(const struct net *n, char out[NET_TEXT])
{
	char host[INET6_ADDRSTRLEN] = "?";

	(void)inet_ntop(n->family == 4 ? AF_INET : AF_INET6, n->addr, host, sizeof host);
	if (n->bits == full(n))
		(void)snprintf(out, NET_TEXT, "%s", host);
	else
		(void)snprintf(out, NET_TEXT, "%s/%u", host, (unsigned)n->bits);
}
