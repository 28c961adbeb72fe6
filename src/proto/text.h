/* The text protocol, classic and meta commands: finds the line, and the command that its first word
 * names, in the one table of commands. Each row says what runs the command, and what runs before a
 * login in its place. Inside proto/ only. */
#ifndef STAYD_PROTO_TEXT_H
#define STAYD_PROTO_TEXT_H

#include "proto/request.h"

/* Runs the request that begins at `start`, or goes on with one that a turn has cut in pieces. */
enum request_end text_run(struct request *request);

#endif
