/*
 * dead.c -- dead letters: what cannot be handled, kept where a person finds it.
 *
 * The producer is made when the first one is due; most consumers never need it.  Workers that
 * wait poll it together: one may be served the report of another, who sees it at its next turn.
 *
 * What is too large for Kafka with our headers would hold up its partition for ever.  So it goes
 * without its value, and without key and other headers if need be: it lies where it came from.
 */
#include "consumer/inside.h"

#include <stdio.h>
#include <string.h>

#include "consumer/identity.h"

enum extent { WHOLE, WITHOUT_VALUE, REASON_ALONE };

struct report {
	atomic_bool done;
	rd_kafka_resp_err_t err;
};

static void
delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque)
{
	struct report *report = m->_private;

	(void)rk;
	(void)opaque;
	report->err = m->err;
	atomic_store(&report->done, true);
}

static rd_kafka_t *
producer(struct escrow_consumer *c)
{
	char text[REASON];

	pthread_mutex_lock(&c->dead_lock);
	if (c->dead == NULL && c->dead_conf != NULL) {
		rd_kafka_conf_t *conf = rd_kafka_conf_dup(c->dead_conf);

		rd_kafka_conf_set_dr_msg_cb(conf, delivered);
		c->dead = rd_kafka_new(RD_KAFKA_PRODUCER, conf, text, sizeof(text));
		if (c->dead == NULL) {
			rd_kafka_conf_destroy(conf);
			consumer_log(c, ESCROW_LOG_ERROR, "no producer for dead letters: %s", text);
		}
	}
	pthread_mutex_unlock(&c->dead_lock);
	return c->dead;
}

/* Instead of what an earlier dead letter said. */
static void
say(rd_kafka_headers_t *h, const char *name, const char *text)
{
	(void)rd_kafka_header_remove(h, name); /* mostly there is none */
	(void)rd_kafka_header_add(h, name, -1, text, -1);
}

static rd_kafka_headers_t *
headers_of(struct escrow_consumer *c, const rd_kafka_message_t *m, enum extent extent,
	   const char *reason, int32_t tries)
{
	rd_kafka_headers_t *theirs, *h;
	char text[300];
	struct origin o;

	if (extent < REASON_ALONE &&
	    rd_kafka_message_headers(m, &theirs) == RD_KAFKA_RESP_ERR_NO_ERROR)
		h = rd_kafka_headers_copy(theirs);
	else
		h = rd_kafka_headers_new(8);
	say(h, "escrow-dead-reason", reason);
	say(h, "escrow-dead-consumer", c->name);
	snprintf(text, sizeof(text), "%d", (int)tries);
	say(h, "escrow-dead-tries", text);
	/* Of one that was published again, where it came from at first: identity.c needs that. */
	if (identity_origin(h, &o) != 1) {
		snprintf(text, sizeof(text), "%s/%d/%lld", rd_kafka_topic_name(m->rkt),
			 (int)m->partition, (long long)m->offset);
		say(h, "escrow-dead-from", text);
	}
	if (extent > WHOLE) {
		snprintf(text, sizeof(text), "%zu", m->len);
		say(h, "escrow-dead-without", text);
	}
	return h;
}

/* Gives it to Kafka, and waits for what becomes of it; not for long once the consumer stops. */
static rd_kafka_resp_err_t
produce(struct escrow_consumer *c, const char *topic, const rd_kafka_message_t *m,
	enum extent extent, rd_kafka_headers_t *headers)
{
	rd_kafka_t *rk = c->dead;
	int64_t until_ms = INT64_MAX, now_ms;
	struct report report = { false, RD_KAFKA_RESP_ERR_NO_ERROR };
	bool value = extent == WHOLE, key = extent < REASON_ALONE;
	rd_kafka_resp_err_t err;

	err = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic),
				RD_KAFKA_V_KEY(key ? m->key : NULL, key ? m->key_len : 0),
				RD_KAFKA_V_VALUE(value ? m->payload : NULL, value ? m->len : 0),
				RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
				RD_KAFKA_V_TIMESTAMP(rd_kafka_message_timestamp(m, NULL)),
				RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(&report),
				RD_KAFKA_V_END);
	if (err) {
		rd_kafka_headers_destroy(headers);
		return err;
	}
	/* A report always comes: the producer's message.timeout.ms sees to it. */
	while (!atomic_load(&report.done)) {
		(void)rd_kafka_poll(rk, SLICE_MS);
		now_ms = consumer_now_ms(CLOCK_MONOTONIC);
		if (atomic_load(&c->stop) && until_ms == INT64_MAX)
			until_ms = now_ms + KAFKA_MS;
		if (now_ms >= until_ms) /* and its report comes: it is a letter next time */
			(void)rd_kafka_purge(rk,
					     RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	}
	return report.err;
}

bool
dead_letter(struct escrow_consumer *c, const rd_kafka_message_t *m, const char *reason,
	    int32_t tries, const char **ret_why)
{
	rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
	char topic[300];

	if (producer(c) == NULL) {
		*ret_why = "there is no producer";
		return false;
	}
	if (c->dead_letter_topic != NULL)
		snprintf(topic, sizeof(topic), "%s", c->dead_letter_topic);
	else
		snprintf(topic, sizeof(topic), "%s.dlq", rd_kafka_topic_name(m->rkt));
	for (enum extent extent = WHOLE;
	     err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && extent <= REASON_ALONE; extent++)
		err = produce(c, topic, m, extent, headers_of(c, m, extent, reason, tries));
	if (!err)
		return true;
	*ret_why = rd_kafka_err2str(err);
	return false;
}
