/* digest.h - hashes; the one door to libsodium. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <sodium/crypto_hash_sha256.h>
#include <stdint.h>

#include "base/slice.h"

#define SHA256_SIZE 32

struct sha256 {
	crypto_hash_sha256_state state;
};

void sha256_init(struct sha256 *h);
void sha256_add(struct sha256 *h, struct slice bytes);
void sha256_end(struct sha256 *h, unsigned char out[SHA256_SIZE]);

void hex_text(char *out, const unsigned char *bytes, size_t n); /* 2n + 1 bytes */

/* Keyed (SipHash-2-4, a random key per process): senders cannot choose colliding names. */
uint64_t hash_slice(struct slice s, uint64_t seed);

#endif
