/* The dashboard's files, as they are in src/admin/web and in Debian's libjs-dygraphs at build time.
 */
#ifndef STAYD_ADMIN_ASSETS_H
#define STAYD_ADMIN_ASSETS_H

#include <stddef.h>

struct asset {
    const char *path; /* in the URL */
    const char *type;
    const void *data;
    size_t size;
};

/* NULL if there is no file at this path. */
const struct asset *asset_find(const char *path);

#endif
