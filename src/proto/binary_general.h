/* delete, flush, noop, version, verbosity and quit of the binary protocol. */
#ifndef STAYD_PROTO_BINARY_GENERAL_H
#define STAYD_PROTO_BINARY_GENERAL_H

#include "proto/binary.h"

binary_handler binary_delete_run;
binary_handler binary_flush_run;
binary_handler binary_noop_run;
binary_handler binary_version_run;
binary_handler binary_verbosity_run;
binary_handler binary_quit_run;

#endif
