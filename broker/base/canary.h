/*
 * canary.h -- bugs on purpose, each behind a switch, to see that the tests would find them.
 *
 *     if (!CANARY(ANSWER_BEFORE_DURABLE) && lsn > durable) ...
 *
 * CANARY(NAME) is the constant 0, and the compiler leaves nothing of it, unless the file is built
 * with -DCANARY_NAME.  It stands where the rule lives that it breaks, in one to three lines, as
 * somebody tired would have written them.  scripts/canaries builds each into the simulator (or into
 * the test that is named here) and shows in how many seeds it is caught; tests/README.md has the
 * table.  One that survives is a hole in the tests.
 *
 * A name is used in .c files only, and must be listed here: the name, the program that catches it
 * ("sim", or a unit test where no run of the daemon can tell), and what it breaks.
 */
#ifndef CANARY_H
#define CANARY_H

#define CANARY_LIST(X) \
	/* durable, and only then */ \
	X(ANSWER_BEFORE_DURABLE, "sim", "answers leave when their records are written") \
	X(ANSWER_ON_PREVIOUS_SYNC, "sim", "a sync answers also what was written after it began") \
	X(PUBLISH_BEFORE_DURABLE, "sim", "a commit is published before its decision is durable") \
	X(RETRY_FAILED_SYNC, "sim", "a sync that failed is tried again, and believed") \
	X(NO_DIRECTORY_SYNC, "sim", "the new segment's file is synced, its name is not") \
	X(TOLD_BEFORE_MARKED, "sim", "the oldest unpublished is told before marks are durable") \
	/* what a crash leaves */ \
	X(CRC_WITHOUT_LENGTH, "test_record", "the checksum of a group leaves out its length") \
	X(TRUNCATE_AT_FIRST_BAD, "test_recover", "damage below a durable LSN is a torn tail") \
	X(START_EMPTY, "test_recover", "no segment has a valid opening: start with none") \
	X(RECOVERY_NOT_IDEMPOTENT, "sim", "recovery counts records instead of believing them") \
	X(PARTITION_ANEW, "sim", "recovery computes the partition again from the key") \
	X(REPLACED_BEFORE_SYNC, "sim", "a segment written anew takes its name unsynced") \
	X(TWO_DAEMONS, "sim", "a journal that another daemon holds is opened all the same") \
	/* reclaim */ \
	X(RECYCLE_OUT_OF_ORDER, "sim", "a younger segment is recycled before the oldest") \
	X(RECLAIM_LIVE_RECORD, "sim", "the last record of a dying segment is not looked at") \
	X(FREE_ON_MEMORY_MARK, "sim", "a published mark that is only in memory frees it") \
	/* to Kafka */ \
	X(WATERMARK_IS_MAX, "test_lanes", "the watermark is the largest n acknowledged") \
	X(SKIP_UNCERTAIN, "sim", "what may be in Kafka or not is passed over") \
	X(RESEND_AFTER_LATER, "sim", "a lane goes on sending behind a message that failed") \
	X(IGNORE_FATAL, "sim", "a handle that is fatal is kept") \
	X(FORGET_QUEUE_FULL, "sim", "what Kafka's queue had no room for counts as sent") \
	X(FIRST_NOT_ALONE, "sim", "a partition that does not know us gets several at once") \
	X(RENUMBER_ON_RESEND, "sim", "escrow-seq is counted anew in each life of the daemon") \
	/* decisions */ \
	X(SECOND_DECISION_OVERWRITES, "sim", "a commit after a rollback commits") \
	X(ROLLBACK_AFTER_COMMIT, "sim", "a rollback of what is committed is answered OK") \
	X(GROUP_NOT_CHECKED, "sim", "any group may decide the transactions of any other") \
	/* half-sends */ \
	X(SUCCESS_FOR_DECIDED, "sim", "a half-send under the key of a committed one succeeds") \
	X(BODY_NOT_COMPARED, "sim", "another body under a known key counts as a repeat") \
	X(KEY_FORGOTTEN_IN_WINDOW, "sim", "keys are forgotten within idempotency.window") \
	X(LIMIT_BEHIND_BATCH, "sim", "limits.undecided does not count what this turn took") \
	/* checks */ \
	X(OLD_GENERATION_ANSWER, "sim", "an answer to a check of an older generation decides") \
	X(COUNT_UNDELIVERED_CHECKS, "sim", "a check counts before a connection has taken it") \
	X(WALL_CLOCK_DEADLINE, "sim", "checks are due by the wall clock") \
	X(IMMUNITY_BOUNDARY, "test_timers", "a timer is not due in its very nanosecond") \
	/* operators */ \
	X(AUDIT_AFTER_EFFECT, "sim", "the audit record comes behind the record of its effect") \
	/* several rules at once */ \
	X(COPY_SAYS_MEMORY, "sim", "a copy leaves out the step that is journaled and not durable") \
	X(NUMBER_BEFORE_APPEND, "test_core_recover", "an n is used before its decision is there") \
	X(LAST_COPY_HAS_KEY, "sim", "recovery gives a key to the last record that has it") \
	X(DECIDE_WHILE_PENDING, "sim", "a decision does not wait for one being journaled") \
	X(OPEN_BEFORE_DURABLE, "sim", "a segment is begun before the one before it is durable")

enum canary {
#define X(name, catcher, rule) CANARY_KNOWN_##name,
	CANARY_LIST(X)
#undef X
};

/* -DCANARY_NAME makes CANARY_NAME 1 and CANARY_COMMA_1 "0,": then 1 is the second, else 0 is. */
#define CANARY(name)		 (CANARY_KNOWN_##name >= 0 && CANARY_VALUE(CANARY_##name))
#define CANARY_VALUE(value)	 CANARY_PASTE(value)
#define CANARY_PASTE(value)	 CANARY_PICK(CANARY_COMMA_##value)
#define CANARY_PICK(junk)	 CANARY_SECOND(junk 1, 0, 0)
#define CANARY_SECOND(a, b, ...) b
#define CANARY_COMMA_1		 0,

#endif /* CANARY_H */
