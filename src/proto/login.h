/* The login over the text protocol, as memcached -Y has it: the first command of a connection is a
 * set, with any key, whose value is a user's name and password.
 *
 *     set <any key> <flags> <exptime> <bytes>\r\n
 *     <user> <password>\r\n
 *
 * The password is all that stands behind the first space, so it may hold spaces; memcached looks at
 * no more than its first word. */
#ifndef STAYD_PROTO_LOGIN_H
#define STAYD_PROTO_LOGIN_H

#include "proto/request.h"

/* Takes a set before the login: REQUEST_LOGIN with the connection's `login`, unless it is none. */
request_handler login_run;

/* Room for it has been reserved. */
void login_reply(struct buffer *replies, bool admitted);

#endif
