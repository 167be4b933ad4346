/*
 * hold.h -- what is needed of a client by who may outlive it (tables/table.c).
 */
#ifndef ESCROW_HOLD_H
#define ESCROW_HOLD_H

#include "escrow/escrow.h"

/*
 * The client's memory stays until it is dropped again: after escrow_close() every call with it
 * returns ESCROW_E_CLOSED.
 */
void client_hold(escrow_client *c);
void client_drop(escrow_client *c);

#endif /* ESCROW_HOLD_H */
