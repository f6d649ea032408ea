#include "base/digest.h"

#include <pthread.h>
#include <sodium/crypto_shorthash.h>
#include <sodium/randombytes.h>

static unsigned char key[crypto_shorthash_KEYBYTES];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_key(void)
{
	randombytes_buf(key, sizeof key);
}

uint64_t hash_slice(struct slice s, uint64_t seed)
{
	uint64_t out;

	(void)pthread_once(&once, make_key);
	(void)crypto_shorthash((unsigned char *)&out, (const unsigned char *)s.p, s.n, key);
	return out ^ (seed * 0x9e3779b97f4a7c15u);
}

void sha256_init(struct sha256 *h)
{
	(void)crypto_hash_sha256_init(&h->state);
}

void sha256_add(struct sha256 *h, struct slice bytes)
{
	(void)crypto_hash_sha256_update(&h->state, (const unsigned char *)bytes.p, bytes.n);
}

void sha256_end(struct sha256 *h, unsigned char out[SHA256_SIZE])
{
	(void)crypto_hash_sha256_final(&h->state, out);
}

void hex_text(char *out, const unsigned char *bytes, size_t n)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = hex[bytes[i] >> 4];
		out[2 * i + 1] = hex[bytes[i] & 15];
	}
	out[2 * n] = '\0';
}
