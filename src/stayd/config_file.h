/* Reads a configuration file: INI as libinih parses it, one value per line. A comment begins with
 * ';' anywhere, or with '#' at the start of a line.
 *
 *     [server]
 *     threads = 2
 *     [pool cache]
 *     listen  = 127.0.0.1:11211, unix:cache.sock
 *
 * Nothing is ignored: an unknown section, an unknown key or an invalid value is a fault with its
 * line. */
#ifndef STAYD_STAYD_CONFIG_FILE_H
#define STAYD_STAYD_CONFIG_FILE_H

#include "stayd/config.h"

/* Reads the file into `config`, which has no pool yet, and adds the file's errors to `faults`. The
 * configuration may be used if there are no faults. */
void config_file_read(const char *path, struct config *config, struct faults *faults);

#endif
