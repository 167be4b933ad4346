/*
 * endpoints.h -- what the table in route.c points at: ask and tell of each endpoint.
 */
#ifndef ENDPOINTS_H
#define ENDPOINTS_H

#include "http/request.h"

/* status.c: the index, probes, and one page a thing that can be looked at. */
bool index_ask(struct request *r);
bool livez_ask(struct request *r);
bool startupz_ask(struct request *r);
bool readyz_ask(struct request *r);
void readyz_tell(struct request *r);
bool snapshot_ask(struct request *r);
void status_tell(struct request *r);
void journal_tell(struct request *r);
void kafka_tell(struct request *r);

/* inventory.c: groups, topics, connections, watermarks. */
bool groups_ask(struct request *r);
void groups_tell(struct request *r);
bool topics_ask(struct request *r);
void topics_tell(struct request *r);
bool connections_ask(struct request *r);
void connections_tell(struct request *r);
bool watermark_ask(struct request *r);
void watermark_tell(struct request *r);

/* transactions.c */
bool list_ask(struct request *r);
void list_tell(struct request *r);
bool txn_ask(struct request *r);
void txn_tell(struct request *r);

/* admin.c: commands. */
bool operate_ask(struct request *r);
void operate_tell(struct request *r);

/* metrics.c */
bool metrics_ask(struct request *r);
void metrics_tell(struct request *r);

#endif /* ENDPOINTS_H */
