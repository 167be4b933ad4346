/*
 * dead.c -- dead letters: what cannot be handled, kept where a person finds it.
 *
 * The producer is made when the first one is due; most consumers never need it.  Workers that
 * wait poll it together: one may be served the report of another, who sees it at its next turn.
 */
#include "consumer/inside.h"

#include <stdio.h>
#include <string.h>

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

static rd_kafka_headers_t *
headers_of(struct escrow_consumer *c, const rd_kafka_message_t *m, const char *reason,
	   int32_t tries)
{
	rd_kafka_headers_t *theirs, *h;
	char from[300], number[16];

	if (rd_kafka_message_headers(m, &theirs) == RD_KAFKA_RESP_ERR_NO_ERROR)
		h = rd_kafka_headers_copy(theirs);
	else
		h = rd_kafka_headers_new(4);
	snprintf(from, sizeof(from), "%s/%d/%lld", rd_kafka_topic_name(m->rkt), (int)m->partition,
		 (long long)m->offset);
	snprintf(number, sizeof(number), "%d", (int)tries);
	rd_kafka_header_add(h, "escrow-dead-reason", -1, reason, -1);
	rd_kafka_header_add(h, "escrow-dead-consumer", -1, c->name, -1);
	rd_kafka_header_add(h, "escrow-dead-from", -1, from, -1);
	rd_kafka_header_add(h, "escrow-dead-tries", -1, number, -1);
	return h;
}

bool
dead_letter(struct escrow_consumer *c, const rd_kafka_message_t *m, const char *reason,
	    int32_t tries, const char **ret_why)
{
	struct report report = { false, RD_KAFKA_RESP_ERR_NO_ERROR };
	rd_kafka_t *rk = producer(c);
	rd_kafka_headers_t *headers;
	rd_kafka_resp_err_t err;
	char topic[300];

	if (rk == NULL) {
		*ret_why = "there is no producer";
		return false;
	}
	if (c->dead_letter_topic != NULL)
		snprintf(topic, sizeof(topic), "%s", c->dead_letter_topic);
	else
		snprintf(topic, sizeof(topic), "%s.dlq", rd_kafka_topic_name(m->rkt));
	headers = headers_of(c, m, reason, tries);
	err = rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(m->key, m->key_len),
				RD_KAFKA_V_VALUE(m->payload, m->len),
				RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
				RD_KAFKA_V_TIMESTAMP(rd_kafka_message_timestamp(m, NULL)),
				RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(&report),
				RD_KAFKA_V_END);
	if (err) {
		rd_kafka_headers_destroy(headers);
		*ret_why = rd_kafka_err2str(err);
		return false;
	}
	/* A report always comes: the producer's message.timeout.ms sees to it. */
	while (!atomic_load(&report.done))
		(void)rd_kafka_poll(rk, 50);
	if (!report.err)
		return true;
	*ret_why = rd_kafka_err2str(report.err);
	return false;
}
