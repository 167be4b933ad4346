/*
 * crc.h -- CRC32C (Castagnoli), by instruction where the processor has SSE4.2 and PCLMULQDQ, by a
 * table where not.
 */
#ifndef CRC_H
#define CRC_H

#include "base.h"

/* CRC32C of N bytes at P, continuing from SEED (0 to begin). */
uint32_t crc32c(uint32_t seed, const void *p, size_t n);
/* The same, always by the table: so that the test can hold one against the other. */
uint32_t crc32c_table(uint32_t seed, const void *p, size_t n);

#endif /* CRC_H */
