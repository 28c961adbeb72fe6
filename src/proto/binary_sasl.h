/* The login of the binary protocol: SASL with the mechanism PLAIN.
 *
 *     list      ->  "PLAIN"
 *     auth      key: PLAIN, value: authzid \0 user \0 password  ->  "Authenticated", or 0x20
 *     auth      key: PLAIN, no value                            ->  0x21: send it in a step
 *     step      key: PLAIN, value as with auth
 *
 * Before the login all opcodes except these and version are refused, and the connection closes. In
 * a pool without logins these opcodes are unknown. Both are as in memcached. */
#ifndef STAYD_PROTO_BINARY_SASL_H
#define STAYD_PROTO_BINARY_SASL_H

#include "proto/binary.h"

binary_handler binary_sasl_list_run;
binary_handler binary_sasl_auth_run; /* and step */

/* Writes the response to a login, when its verdict is known. The caller has reserved the room. */
void binary_sasl_reply(struct proto_connection *connection, struct buffer *replies, bool admitted);

#endif
