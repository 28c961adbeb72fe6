/* The login of the text protocol, as with memcached -Y: the first command of a connection is a set
 * with any key, whose value is a user's name and password.
 *
 *     set <any key> <flags> <exptime> <bytes>\r\n
 *     <user> <password>\r\n
 *
 * The password is everything after the first space, so it may contain spaces; memcached reads only
 * its first word. */
#ifndef STAYD_PROTO_LOGIN_H
#define STAYD_PROTO_LOGIN_H

#include "proto/request.h"

/* Runs a set before the login: if the value is a login, sets the connection's `login` and returns
 * REQUEST_LOGIN. */
request_handler login_run;

/* The caller has reserved the room. */
void login_reply(struct buffer *replies, bool admitted);

#endif
