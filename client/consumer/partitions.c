/*
 * partitions.c -- the partitions that this consumer has: queues, offsets, who works on them.
 */
#include "consumer/inside.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- partitions -------------------------------------------------------------------------- */

struct part *
part_find(struct escrow_consumer *c, const char *topic, int32_t partition)
{
	struct part *p = c->parts;

	while (p != NULL && (p->partition != partition || strcmp(p->topic, topic) != 0))
		p = p->next;
	return p;
}

struct part *
part_free(struct part *p)
{
	struct part *next = p->next;

	while (p->count > 0) {
		rd_kafka_message_destroy(p->ring[p->head]);
		p->head = (p->head + 1) % p->size;
		p->count--;
	}
	free(p->ring);
	free(p->topic);
	free(p);
	return next;
}

/* To the worker that has the fewest. */
static struct worker *
least(struct escrow_consumer *c)
{
	struct worker *best = NULL;
	size_t fewest = SIZE_MAX;

	for (size_t i = 0; i < c->worker_count; i++) {
		size_t n = 0;

		for (struct part *p = c->parts; p != NULL; p = p->next)
			n += p->worker == &c->workers[i];
		if (n < fewest) {
			fewest = n;
			best = &c->workers[i];
		}
	}
	return best;
}

static bool
add(struct escrow_consumer *c, const char *topic, int32_t partition)
{
	struct part *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return false;
	p->topic = strdup(topic);
	if (p->topic == NULL) {
		free(p);
		return false;
	}
	p->partition = partition;
	p->worker = least(c);
	p->done = p->told = -1;
	p->cap = (uint32_t)c->opts.batch_max;
	p->next = c->parts;
	c->parts = p;
	return true;
}

bool
part_push(struct part *p, rd_kafka_message_t *m)
{
	if (p->count == p->size) {
		uint32_t size = p->size ? p->size * 2 : 64;
		rd_kafka_message_t **ring = calloc(size, sizeof(*ring));

		if (ring == NULL)
			return false;
		for (uint32_t i = 0; i < p->count; i++)
			ring[i] = p->ring[(p->head + i) % p->size];
		free(p->ring);
		p->ring = ring;
		p->size = size;
		p->head = 0;
	}
	p->ring[(p->head + p->count) % p->size] = m;
	p->count++;
	p->bytes += m->len;
	return true;
}

/* ---- what Kafka hears -------------------------------------------------------------------- */

rd_kafka_topic_partition_list_t *
offsets_moved(struct escrow_consumer *c, bool revoked)
{
	rd_kafka_topic_partition_list_t *list = NULL;

	for (struct part *p = c->parts; p != NULL; p = p->next) {
		if (p->done == p->told || (revoked && !p->revoked))
			continue;
		if (list == NULL)
			list = rd_kafka_topic_partition_list_new(8);
		rd_kafka_topic_partition_list_add(list, p->topic, p->partition)->offset = p->done;
		p->told = p->done;
	}
	return list;
}

void
offsets_committed(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *offsets,
		  void *opaque)
{
	struct escrow_consumer *c = opaque;

	(void)rk;
	if (err == RD_KAFKA_RESP_ERR__NO_OFFSET)
		return;
	/* Losing one costs duplicates, which are recognised. */
	if (err)
		consumer_log(c, ESCROW_LOG_WARN, "offsets are not committed: %s",
			     rd_kafka_err2str(err));
	pthread_mutex_lock(&c->lock);
	c->offsets_failed = err != RD_KAFKA_RESP_ERR_NO_ERROR;
	c->stats.offset_errors += c->offsets_failed;
	for (int i = 0; c->offsets_failed && i < offsets->cnt; i++) {
		struct part *p = part_find(c, offsets->elems[i].topic, offsets->elems[i].partition);

		/* Told again, though no message may come that moves it. */
		if (p != NULL && p->told == offsets->elems[i].offset)
			p->told = -1;
	}
	pthread_mutex_unlock(&c->lock);
}

/* rd_kafka_commit() would wait for as long as the coordinator is away. */
void
offsets_tell(struct escrow_consumer *c, rd_kafka_topic_partition_list_t *offsets)
{
	rd_kafka_queue_t *queue = rd_kafka_queue_new(c->kafka);
	rd_kafka_resp_err_t err = rd_kafka_commit_queue(c->kafka, offsets, queue, NULL, NULL);
	rd_kafka_event_t *event = NULL;

	if (!err) {
		event = rd_kafka_queue_poll(queue, KAFKA_MS);
		err = event != NULL ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
	}
	offsets_committed(c->kafka, err, offsets, c);
	if (event != NULL)
		rd_kafka_event_destroy(event);
	rd_kafka_queue_destroy(queue);
	rd_kafka_topic_partition_list_destroy(offsets);
}

