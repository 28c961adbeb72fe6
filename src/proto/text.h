/* The text protocol, classic and meta commands: finds the line, and looks its first word up in the
 * table of commands. Each row says what runs the command, and what runs instead before a login.
 * Inside proto/ only. */
#ifndef STAYD_PROTO_TEXT_H
#define STAYD_PROTO_TEXT_H

#include "proto/request.h"

/* Runs the request that begins at `start`, or continues one that an earlier turn has begun. */
enum request_end text_run(struct request *request);

#endif
