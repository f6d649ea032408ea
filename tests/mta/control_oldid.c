/* A daemon that is wrong on purpose: it releases a message under the queue id that it had. While the MTA remembers that
 * id, the message is lost without a word. */
#include "quarantine/place.h"

bool __real_place_fresh(const struct place *p, struct slice old_id, uint64_t ino, unsigned attempt, struct queue_id *out);
bool __wrap_place_fresh(const struct place *p, struct slice old_id, uint64_t ino, unsigned attempt, struct queue_id *out);

bool __wrap_place_fresh(const struct place *p, struct slice old_id, uint64_t ino, unsigned attempt, struct queue_id *out)
{
	return attempt > 0 ? __real_place_fresh(p, old_id, ino, attempt, out) : queue_id_set(out, old_id);
}
