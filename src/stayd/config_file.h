/* Reads a configuration file: INI as libinih understands it, one value to a line, comments behind
 * ';' or in lines that begin with '#'.
 *
 *     [server]
 *     threads = 2
 *     [pool cache]
 *     listen  = 127.0.0.1:11211, unix:cache.sock
 *
 * Nothing is ignored: whatever is not understood is a fault with its line. */
#ifndef STAYD_STAYD_CONFIG_FILE_H
#define STAYD_STAYD_CONFIG_FILE_H

#include "stayd/config.h"

/* Adds to `config`, which has no pool yet, what the file says, and to `faults` what is wrong with
 * it, in each value and in the whole. The configuration may be used if there are no faults. */
void config_file_read(const char *path, struct config *config, struct faults *faults);

#endif
