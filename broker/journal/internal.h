/*
 * internal.h -- what the files of this folder share.  Nobody else includes it.
 *
 *   append -> open group -> queue -> written -> durable        journal.c
 *                |                                             scan.c     bytes to records
 *                v                                             recover.c  open and start
 *             chunks (cache), read slots                       cache.c
 *   spare -> next -> segment ... oldest -> spare               segment.c, reclaim.c
 *
 * LSNs that bound each other at all times:
 *
 *   vouched <= durable <= written <= tail
 *
 *   vouched   the largest durable LSN that a written header names: damage below it is
 *             corruption, above it a torn tail
 *   durable   a sync that began after the last write below it has ended with 0
 *   written   given to the disk; written > durable only while a sync is under way, or for
 *             an idle marker, which nobody waits for
 *   tail      where the next record will lie
 */
#ifndef JOURNAL_INTERNAL_H
#define JOURNAL_INTERNAL_H

#include "base/base.h"
#include "base/list.h"
#include "journal/journal.h"
#include "journal/record.h"

#define SEGMENT_MIN 4096u	   /* bytes                                                 */
#define SEGMENTS_MIN 4u		   /* the one written, one before it, two spares            */
#define GROUP_MAX (1u << 20)	   /* bytes; fewer in a small segment                       */
#define CHUNK_BYTES (1u << 20)
#define READ_BYTES (256u << 10)	   /* of a cold fetch, and of reclaim                       */
#define RECOVER_BYTES (4u << 20)   /* of one read in recovery                               */
#define SLOTS 16		   /* read chunks of cold fetches                           */
#define FILES_OPEN_MAX 128
#define SPARES_FILLED 2		   /* so many are written over with zeroes ahead of time    */
#define FINISH_BYTES 160	   /* set aside for what finishes one transaction           */
#define FINISH_MORE 6		   /* ... of several messages, for each further one: its n   */
#define ANEW_SHARE 4u		   /* of a segment: so little a start writes anew         */
#define RECLAIM_TURN (256u << 10)
#define RECLAIM_TURN_URGENT (4u << 20)
#define GATHER_MIN_NS (INT64_C(300) * 1000) /* a sync this short is not worth waiting for   */
#define GATHER_MAX_NS (INT64_C(1000) * 1000)
#define LAZY_NS (INT64_C(100) * NS_PER_MS)  /* lazy records alone wait so long for company  */
#define LAZY_BYTES (256u << 10)
#define MARKER_NS (INT64_C(100) * NS_PER_MS) /* idle so long: vouch for the last group      */
#define RETRY_NS (INT64_C(10) * NS_PER_S)    /* after a full disk: is it still?               */
#define LOW_GAIN_NS (INT64_C(1) * NS_PER_S)  /* after a reclaim that freed little; doubles  */
#define LOW_GAIN_MAX_NS (INT64_C(60) * NS_PER_S)

#define NAME_BYTES 40

/* What an end of the disk belongs to: the top byte of its token. */
enum token {
	TOKEN_BLOCKING = 1, /* recovery, dump: somebody stands and waits                     */
	TOKEN_SYNC,
	TOKEN_NEXT_DIR,
	TOKEN_START_DIR,
	TOKEN_FILL,
	TOKEN_RECYCLE_DIR,
	TOKEN_RECLAIM,
	TOKEN_SLOT, /* + slot                                                            */
};

#define TOKEN(kind, value) ((uint64_t)(kind) << 56 | (value))
#define TOKEN_KIND(t) ((enum token)((t) >> 56))
#define TOKEN_VALUE(t) ((t) & ((UINT64_C(1) << 56) - 1))

/* ---- scan.c: the bytes of one segment to groups and records ------------------------- */

enum scan_result {
	SCAN_GROUP,   /* a valid header: s->group                                        */
	SCAN_RECORD,  /* a valid record                                                  */
	SCAN_END,     /* at the limit                                                    */
	SCAN_BAD,     /* at s->at lies nothing that was written for this place            */
	SCAN_VERSION, /* a valid header with a flag that we do not know                   */
	SCAN_MORE,    /* needs the bytes from want_at on, want_len of them                */
};

