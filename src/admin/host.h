/* Checks the Host header of a request to the admin server, against DNS rebinding: an attacker's
 * site can let its own name resolve to this machine, and its pages could then read this server's
 * responses. In such a request the Host header has the attacker's name, so unknown names are
 * refused. IP addresses cannot be rebound. */
#ifndef STAYD_ADMIN_HOST_H
#define STAYD_ADMIN_HOST_H

#include <stdbool.h>

/* `host` is the header's value, with or without a port; NULL (HTTP/1.0) is allowed. IP addresses,
 * localhost, the machine's host name and the names in `names` are allowed. `names` is a list,
 * separated by commas and spaces; it may be empty. */
bool host_is_allowed(const char *host, const char *names);

#endif
