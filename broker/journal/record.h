/*
 * record.h -- entries to bytes and back.
 *
 *      | crc32c 4 | type 1 | body length, varint | body ... |
 *
 * The checksum covers type, length and body and is seeded with the segment's number and the LSN of
 * the record: bytes that an earlier life of a recycled segment left behind, or that a disk put in
 * the wrong place, never verify.  JOURNAL.md has the body of each type.
 *
 * Pure: no disk, no clock.  What comes in is hostile until record_open() said otherwise, and
 * even then every length is bounded before it is used.
 */
#ifndef RECORD_H
#define RECORD_H

#include "base/base.h"
#include "core/entry.h"
#include "core/limits.h"

#define RECORD_HEAD_MIN 6      /* checksum, type, one byte of length                        */
#define RECORD_HEAD_MAX 10     /* the length takes five bytes at most                       */
#define RECORD_TYPE_SKIP 128   /* from here on: unknown to us, and may be passed over       */
#define RECORD_ADDR_TEXT 24    /* "255.255.255.255:65535" with its NUL                      */

/* At least as many bytes as E will take. */
size_t record_bound(const struct entry *e);
/* How much longer a copy of H can be than H alone, with its decision and parts. */
size_t record_copy_bound(const struct half *h);
/* Writes E at OUT, which has room for record_bound(); returns the bytes used. Not sealed yet. */
size_t record_encode(const struct entry *e, uint8_t *out);
/* Writes the checksum: the last thing before the bytes may leave. */
void record_seal(uint8_t *record, size_t len, uint64_t segment, uint64_t lsn);

struct record {
	uint8_t type; /* perhaps none that we know                                         */
	struct str body;
	uint32_t len; /* of the whole                                                       */
};

/*
 * How long is the record that begins with BYTES?  ERR_AGAIN: too few bytes to tell;
 * ERR_MALFORMED.  Nothing is verified: bound it before reading so far.
 */
int record_length(struct str bytes, uint64_t *ret_len) MUSTUSE;
/* The record that begins with BYTES, which we encoded and which never left our memory. */
int record_open_ours(struct str bytes, uint64_t lsn, struct record *ret_record) MUSTUSE;
/* The record that begins with BYTES, verified.  ERR_CORRUPT. */
int record_open(struct str bytes, uint64_t segment, uint64_t lsn,
		struct record *ret_record) MUSTUSE;

/*
 * Where a decoded entry's arrays and the strings that are not in the body live.  About
 * 40 KiB: keep one, do not put it on the stack.  Zero it first, record_scratch_done() it.
 */
struct record_scratch {
	struct message messages[LIMIT_MESSAGES];
	uint32_t topics[LIMIT_MESSAGES];
	struct part parts[LIMIT_MESSAGES];
	uint64_t n[LIMIT_MESSAGES];
	char key[32];
	char from[RECORD_ADDR_TEXT];
	char who[RECORD_ADDR_TEXT];
	uint64_t *done; /* grown; at most one element for each byte of the record          */
	size_t done_cap;
	struct entry_topic *state_topics;
	size_t state_topics_cap;
	struct lane_state *state_lanes;
	size_t state_lanes_cap;
};

void record_scratch_done(struct record_scratch *s);

/*
 * RET_ENTRY borrows from R's body and from S, until S is used again.  ERR_VERSION: a type that
 * we do not know; ERR_MALFORMED: the checksum is right and the content is not; ERR_NOMEM.
 */
int record_decode(const struct record *r, struct record_scratch *s,
		  struct entry *ret_entry) MUSTUSE;
/* All that reclaim needs of a stub: the sequence of its transaction.  ERR_MALFORMED. */
int record_stub_seq(const struct record *r, uint64_t *ret_seq) MUSTUSE;

/* "half", "decision", ...; "?" for a type that we do not know. */
const char *record_type_name(uint8_t type);

/*
 * The group that records travel in: one write.
 *
 *   offset size
 *        0    4  magic 'EsG1'
 *        4    1  incompatible flags: a reader that does not know one must stop
 *        5    1  compatible flags: a reader may ignore those it does not know
 *        6    2  padding: bytes between the last record and the next group
 *        8    8  LSN of this byte 0
 *       16    8  durable LSN known at writing: all before it had been synced
 *       24    4  epoch: raised by every start
 *       28    4  length of the records
 *       32    4  number of records
 *       36    4  CRC32C of bytes 0..35, seeded like a record's
 */
#define GROUP_HEADER 40
#define GROUP_MAGIC UINT32_C(0x31477345)
#define GROUP_INCOMPATIBLE 0x00 /* flags that we know */

struct group_header {
	uint8_t incompatible;
	uint8_t compatible;
	uint16_t padding;
	uint64_t lsn;
	uint64_t durable_lsn;
	uint32_t epoch;
	uint32_t length;
	uint32_t records;
};

void group_encode(const struct group_header *g, uint64_t segment, uint8_t ret_bytes[GROUP_HEADER]);
/*
 * ERR_CORRUPT: not a group header that was written for this place.  ERR_VERSION: it was, by
 * somebody who knows a flag that we do not.  LSN 0: any (the first of a segment of unknown size).
 */
int group_decode(const uint8_t bytes[GROUP_HEADER], uint64_t segment, uint64_t lsn,
		 struct group_header *ret_group) MUSTUSE;

#endif /* RECORD_H */
