/* What SIGHUP does with the configuration: reads the file again, and logs its errors, or the
 * changes that need a restart. Applies no change. The certificates and auth_files that the
 * configuration names are reloaded elsewhere (stayd/daemon.c). Main thread only. */
#ifndef STAYD_STAYD_RELOAD_H
#define STAYD_STAYD_RELOAD_H

#include "stayd/config.h"

/* The source of the running configuration and its defaults, saved at startup: the defaults depend
 * on the user and the working folder, and the daemon may have changed both since. */
struct reload {
    bool has_file;
    char path[PATH_MAX]; /* absolute */
    unsigned threads;    /* the default */
    char data_dir[PATH_MAX];
    char run_dir[PATH_MAX];
};

/* `defaults` is a configuration from config_create, before a file is read into it. `path` is NULL
 * if there is no file. */
void reload_init(struct reload *reload, const char *path, const struct config *defaults);

/* Reads the file, and logs its faults or its changes. False if the file has faults; the daemon then
 * keeps its configuration. */
bool reload_read(const struct reload *reload, const struct config *running);

/* Logs each difference, and returns their number. */
unsigned reload_compare(const struct config *running, const struct config *wanted);

#endif
