/*
 * identity.c -- by what a message is recognised when it comes again.
 *
 * A header of ours that is malformed is not passed over for the next kind: another copy of the
 * same message has the same headers, and so must be recognised by the same one.
 */
#include "consumer/identity.h"

#include <string.h>

#include "wire/wire.h"

/* 32 hex digits. */
static bool
sixteen(const char *text, size_t n, unsigned char to[16])
{
	if (n < 32)
		return false;
	for (int i = 0; i < 16; i++) {
		int high = wire_hex_digit(text[2 * i]), low = wire_hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		to[i] = (unsigned char)(high << 4 | low);
	}
	return true;
}

static bool
decimal(const char *text, size_t n, int64_t max, int64_t *ret)
{
	int64_t v = 0;

	if (n == 0)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9' || v > (max - (text[i] - '0')) / 10)
			return false;
		v = v * 10 + (text[i] - '0');
	}
	*ret = v;
	return true;
}

/* The last header of that name, as Kafka's clients take it. */
static bool
find(const rd_kafka_headers_t *headers, const char *name, const char **ret_text, size_t *ret_n)
{
	const void *value = NULL;

	if (headers == NULL ||
	    rd_kafka_header_get_last(headers, name, &value, ret_n) != RD_KAFKA_RESP_ERR_NO_ERROR)
		return false;
	*ret_text = value != NULL ? value : "";
	if (value == NULL)
		*ret_n = 0;
	return true;
}

/* <journal, 32 hex digits>:<n> */
static bool
sequence(const char *text, size_t n, escrow_claim *claim)
{
	return sixteen(text, n, claim->journal) && n > 33 && text[32] == ':' &&
	       decimal(text + 33, n - 33, INT64_MAX, &claim->n) && claim->n > 0;
}

/* <gid, 32 hex digits>-<ordinal> */
static bool
ours(const char *text, size_t n, struct identity *ret)
{
	int64_t ordinal;

	if (!sixteen(text, n, ret->id) || n <= 33 || text[32] != '-' ||
	    !decimal(text + 33, n - 33, UINT16_MAX, &ordinal))
		return false;
	ret->id[16] = (unsigned char)(ordinal >> 8);
	ret->id[17] = (unsigned char)ordinal;
	ret->claim.id_len = 18;
	ret->claim.ours = 1;
	return true;
}

static bool
foreign(const char *kind, const char *text, size_t n, struct identity *ret)
{
	size_t k = strlen(kind);

	if (n == 0 || k + 1 + n > IDENTITY_MAX)
		return false;
	memcpy(ret->id, kind, k);
	ret->id[k] = ':';
	memcpy(ret->id + k + 1, text, n);
	ret->claim.id_len = k + 1 + n;
	return true;
}

/* TOPIC/PARTITION/OFFSET */
int
identity_origin(const rd_kafka_headers_t *headers, struct origin *ret)
{
	const char *text, *slash, *second;
	int64_t partition, offset;
	size_t n, topic_n, rest;

	if (!find(headers, "escrow-dead-from", &text, &n))
		return 0;
	slash = memchr(text, '/', n);
	topic_n = slash != NULL ? (size_t)(slash - text) : 0;
	if (topic_n == 0 || topic_n >= sizeof(ret->topic))
		return -1;
	rest = n - topic_n - 1;
	second = memchr(slash + 1, '/', rest);
	if (second == NULL ||
	    !decimal(slash + 1, (size_t)(second - slash - 1), INT32_MAX, &partition) ||
	    !decimal(second + 1, (size_t)(text + n - second - 1), INT64_MAX, &offset))
		return -1;
	memcpy(ret->topic, text, topic_n);
	ret->topic[topic_n] = '\0';
	ret->partition = (int32_t)partition;
	return 1;
}

/* By number, which counts in the partition to which it was published first. */
static bool
by_number(const rd_kafka_headers_t *headers, const char *text, size_t n, struct identity *ret,
	  const char **ret_why)
{
	*ret_why = "its escrow-seq is malformed";
	if (!sequence(text, n, &ret->claim))
		return false;
	switch (identity_origin(headers, &ret->from)) {
	case 1:
		ret->claim.topic = ret->from.topic;
		ret->claim.partition = ret->from.partition;
		ret->claim.again = 1;
		return true;
	case 0:
		return true;
	default:
		*ret_why = "its escrow-dead-from is malformed";
		return false;
	}
}

bool
identity_find(const rd_kafka_headers_t *headers, escrow_dedup by, struct identity *ret,
	      const char **ret_why)
{
	static const char *const kinds[] = { "ce_id", "id" };
	const char *text;
	size_t n;

	*ret_why = "it is a dead letter whose value was left out";
	if (find(headers, "escrow-dead-without", &text, &n))
		return false;
	memset(&ret->claim, 0, sizeof(ret->claim));
	ret->claim.struct_size = sizeof(ret->claim);
	ret->claim.by = by;
	if (by == ESCROW_DEDUP_BY_SEQ && find(headers, "escrow-seq", &text, &n))
		return by_number(headers, text, n, ret, ret_why);
	ret->claim.by = ESCROW_DEDUP_BY_ID;
	ret->claim.id = ret->id;
	if (find(headers, "escrow-id", &text, &n)) {
		*ret_why = "its escrow-id is malformed";
		return ours(text, n, ret);
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (find(headers, kinds[i], &text, &n)) {
			*ret_why = "its id is empty, or longer than 248 bytes";
			return foreign(kinds[i], text, n, ret);
		}
	}
	*ret_why = NULL;
	return false;
}
