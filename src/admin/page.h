/* The responses of the admin server, as text. The HTTP thread writes them into a stream. */
#ifndef STAYD_ADMIN_PAGE_H
#define STAYD_ADMIN_PAGE_H

#include "admin/admin.h"
#include "admin/advice.h"

#include <stdbool.h>
#include <stdio.h>

/* The Prometheus text format, version 0.0.4. */
void metrics_write(const struct admin_options *options, FILE *stream);

/* What is known of the pool with this index. */
struct advice_facts pool_facts(const struct admin_options *options, unsigned pool,
                               const struct pool_stats *stats);

/* Writes a line for each fault, or "ok". False if there is a fault. */
bool health_write(const struct admin_options *options, FILE *stream);

/* An HTML page; it loads only /dashboard.js, from this server. */
void dashboard_write(const struct admin_options *options, FILE *stream);
void dashboard_write_script(FILE *stream);

#endif