void
part_pace(struct escrow_consumer *c, struct part *p, bool pause)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

	rd_kafka_topic_partition_list_add(list, p->topic, p->partition);
	if (pause)
		(void)rd_kafka_pause_partitions(c->kafka, list); /* says it for each in the list */
	else
		(void)rd_kafka_resume_partitions(c->kafka, list);
	rd_kafka_topic_partition_list_destroy(list);
	p->paused = pause;
}

/* ---- rebalance --------------------------------------------------------------------------- */

static void
assigned(struct escrow_consumer *c, const rd_kafka_topic_partition_list_t *list)
{
	pthread_mutex_lock(&c->lock);
	for (int i = 0; i < list->cnt; i++) {
		if (part_find(c, list->elems[i].topic, list->elems[i].partition) == NULL &&
		    !add(c, list->elems[i].topic, list->elems[i].partition)) {
			c->ended = ESCROW_E_NOMEM;
			atomic_store(&c->stop, true);
		}
	}
	c->stats.rebalances++;
	pthread_mutex_unlock(&c->lock);
}

/* Each is left by its worker, its offset told (unless it is somebody else's by now), and gone. */
static void
revoked(struct escrow_consumer *c, const rd_kafka_topic_partition_list_t *list, bool lost)
{
	rd_kafka_topic_partition_list_t *offsets;
	bool busy;

	pthread_mutex_lock(&c->lock);
	for (int i = 0; i < list->cnt; i++) {
		struct part *p = part_find(c, list->elems[i].topic, list->elems[i].partition);

		if (p != NULL)
			p->revoked = true;
	}
	do {
		busy = false;
		for (struct part *p = c->parts; p != NULL; p = p->next)
			busy = busy || (p->revoked && p->busy);
		if (busy)
			pthread_cond_wait(&c->idle, &c->lock);
	} while (busy);
	offsets = lost ? NULL : offsets_moved(c, true);
	pthread_mutex_unlock(&c->lock);
	if (offsets != NULL)
		offsets_tell(c, offsets);
	pthread_mutex_lock(&c->lock);
	for (struct part **at = &c->parts; *at != NULL;) {
		if (!(*at)->revoked) {
			at = &(*at)->next;
			continue;
		}
		if ((*at)->paused)
			part_pace(c, *at, false); /* else it would be when it comes back */
		*at = part_free(*at);
	}
	for (size_t i = 0; i < c->worker_count; i++)
		c->workers[i].last = NULL;
	pthread_mutex_unlock(&c->lock);
}

/* While the consumer closes librdkafka may not say it (NULL); then all is given back at once. */
static bool
is_cooperative(rd_kafka_t *rk)
{
	const char *protocol = rd_kafka_rebalance_protocol(rk);

	return protocol != NULL && strcmp(protocol, "COOPERATIVE") == 0;
}

void
on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err, rd_kafka_topic_partition_list_t *list,
	     void *opaque)
{
	struct escrow_consumer *c = opaque;
	bool assign = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
	bool lost = !assign && rd_kafka_assignment_lost(rk);
	rd_kafka_error_t *error = NULL;

	consumer_log(c, ESCROW_LOG_INFO, "%d partitions %s", list->cnt,
		     assign ? "assigned"
		     : lost ? "lost"
			    : "revoked");
	if (!assign)
		revoked(c, list, lost);
	if (is_cooperative(rk))
		error = assign ? rd_kafka_incremental_assign(rk, list)
			       : rd_kafka_incremental_unassign(rk, list);
	else if ((err = rd_kafka_assign(rk, assign ? list : NULL)) != RD_KAFKA_RESP_ERR_NO_ERROR)
		consumer_log(c, ESCROW_LOG_ERROR, "rebalance: %s", rd_kafka_err2str(err));
	if (error != NULL) {
		consumer_log(c, ESCROW_LOG_ERROR, "rebalance: %s", rd_kafka_error_string(error));
		rd_kafka_error_destroy(error);
	}
	if (assign)
		assigned(c, list);
}
