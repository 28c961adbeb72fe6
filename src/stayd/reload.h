/* What SIGHUP does about the configuration: reads its file again, says what is wrong with it, and
 * else what is otherwise now and needs a restart. Nothing of it is applied, but for the content of
 * the files it names, which their owners read again. Main thread only. */
#ifndef STAYD_STAYD_RELOAD_H
#define STAYD_STAYD_RELOAD_H

#include "stayd/config.h"

/* Where the running configuration comes from, kept from the start of the daemon: it may have
 * another folder and be another user by now, and defaults depend on both. */
struct reload {
    bool has_file;
    char path[PATH_MAX]; /* absolute */
    unsigned threads;    /* of a configuration that says nothing */
    char data_dir[PATH_MAX];
    char run_dir[PATH_MAX];
};

/* `defaults` is a configuration that nothing has been read into; `path` is NULL if there is no
 * file. */
void reload_init(struct reload *reload, const char *path, const struct config *defaults);

/* Reads the file and logs. False if the file has faults: the daemon goes on as it is. */
bool reload_read(const struct reload *reload, const struct config *running);

/* Logs each difference; returns how many there are. */
unsigned reload_compare(const struct config *running, const struct config *wanted);

#endif
