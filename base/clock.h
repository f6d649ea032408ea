/* clock.h - the only clock.
 *
 * clock_boot_ms() never jumps and counts sleep: rates, time-outs. clock_real_s() is what
 * people and files use: it may jump, so nothing is measured with it. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_boot_ms(void);
int64_t clock_real_s(void);
void clock_real_us(int64_t *sec, int32_t *usec);

#define CLOCK_TEXT 32
/* ISO 8601 with zone, as 2026-11-21T10:02:11+01:00. */
void clock_text(int64_t real_s, char out[CLOCK_TEXT]);

#endif
