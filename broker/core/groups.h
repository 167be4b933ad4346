/*
 * groups.h -- which connected producers can answer for a group, and whose turn it is.
 *
 *      group "orders" --> listeners  p1 -> p7 -> p9 -> (round robin)
 *                     --> overdue    rows whose check is due and was not asked yet
 *      asked          --> per transaction: whom we asked, until when it counts
 *
 * A transaction whose check is due leaves the timers and waits in its group's overdue list until
 * a listener has room.  So a group without producers costs nothing however many wait, and a
 * producer that comes back is asked at once without a search.  A group is *ready* while
 * it has overdue rows and perhaps a listener with room; the ready ones take turns.
 *
 * A group lives while it has rows or listeners.  Internal to the core.
 */
#ifndef GROUPS_H
#define GROUPS_H

#include "core/table.h"

#define GROUP_NONE UINT32_MAX
#define PEER_NONE UINT32_MAX
#define LIMIT_PEER_GROUPS 1024 /* groups that one connection answers for; ERR_FULL */

struct group {
	char *name;
	uint32_t name_len;
	uint32_t listeners;	/* how many                                               */
	uint32_t turn;		/* membership whose turn it is; UINT32_MAX: no listener   */
	uint32_t ready_next;
	uint64_t rows;		/* that belong to it, decided ones too                    */
	uint64_t waiting;	/* undecided                                              */
	uint64_t waiting_bytes; /* of their records                                       */
	struct row_list overdue;
	bool used;
	bool ready;		/* in the ready queue                                     */
	bool silent;		/* was reported: rows wait and nobody listens             */
	bool full;		/* was reported: it has its share                         */
};

struct peer {
	uint64_t id;		/* 0: free */
	uint32_t outstanding;	/* checks asked and not answered */
	uint32_t members;	/* first membership; free: next free slot */
	uint32_t member_count;
};

/* One peer in one group: in the peer's chain, and in the group's ring. */
struct member {
	uint32_t peer;
	uint32_t group;
	uint32_t of_peer;	/* next of the same peer; free: next free one */
	uint32_t next;
	uint32_t prev;
};

struct asked {
	uint64_t seq;
	uint64_t peer_id;
	int64_t until_ns;
	uint32_t peer;		/* slot */
	uint32_t next;		/* in order of until_ns; free: next free one */
	uint32_t prev;
	uint8_t generation;
	bool written;
};

struct groups {
	const struct table *table;
	struct hash_secret secret;
	uint32_t outstanding_max;
	uint32_t limit; /* of groups: LIMIT_GROUPS, unless recovery needs more */

	struct group *groups;
	uint32_t group_count, group_cap, group_free, groups_used;
	uint32_t last;	/* found: most look-ups are for it again */
	struct map by_name;

	struct peer *peers;
	uint32_t peer_count, peer_cap, peer_free;
	struct map by_peer;

	struct member *members;
	uint32_t member_count, member_cap, member_free;

	struct asked *asked;
	uint32_t asked_count, asked_cap, asked_free, asked_head, asked_tail;
	struct map by_asked;

	uint32_t ready_head, ready_tail;
};

void groups_init(struct groups *g, const struct table *table, struct hash_secret secret,
		 uint32_t outstanding_max);
void groups_done(struct groups *g);

uint32_t groups_find(struct groups *g, struct str name);
/* Makes it when it is new; GROUP_NONE at `limit`.  A group without rows and listeners may be
 * gone after the next call. */
uint32_t groups_get(struct groups *g, struct str name);
struct str groups_name(const struct groups *g, uint32_t group);
/* The group may go when it has neither rows nor listeners; called after `rows` fell. */
void groups_drop(struct groups *g, uint32_t group);

/* 0 also when it was one already; ERR_FULL. */
int groups_join(struct groups *g, uint64_t peer, struct str name);
void groups_leave(struct groups *g, uint64_t peer, struct str name);

/* Puts ROW, due and in no list, into its group's overdue list; or takes it out. */
void groups_overdue(struct groups *g, uint32_t row);
void groups_not_overdue(struct groups *g, uint32_t row);
/* The first group of those that may have a listener with room; GROUP_NONE. */
uint32_t groups_ready(const struct groups *g);
/* That one had no room after all, or nothing overdue: not ready until that changes. */
void groups_unready(struct groups *g, uint32_t group);
/* That one had its turn. */
void groups_rotate(struct groups *g, uint32_t group);

/* Whom to ask: the peer whose low 32 bits of id are PREFERRED, else in turn; PEER_NONE. */
uint32_t groups_pick(struct groups *g, uint32_t group, uint32_t preferred);
/* PEER was asked about SEQ: it has less room until it answers, and the next one has its turn. */
void groups_await(struct groups *g, uint32_t group, uint32_t peer, uint64_t seq,
		  uint8_t generation, int64_t until_ns);
/* The check of SEQ left for PEER: true the first time, with the generation that it carried. */
bool groups_written(struct groups *g, uint64_t seq, uint64_t peer, uint8_t *ret_generation);
/* A check of SEQ was given to a connection, as of GENERATION, and has not left it. */
bool groups_leaving(const struct groups *g, uint64_t seq, uint8_t generation);
/* SEQ was answered or decided: whoever was asked has room again. */
void groups_answered(struct groups *g, uint64_t seq);
/* Whoever did not answer in time has room again.  Returns when the next time-out is. */
int64_t groups_expire(struct groups *g, int64_t now_ns);

#endif /* GROUPS_H */
