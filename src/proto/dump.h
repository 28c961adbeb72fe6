/* The commands that visit all items: lru_crawler metadump and mgdump, stats cachedump, stats sizes.
 *
 *     lru_crawler metadump all\r\n  ->  OK\r\n
 *                                       key=a exp=-1 la=1795546384 cas=4 fetch=yes cls=8 size=32\n
 *                                       ... a line for each item, in no order
 *                                       END\r\n
 *
 * A dump visits a bounded number of items in each step. Between two steps the replies are sent and
 * other connections have their turn. scan.h says whether a dump shows items that change meanwhile.
 * There is no crawler thread as in memcached, because the janitor frees expired items. So the
 * commands that configure the crawler answer as memcached's, and affect dumps only. */
#ifndef STAYD_PROTO_DUMP_H
#define STAYD_PROTO_DUMP_H

#include "proto/request.h"

request_handler crawler_run;

/* stats cachedump <class> <limit>: the older dump, which libmemcached's memcdump uses. */
enum request_end dump_run_cachedump(struct request *request);

/* Begins the histogram of `stats sizes`: the number of items for each size in steps of 32 bytes. */
enum request_end dump_begin_sizes(struct request *request);

/* Runs the next step of the current dump. */
enum request_end dump_resume(struct request *request);

/* Ends the current dump, if any: the connection closes. */
void dump_abandon(struct proto_connection *connection);

#endif
