/* The file that memcached's environment variable MEMCACHED_PORT_FILENAME names: the TCP ports that
 * the daemon listens on, a line for each address, for scripts that start it with -p -1:
 *
 *     TCP INET: 40123
 *     TCP INET6: 40124
 *
 * Main thread only. */
#ifndef STAYD_STAYD_PORT_FILE_H
#define STAYD_STAYD_PORT_FILE_H

#include "net/listener.h"

/* Writes the ports of the open listeners, first to PATH.lck, which is then renamed. A failure is
 * logged and changes nothing else, as in memcached. */
void port_file_write(const char *path, const struct listener *listeners, unsigned count);

#endif