struct scan {
	uint64_t segment;
	uint64_t base;	/* LSN of offset 0; 0: take it from the first header            */
	uint64_t limit; /* offset where it ends, a group's boundary or the segment's end  */
	uint32_t epoch; /* of the first group; the others must have it too                */
	bool begun;
	uint64_t at; /* offset of what comes next                                       */
	uint64_t group_end, group_next;
	uint64_t padding_at; /* offset behind the last record of the last whole group          */
	uint32_t records_left;
	struct group_header group;
	uint64_t record_lsn;
	uint8_t *buf;
	size_t cap, len;
	uint64_t buf_at;
	uint64_t file_size; /* a hint: no need to ask for more                        */
	uint64_t file_end; /* UINT64_MAX until a short read told                          */
	uint64_t want_at;
	size_t want_len;
};

void scan_init(struct scan *s, uint64_t segment, uint64_t base, uint64_t limit);
void scan_done(struct scan *s);
/* Where to read to, for SCAN_MORE: AHEAD bytes at least.  Then scan_fed(). */
void *scan_room(struct scan *s, size_t ahead, size_t *ret_len);
void scan_fed(struct scan *s, size_t asked, size_t got);
enum scan_result scan_next(struct scan *s, struct record *ret_record);
/* The same, reading from F and standing still meanwhile.  0 and *RET, or ERR_IO. */
int scan_wait(struct scan *s, struct disk *disk, struct disk_file *f, struct record *ret_record,
	      enum scan_result *ret) MUSTUSE;

/*
 * Looks for any valid group header of SEGMENT from offset FROM on, whether the chain leads there
 * or not: the largest durable LSN and epoch that one of them names.
 */
struct vouchers {
	uint64_t durable_lsn; /* 0: none found */
	uint32_t epoch;
	bool inside; /* one of them names a durable LSN behind the segment's first byte       */
};

int vouchers_find(struct disk *disk, struct disk_file *f, uint64_t segment, uint64_t from,
		  struct vouchers *ret) MUSTUSE;

/* ---- one segment, as recovery and the tools see it ---------------------------------------- */

struct survey {
	uint64_t segment;
	uint64_t base;	       /* LSN; 0: no opening                                       */
	uint64_t size;	       /* of the file                                             */
	bool opened;	       /* its opening is valid, and a later header vouches for it  */
	uint32_t epoch;
	uint64_t opening_end;  /* LSN                                                     */
	uint64_t behind;       /* bytes of the records behind the state record            */
	uint64_t end;	       /* LSN of the first thing that is not valid                 */
	uint64_t durable;      /* the largest durable LSN of a header in the chain        */
	struct vouchers later; /* found behind `end`                                      */
	uint64_t segment_bytes;
	uint64_t oldest;
	uint64_t previous_end;
	uint64_t opened_ms;
};

/* ERR_IO, ERR_VERSION, ERR_NOTFOUND, ERR_NOMEM; whatever is wrong with the bytes is in RET. */
int survey_segment(struct disk *disk, uint64_t segment, struct record_scratch *scratch,
		   struct survey *ret) MUSTUSE;
/* Only the opening: previous_end and the like.  `opened` tells whether it is valid. */
int survey_opening(struct disk *disk, uint64_t segment, struct record_scratch *scratch,
		   struct survey *ret) MUSTUSE;

/* Which files there are. */
struct listing {
	uint64_t *segments; /* ascending */
	size_t segment_count, segment_cap;
	struct spare_file {
		uint32_t id;
		bool whole; /* not ".new" */
		uint64_t size;
	} *spares;
	size_t spare_count, spare_cap;
};

void listing_done(struct listing *l);

/* What journal_open() and the tools find out before they read all of it. */
struct chain {
	struct listing files;
	uint64_t oldest;      /* first segment to be read                                 */
	uint64_t last;	      /* last opened one; 0: none                                 */
	uint64_t unopened;    /* the first segment behind it, not opened; 0: none          */
	uint32_t epoch;	      /* largest seen anywhere                                    */
	struct survey survey; /* of `last`                                                */
};

/* ERR_CORRUPT with RET_FAULT, ERR_VERSION, ERR_IO, ERR_NOMEM.  last 0: there is no journal. */
int chain_find(struct disk *disk, struct record_scratch *scratch, struct chain *ret,
	       struct journal_fault *ret_fault) MUSTUSE;
void chain_done(struct chain *c);
int fault_set(struct journal_fault *f, int err, uint64_t segment, uint64_t lsn, const char *fmt,
	      ...) PRINTF(5, 6);

