/* The login on a connection that has just been opened, in the protocol that the URL asks for. */
#ifndef STAYD_LIB_LOGIN_H
#define STAYD_LIB_LOGIN_H

#include "channel.h"
#include "request.h"
#include "url.h"

/* Sends the URL's user and password, before the channel's deadline, and reads the reply. The status
 * is valid only if the channel has no fault afterwards; `login` then has the server's words. The
 * password is erased from the channel. */
enum stayd_status login_run(const struct url *url, struct request *login, struct channel *channel);

#endif
