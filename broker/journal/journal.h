/*
 * journal.h -- remembers: appends entries, makes them durable, gives them back.
 *
 *    oldest                                             tail
 *      |  segment 7  |  segment 8  |  segment 9  |......|  spare  |  spare  |
 *      |<---------------- live ------------------------>|
 *
 * Append-only segments of equal size, prefilled, recycled by rename strictly oldest
 * first.  An LSN is a byte position: segment number x segment size + offset.  JOURNAL.md has
 * the bytes, the rule for "this record is valid", and recovery as numbered steps.
 *
 * One thread; the disk seam is the only thing it talks to.  It never logs.  What ends
 * journal_persist(), journal_poll() or journal_sync() is final (ERR_IO, ERR_CORRUPT, ...): the
 * caller says so and ends the process.
 */
#ifndef JOURNAL_H
#define JOURNAL_H

#include "base/base.h"
#include "core/entry.h"
#include "world/disk.h"

/* A record, and a group of them, may be such a part of a segment. */
#define JOURNAL_RECORD_SHARE 4u
/* So many bytes may wait in memory for the disk: seconds of what it can write. */
#define JOURNAL_UNSYNCED (UINT64_C(256) << 20)

struct journal;

struct journal_conf {
	uint64_t quota_bytes;	/* all segments and spares together            journal.quota   */
	uint64_t segment_bytes; /* of a new journal                            journal.segment */
	uint64_t cache_bytes;	/* recent groups kept in memory                journal.cache   */
	uint32_t align;		/* groups begin at multiples of it; 0: packed   journal.align   */
	uint64_t retention_ms;	/* of full segments, quota allowing          history.retention */
	uint64_t unsynced_bytes; /* what may wait in memory for the disk; 0: JOURNAL_UNSYNCED   */
};

/* What the journal needs of the core; joined by the loop. */
struct journal_client {
	/*
	 * Recovery: every valid record in order, each segment's state first, the journal's own
	 * (ENTRY_OLDEST) left out.  A copy may follow what it is a copy of: the later one wins.
	 */
	int (*recover)(void *arg, const struct entry *e, struct place place);
	/*
	 * The core's part of a segment's state record: as it is after all that was appended, or
	 * recovered, so far.  Called from within journal_append() when a segment is full, and twice
	 * from within journal_open().  It may be ahead of what is being appended: a client must
	 * take the larger of what a state record and the records behind it say.  Must not append.
	 */
	void (*state)(void *arg, struct entry_state *ret_state);
	/* Reclaim: E, a half, copy or audit record, lies in the segment that goes. May append. */
	void (*reclaim)(void *arg, const struct entry *e, struct place place);
	/*
	 * Reclaim of a stub, of the transaction SEQ.  What a stub says never changes, so when it
	 * is kept it is appended as it is, and moved() tells where.
	 */
	bool (*keep)(void *arg, uint64_t seq, struct place place);
	void (*moved)(void *arg, uint64_t seq, struct place place);
	/* All records that end at or before LSN are durable. */
	void (*durable)(void *arg, uint64_t lsn);
	/* The end of journal_fetch(). */
	void (*fetched)(void *arg, uint64_t token, int err, const struct half *half);
	/* Room for half-sends: changes only. */
	void (*space)(void *arg, bool ok);
	/* Recovery goes on: segment I of N; for people. */
	void (*progress)(void *arg, uint64_t i, uint64_t n);
};

/* What was wrong, for the one line that people get. */
struct journal_fault {
	uint64_t segment;
	uint64_t lsn;
	char text[256];
};

/*
 * Locks the directory and recovers.  *RET_NEW: there was no journal; the caller formats its
 * core and then journal_start()s.  Blocks (in disk wait()) until recovery is done.
 * ERR_LOCKED, ERR_CORRUPT, ERR_VERSION, ERR_IO, ERR_NOSPACE, ERR_NOMEM; RET_FAULT tells more.
 */
int journal_open(struct disk *disk, const struct journal_conf *conf,
		 const struct journal_client *client, void *arg, struct journal **ret_journal,
		 bool *ret_new, struct journal_fault *ret_fault) MUSTUSE;
