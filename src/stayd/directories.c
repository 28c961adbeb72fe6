#include "stayd/directories.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Takes the first folder from a variable that systemd sets; its value is a list, separated by
 * colons. */
static bool directories_from_systemd(const char *variable, char path[PATH_MAX]) {
    const char *value = getenv(variable);
    if (value == NULL || *value != '/') {
        return false;
    }
    int length = (int)strcspn(value, ":");
    return snprintf(path, PATH_MAX, "%.*s", length, value) < PATH_MAX;
}

/* Takes the folder from a variable of the XDG base directory specification, and appends `below`.
 * Ignores a relative path, as the specification demands. */
static bool directories_from_xdg(const char *variable, const char *below, char path[PATH_MAX]) {
    const char *value = getenv(variable);
    return value != NULL && *value == '/' &&
           snprintf(path, PATH_MAX, "%s/%s", value, below) < PATH_MAX;
}

void directories_default_data(char path[PATH_MAX]) {
    if (directories_from_systemd("STATE_DIRECTORY", path) ||
        directories_from_xdg("XDG_STATE_HOME", "stayd", path) ||
        directories_from_xdg("HOME", ".local/state/stayd", path)) {
        return;
    }
    const struct passwd *user = getpwuid(getuid());
    if (user == NULL ||
        snprintf(path, PATH_MAX, "%s/.local/state/stayd", user->pw_dir) >= PATH_MAX) {
        *path = '\0';
    }
}

void directories_default_run(char path[PATH_MAX]) {
    if (!directories_from_systemd("RUNTIME_DIRECTORY", path) &&
        !directories_from_xdg("XDG_RUNTIME_DIR", "stayd", path)) {
        snprintf(path, PATH_MAX, "/tmp/stayd-%u", (unsigned)getuid());
    }
}

/* Creates the folder, and each folder above it that is missing. */
static bool directories_make_all(const char *path) {
    char part[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof part) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(part, path, length + 1);
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST) {
            return false;
        }
        part[i] = path[i];
    }
    return true;
}

bool directories_make(const char *path, const char *key, char error[DIRECTORIES_ERROR_MAX]) {
    struct stat folder;
    if ((stat(path, &folder) != 0 && !directories_make_all(path)) || stat(path, &folder) != 0) {
        snprintf(error, DIRECTORIES_ERROR_MAX,
                 "cannot create the folder %s: %s; create it for this user, or choose another with "
                 "%s in [server]",
                 path, strerror(errno), key);
        return false;
    }
    if (!S_ISDIR(folder.st_mode)) {
        snprintf(error, DIRECTORIES_ERROR_MAX,
                 "%s is not a folder; remove it, or choose another with %s in [server]", path, key);
        return false;
    }
    if (folder.st_uid != geteuid() && folder.st_uid != 0) {
        snprintf(error, DIRECTORIES_ERROR_MAX,
                 "the folder %s belongs to another user (%u), who could read and replace what is "
                 "in it; choose another with %s in [server]",
                 path, (unsigned)folder.st_uid, key);
        return false;
    }
    if (access(path, W_OK | X_OK) != 0) {
        snprintf(error, DIRECTORIES_ERROR_MAX,
                 "cannot write to the folder %s: %s; change its owner to this user, or choose "
                 "another with "
                 "%s in [server]",
                 path, strerror(errno), key);
        return false;
    }
    return true;
}
