/*
 * reader.h -- the records of a journal, read by somebody who shares no code with it.
 *
 * Written from broker/JOURNAL.md alone, over the bytes that a power cut would leave now: whatever
 * is found here is durable.  For a running broker; what a crash left is recovery's to judge.
 */
#ifndef READER_H
#define READER_H

#include "base/base.h"
#include "sim/disk_sim.h"

struct reader_record {
	uint8_t type;
	uint64_t lsn;
	const uint8_t *body;
	size_t len;
	const uint8_t *end; /* one behind the body */
};

/* Calls EACH for every record that counts, oldest first.  False: an impossible journal. */
bool reader_walk(struct disk_sim *disk, void (*each)(void *arg, const struct reader_record *r),
		 void *arg);

/* Parts of a body; *AT moves on.  What runs over the end gives 0 and leaves *AT at the end. */
uint64_t reader_le(const struct reader_record *r, const uint8_t **at, int bytes);
uint64_t reader_varint(const struct reader_record *r, const uint8_t **at);
struct str reader_str(const struct reader_record *r, const uint8_t **at);

#endif /* READER_H */
