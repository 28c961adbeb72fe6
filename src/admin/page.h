/* What the admin server says, as text. Each is written into a stream by the HTTP thread. */
#ifndef STAYD_ADMIN_PAGE_H
#define STAYD_ADMIN_PAGE_H

#include "admin/admin.h"

#include <stdbool.h>
#include <stdio.h>

/* The Prometheus text format, version 0.0.4. */
void metrics_write(const struct admin_options *options, FILE *stream);

/* A line for each thing that is wrong, or "ok"; false if anything is. */
bool health_write(const struct admin_options *options, FILE *stream);

/* A whole HTML page that needs nothing from elsewhere but /dashboard.js of this server. */
void dashboard_write(const struct admin_options *options, FILE *stream);
void dashboard_write_script(FILE *stream);

#endif