/*
 * Between the two: how many transactions recovery left undecided, and with how many messages, for
 * which room is set aside.  Without it what the records said is believed, which is a little more: a
 * transaction that was copied forward counts twice.
 */
void journal_undecided(struct journal *j, uint64_t transactions, uint64_t messages);
/*
 * Opens a new segment with a higher epoch (state record, recovered tail rewritten), or the last
 * one anew when it has little, and makes it durable: only then may anything be answered.  Spares
 * are filled later, in the background.
 * ERR_NOSPACE: the disk has no room for one more segment, and nothing was changed for the worse.
 */
int journal_start(struct journal *j, uint64_t wall_ms) MUSTUSE;
struct journal *journal_free(struct journal *j);

/*
 * Encodes E into the open group.  0 with its place, ERR_FULL or ERR_AGAIN (see ports.append),
 * ERR_TOOBIG when it cannot fit a segment.  After a failure nothing is remembered any more and 0
 * comes all the same, with a place that never gets durable: journal_persist() or journal_poll() of
 * the same turn says what failed, and nothing leaves before.
 */
int journal_append(struct journal *j, const struct entry *e, struct place *ret_place) MUSTUSE;
/* Is E, of the class that may be refused, to be taken now? */
bool journal_has_room(const struct journal *j);

/*
 * See ports.fetch().  Served from the cache of recent groups or of read chunks; else a disk
 * read begins.  The half and its strings live until the next call of the journal.
 * ERR_AGAIN: client->fetched() follows; ERR_NOTFOUND: its segment is gone, or no half lies there.
 */
int journal_fetch(struct journal *j, struct place place, uint64_t token,
		  const struct half **ret_half);

/*
 * Writes the open group and begins its sync, when it is time: nothing waits, or a sync is under
 * way, or gathering goes on until journal_deadline_ns().  ERR_IO: end the process.
 */
int journal_persist(struct journal *j, int64_t now_ns, uint64_t wall_ms) MUSTUSE;
/* Ends of syncs, reads and allocations become calls of the client.  ERR_IO, ERR_CORRUPT. */
int journal_poll(struct journal *j, int64_t now_ns) MUSTUSE;
int64_t journal_deadline_ns(const struct journal *j);
/* Nothing is appended that was not written and synced, lazy records included. */
bool journal_idle(const struct journal *j);
/* Persists all and waits for it: shutdown only. */
int journal_sync(struct journal *j) MUSTUSE;

struct journal_stats {
	uint64_t appended_lsn, durable_lsn;
	uint64_t records, groups, syncs;
	uint64_t bytes_written;
	uint64_t bytes_copied;	  /* by reclaim                                          */
	uint64_t segments, spares;
	uint64_t oldest_segment, newest_segment;
	uint64_t reclaimed;
	uint64_t fetch_hits, fetch_misses;
	uint64_t sync_ns_last, sync_ns_mean; /* running estimate                          */
	uint64_t sync_ns_total;		     /* of all syncs                               */
	uint64_t sync_histogram[32];	     /* [i]: under 2^i microseconds, not under 2^(i-1) */
	uint64_t group_histogram[20];	     /* [i]: under 2^i records, not under 2^(i-1)       */
	uint64_t quota_bytes, live_bytes;
	bool full;		   /* half-sends are refused                              */
	bool disk_full;		   /* the disk has no room, whatever the quota says       */
};

const struct journal_stats *journal_stats(const struct journal *j);
/* No state record may be longer: one that is ends the daemon, so the client keeps below it. */
uint64_t journal_state_max(const struct journal *j);

/* escrowd journal dump|verify|stat: read only, no lock, no daemon needed.  0, or the fault. */
struct buf;
int journal_dump(struct disk *disk, void (*line)(void *arg, struct str line), void *arg,
		 struct journal_fault *ret_fault) MUSTUSE;
int journal_verify(struct disk *disk, struct buf *out, struct journal_fault *ret_fault) MUSTUSE;
int journal_stat(struct disk *disk, struct buf *out, struct journal_fault *ret_fault) MUSTUSE;

#endif /* JOURNAL_H */
