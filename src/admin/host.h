/* Which names a browser may call the admin server by, as the Host header of its request says.
 *
 * A page of an attacker's site can make its own name point to this machine (DNS rebinding), and
 * then read what this server answers as if that were the site's own. The browser then sends that
 * name; so a name that is not known to be this server's is refused. Addresses in digits cannot be
 * rebound. */
#ifndef STAYD_ADMIN_HOST_H
#define STAYD_ADMIN_HOST_H

#include <stdbool.h>

/* `host` is the header's value, with or without a port; NULL (HTTP/1.0) is allowed. Allowed are
 * addresses in digits, localhost, the machine's host name, and the names in `names`: separated by
 * commas, spaces beside them; may be empty. */
bool host_is_allowed(const char *host, const char *names);

#endif
