/* memcached's binary protocol, the client's side: for servers that accept a login only over SASL
 * (memcached -S). The protocol has no meta commands and no holds. This file has no state of its
 * own. */
#ifndef STAYD_LIB_BINARY_H
#define STAYD_LIB_BINARY_H

#include "channel.h"
#include "request.h"

/* Whether the protocol has the command. */
bool binary_has(enum verb verb);

/* Like text_put and text_read (text.h). */
void binary_put(const struct request *request, struct channel *channel);
enum stayd_status binary_read(struct request *request, struct channel *channel);

/* SASL PLAIN. */
void binary_put_login(const struct url *url, struct channel *channel);
enum stayd_status binary_read_login(struct request *request, struct channel *channel);

#endif