void segment_name(char ret[NAME_BYTES], uint64_t number);
void spare_name(char ret[NAME_BYTES], uint32_t id, bool whole);

/* ---- the journal ----------------------------------------------------------------------------- */

struct segment {
	uint64_t number;
	struct disk_file *file; /* opened when needed                                       */
	uint32_t busy;		/* reads under way                                          */
	uint64_t end;		/* LSN; of the one being written: unknown, 0                 */
	uint64_t opened_ms;
	uint64_t touched;
	uint64_t size; /* of the file, as far as known                                     */
};

/* Groups of one segment as they lie in it, beginning at `lsn`. */
struct chunk {
	uint64_t lsn;
	size_t used, cap;
	uint8_t *mem;
};

struct group {
	struct chunk *chunk;
	size_t at; /* of its header in the chunk                                          */
	uint64_t segment;
	uint64_t lsn;
	uint64_t vouches; /* opening: previous_end; else 0, and the durable LSN of then       */
	uint32_t length;
	uint32_t records;
	uint16_t padding;
	bool opening;
};

enum slot_state { SLOT_FREE, SLOT_READING, SLOT_READY };

struct slot {
	enum slot_state state;
	bool pinned; /* being served                                                      */
	uint64_t segment;
	uint64_t lsn;
	size_t len, cap;
	uint8_t *mem;
	uint64_t used;
	struct list waiters;
};

struct waiter {
	struct list link;
	struct place place;
	uint64_t token;
};

/* A file that waits to become a segment: its space is set aside. */
struct spare {
	uint32_t id;
	bool whole; /* of full size: filled once, or recycled                              */
};

enum next_state { NEXT_NONE, NEXT_DIR, NEXT_READY };

enum reclaim_state {
	RECLAIM_IDLE,
	RECLAIM_SCAN,	/* reading the oldest; the core copies what it needs         */
	RECLAIM_COPIES, /* until the copies are durable                             */
	RECLAIM_OLDEST, /* until the new oldest is durable                          */
	RECLAIM_DIR,	/* until the rename is durable                              */
};

struct journal {
	struct disk *disk;
	struct journal_conf conf;
	const struct journal_client *client;
	void *arg;
	int err; /* sticky */
	struct journal_stats stats;
	struct record_scratch *scratch;

	struct entry fetched; /* of journal_fetch(): its half lives until the next call      */

	/* geometry */
	uint64_t segment_bytes;
	uint64_t segments_max;
	uint32_t group_max;
	uint64_t record_max;

	/* segments: [0] the oldest, the last the one being written */
	struct segment *segments; /* pointers die with segment_add()                        */
	size_t segment_count, segment_cap;
	uint64_t oldest;  /* as journaled                                                */
	uint64_t touches;
	enum next_state next_state;
	struct disk_file *next_file;
	uint64_t next_size;
	struct spare *spares;
	size_t spare_count, spare_cap;
	uint32_t spare_id; /* of the next one                                              */
	bool filling;	   /* spare fill_id                                                */
	uint32_t fill_id;
	struct disk_file *fill_file;
	bool disk_full;	      /* space was not to be had, and is wanted                    */
	int64_t retry_ns;     /* when to try again                                        */

	/* writing */
	uint32_t epoch;
	uint64_t tail_lsn, written_lsn, durable_lsn, vouched_lsn;
	uint64_t vouched_durable; /* what the headers that are durable vouch for             */
	uint64_t content_lsn; /* end of the last written group that has records            */
	uint64_t tail_segment;
	bool group_open;
	struct group open;
	bool open_urgent;     /* holds a record that somebody waits for                    */
	int64_t lazy_since_ns;
	struct group *queue;
	size_t queue_head, queue_count, queue_cap;
	size_t released;      /* of the queue: may be written                              */
	bool syncing;
	uint64_t sync_lsn;    /* what the sync under way will make durable                 */
	uint32_t sync_records;
	uint64_t waiting_records;
	int64_t gather_until_ns;
	uint64_t gather_records;
	int64_t idle_since_ns;
	int64_t now_ns;
	uint64_t wall_ms;
	bool started;
	bool more;	      /* work is left that needs no event                          */

	/* space */
	uint64_t undecided;
	uint64_t undecided_more; /* their messages, but for one of each                    */
	bool space_ok;

