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

bool
identity_find(const rd_kafka_headers_t *headers, escrow_dedup by, struct identity *ret,
	      const char **ret_why)
{
	static const char *const kinds[] = { "ce_id", "id" };
	const char *text;
	size_t n;

	memset(&ret->claim, 0, sizeof(ret->claim));
	ret->claim.struct_size = sizeof(ret->claim);
	ret->claim.by = by;
	if (by == ESCROW_DEDUP_BY_SEQ && find(headers, "escrow-seq", &text, &n)) {
		*ret_why = "its escrow-seq is malformed";
		return sequence(text, n, &ret->claim);
	}
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
