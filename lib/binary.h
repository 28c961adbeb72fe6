/* memcached's binary protocol, as a client speaks it: for servers that take a login over SASL alone
 * (memcached -S). It has no meta commands and no holds. No state of its own. */
#ifndef STAYD_LIB_BINARY_H
#define STAYD_LIB_BINARY_H

#include "channel.h"
#include "request.h"

/* Whether the protocol has the command. */
bool binary_has(enum verb verb);

/* As those of text.h. */
void binary_put(const struct request *request, struct channel *channel);
enum stayd_status binary_read(struct request *request, struct channel *channel);

/* SASL PLAIN. */
void binary_put_login(const struct url *url, struct channel *channel);
enum stayd_status binary_read_login(struct request *request, struct channel *channel);

#endif
