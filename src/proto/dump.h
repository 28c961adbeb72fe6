/* Walks through all items on behalf of a client: lru_crawler metadump and mgdump, stats
 * cachedump, stats sizes.
 *
 *     lru_crawler metadump all\r\n  ->  key=a exp=-1 la=1795546384 cas=4 fetch=yes cls=8 size=32\n
 *                                       ... a line for each item, in no order
 *                                       END\r\n
 *
 * It goes in steps of a bounded number of items: between two of them the replies are sent and other
 * connections have their turn. What that means while items change: scan.h. There is no crawler
 * thread as in memcached, since expired items are freed by the janitor without one; so the commands
 * that set one up say what memcached's say, and matter to dumps alone. */
#ifndef STAYD_PROTO_DUMP_H
#define STAYD_PROTO_DUMP_H

#include "proto/request.h"

request_handler crawler_run;

/* stats cachedump <class> <limit>: the older dump, which libmemcached's memcdump asks for. */
enum request_end dump_run_cachedump(struct request *request);

/* Begins the histogram of `stats sizes`: items in steps of 32 bytes. */
enum request_end dump_begin_sizes(struct request *request);

/* The next step of what is under way. */
enum request_end dump_resume(struct request *request);

/* The connection ends, whatever is under way. */
void dump_abandon(struct proto_connection *connection);

#endif
