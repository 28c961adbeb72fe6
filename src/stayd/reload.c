#include "stayd/reload.h"

#include "base/log.h"
#include "stayd/config_file.h"
#include "stayd/config_values.h"
#include "stayd/faults.h"

#include <string.h>
#include <unistd.h>

void reload_init(struct reload *reload, const char *path, const struct config *defaults) {
    *reload = (struct reload){.has_file = path != NULL, .threads = defaults->threads};
    memcpy(reload->data_dir, defaults->data_dir, sizeof reload->data_dir);
    memcpy(reload->run_dir, defaults->run_dir, sizeof reload->run_dir);
    if (path == NULL) {
        return;
    }
    char folder[PATH_MAX] = "";
    size_t length = 0;
    if (*path != '/' && getcwd(folder, sizeof folder - 1) != NULL) {
        length = strlen(folder);
        folder[length++] = '/';
    }
    memcpy(reload->path, folder, length);
    snprintf(reload->path + length, sizeof reload->path - length, "%s", path);
}

static unsigned compare_values(const char *section, const struct config_values *running,
                               const struct config_values *wanted) {
    unsigned differences = 0;
    for (unsigned i = 0; i < running->count; i++) {
        if (strcmp(running->items[i].text, wanted->items[i].text) != 0) {
            log_warning("[%s] %s: %s -> %s needs a restart", section, running->items[i].key,
                        running->items[i].text, wanted->items[i].text);
            differences++;
        }
    }
    return differences;
}

unsigned reload_compare(const struct config *running, const struct config *wanted) {
    static struct config_values before; /* too large for the stack */
    static struct config_values after;
    config_values_of_server(running, &before);
    config_values_of_server(wanted, &after);
    unsigned differences = compare_values("server", &before, &after);
    for (unsigned i = 0; i < running->pool_count; i++) {
        const struct config_pool *pool = &running->pools[i];
        const struct config_pool *same_pool = config_find_pool(wanted, pool->options.name);
        char section[POOL_NAME_MAX + 8];
        snprintf(section, sizeof section, "pool %s", pool->options.name);
        if (same_pool == NULL) {
            log_warning("[%s] is no longer in the file; removing it needs a restart", section);
            differences++;
            continue;
        }
        config_values_of_pool(pool, &before);
        config_values_of_pool(same_pool, &after);
        differences += compare_values(section, &before, &after);
    }
    for (unsigned i = 0; i < wanted->pool_count; i++) {
        const char *name = wanted->pools[i].options.name;
        if (config_find_pool(running, name) == NULL) {
            log_warning("[pool %s] is new; it needs a restart", name);
            differences++;
        }
    }
    return differences;
}

bool reload_read(const struct reload *reload, const struct config *running) {
    if (!reload->has_file) {
        log_info("SIGHUP: there is no configuration file to read again");
        return true;
    }
    struct config *wanted = config_create();
    if (wanted == NULL) {
        log_error("SIGHUP: no memory to read %s; the configuration stays as it is", reload->path);
        return false;
    }
    struct faults faults;
    wanted->threads = reload->threads;
    memcpy(wanted->data_dir, reload->data_dir, sizeof wanted->data_dir);
    memcpy(wanted->run_dir, reload->run_dir, sizeof wanted->run_dir);
    faults_init(&faults, reload->path);
    config_file_read(reload->path, wanted, &faults);
    bool valid = faults.count == 0;
    if (!valid) {
        faults_log(&faults);
        log_error("SIGHUP: %s is not valid; the configuration stays as it is", reload->path);
    } else {
        unsigned changes = reload_compare(running, wanted);
        log_info("SIGHUP: %s is valid; %u change%s in it need%s a restart", reload->path, changes,
                 changes == 1 ? "" : "s", changes == 1 ? "s" : "");
    }
    config_destroy(wanted);
    return valid;
}
