/* memcached's text protocol with its meta commands, the client's side. This file has no state of
 * its own. */
#ifndef STAYD_LIB_TEXT_H
#define STAYD_LIB_TEXT_H

#include "channel.h"
#include "request.h"

/* Appends the request to the channel's output. */
void text_put(const struct request *request, struct channel *channel);

/* Reads the reply to its end. The status is valid only if the channel has no fault afterwards. */
enum stayd_status text_read(struct request *request, struct channel *channel);

/* The login: a set whose value is user and password. Its expiry is in the past, because a server
 * without logins stores the value as an item, which no client may read. */
void text_put_login(const struct url *url, struct channel *channel);
enum stayd_status text_read_login(struct request *request, struct channel *channel);

#endif
