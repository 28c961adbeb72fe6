/* Clients' exptimes, in both protocols: up to 30 days an exptime is relative to now, above that it
 * is a date. */
#ifndef STAYD_PROTO_EXPIRY_H
#define STAYD_PROTO_EXPIRY_H

#include <stdint.h>

enum { EXPIRY_RELATIVE_MAX_S = 60 * 60 * 24 * 30 };

/* The expiry in unix seconds; 0: never. A date after 2106, where 32 bits end, becomes the last date
 * that fits. */
static inline uint32_t expiry_of_exptime(uint64_t exptime, uint32_t now_s) {
    if (exptime == 0) {
        return 0;
    }
    if (exptime <= EXPIRY_RELATIVE_MAX_S) {
        return now_s + (uint32_t)exptime;
    }
    return exptime < UINT32_MAX ? (uint32_t)exptime : UINT32_MAX;
}

#endif