	/* cache */
	struct chunk **chunks;
	size_t chunk_count, chunk_cap;
	uint64_t chunk_bytes;
	uint8_t *chunk_spare; /* pages of the last one that went                         */
	size_t chunk_spare_cap;
	struct slot slots[SLOTS];
	struct list unslotted; /* waiters for which there was no slot                      */
	uint64_t slot_clock;

	/* reclaim */
	enum reclaim_state reclaim;
	struct scan reclaim_scan;
	bool reclaim_reading;
	size_t reclaim_asked;
	bool in_reclaim;
	uint64_t reclaim_goal;
	uint64_t reclaim_copied;
	uint64_t external_bytes; /* appended by others since the last reclaim              */
	int64_t reclaim_not_before_ns;
	int64_t reclaim_backoff_ns;

	/* recovery: the opening of the segment that journal_start() will write */
	bool opening_ready;
	uint64_t previous_end;
	uint64_t start_segment;
	bool start_reuse; /* its file is there already                                    */
	bool start_anew;  /* it is the last one, written anew                             */
	uint64_t start_opened_ms; /* when it was begun, if it is written anew              */
	bool dir_synced;  /* the last change of names by journal_start() is durable       */
	struct listing leftovers;
};

int journal_fail(struct journal *j, int err);
int journal_await(struct journal *j, bool (*done)(const struct journal *j)) MUSTUSE;

/* journal.c: the writer */
void writer_open_segment(struct journal *j, uint64_t number, uint64_t previous_end,
			 size_t tail_bytes);
/* How long the state record would be now. */
size_t writer_state_len(struct journal *j);
void writer_add_raw(struct journal *j, const struct record *r, struct place *ret_place);
int writer_append_again(struct journal *j, const struct record *r, struct place *ret_place) MUSTUSE;
void writer_close_group(struct journal *j);
void writer_count(struct journal *j, const struct entry *e);
/* Start: a marker that names all before it durable, itself durable when this returns. */
int writer_vouch(struct journal *j) MUSTUSE;
int writer_flush(struct journal *j) MUSTUSE;
uint64_t segment_base(const struct journal *j, uint64_t number);

/* segment.c */
struct segment *segment_find(struct journal *j, uint64_t number);
struct segment *segment_add(struct journal *j, uint64_t number);
int segment_file(struct journal *j, struct segment *s, struct disk_file **ret_file) MUSTUSE;
/*
 * Begins to make segment NUMBER ready for writing, from a spare that is whole; FORCE: from any, or
 * from a new file.  0 with NEXT_NONE: there is none yet, come again.
 */
int next_prepare(struct journal *j, uint64_t number, bool force) MUSTUSE;
/* Keeps as many spares as may be needed, and some of them filled, as far as quota and disk go. */
int spares_keep(struct journal *j) MUSTUSE;
int spare_filled(struct journal *j, int err) MUSTUSE;
void spare_add(struct journal *j, uint32_t id, bool whole);
/* The file of spare ID, which is not whole, gets its space, or goes when there is none. */
int spare_reserve(struct journal *j, uint32_t id, bool make) MUSTUSE;
/* What is set aside for what finishes the undecided: in bytes; whole segments of it, and two. */
uint64_t finish_bytes(const struct journal *j);
uint64_t segments_reserve(const struct journal *j);
/* How many more segments can be begun: for certain; as far as is known.                      */
uint64_t segments_ready(const struct journal *j);
uint64_t segments_left(const struct journal *j);
/* Turns a file of SIZE bytes that holds nothing of value any more into a spare, or removes it. */
int segment_retire(struct journal *j, uint64_t number, uint64_t size) MUSTUSE;

/* cache.c */
uint8_t *cache_reserve(struct journal *j, uint64_t lsn, size_t need);
void cache_drop_segment(struct journal *j, uint64_t number);
int cache_read_done(struct journal *j, size_t slot, const struct disk_done *done) MUSTUSE;
void cache_done(struct journal *j);

/* reclaim.c */
int reclaim_advance(struct journal *j) MUSTUSE;
int reclaim_read_done(struct journal *j, const struct disk_done *done) MUSTUSE;
int reclaim_dir_done(struct journal *j, int err) MUSTUSE;
bool reclaim_wanted(const struct journal *j);
void space_update(struct journal *j);

#endif /* JOURNAL_INTERNAL_H */
