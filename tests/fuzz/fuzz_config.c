/* The configuration file: any input is read to its end, each fault has a line number and a
 * sentence, and a file without faults contains everything that a daemon needs to start. */
#include "base/log.h"
#include "check.h"
#include "stayd/config_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned count_lines(const uint8_t *data, size_t size) {
    unsigned lines = 1;
    for (size_t i = 0; i < size; i++) {
        lines += data[i] == '\n';
    }
    return lines;
}

static void check_faults(const struct faults *faults, unsigned lines) {
    for (size_t i = 0; i < faults->count; i++) {
        const struct fault *fault = &faults->items[i];
        check(fault->text != NULL && fault->text[0] != '\0', "a fault is told in words");
        check(fault->line <= lines, "a fault has a line of the file");
    }
}

/* Each fault is one line, even if it quotes a value with a line end. */
static void check_print(struct faults *faults) {
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    check(stream != NULL, "memory for the faults");
    faults_print(faults, stream);
    fclose(stream);
    size_t lines = 0;
    for (size_t i = 0; i < size; i++) {
        lines += text[i] == '\n';
    }
    size_t expected = faults->count + (faults->left_out > 0);
    check(lines == expected, "each fault is printed on a line of its own");
    free(text);
}

static void check_pool(const struct config_pool *pool) {
    const struct pool_options *options = &pool->options;
    char error[POOL_ERROR_MAX];
    check(config_pool_name_is_valid(options->name), "a pool has a name");
    check(pool_options_check(options, error), "a pool can be opened");
    check(pool->listen_count > 0 && pool->listen_count <= CONFIG_LISTENS_MAX, "and listens");
    for (unsigned i = 0; i < pool->listen_count; i++) {
        const struct address *address = &pool->listens[i].address;
        check(address->size > 0 && address->text[0] != '\0', "on an address");
        check(pool->insecure || address_is_local(address), "that others reach if that is meant");
    }
}

static void check_config(const struct config *config) {
    check(config->pool_count > 0 && config->pool_count <= CONFIG_POOLS_MAX, "there are pools");
    check(config->threads > 0 && config->threads <= CONFIG_THREADS_MAX, "there are threads");
    check(config->max_connections > 0 && config->max_connections <= CONFIG_CONNECTIONS_MAX,
          "there may be connections");
    check(config->data_dir[0] == '/' || !config_needs_data_dir(config), "files have a place");
    for (unsigned i = 0; i < config->pool_count; i++) {
        check_pool(&config->pools[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char path[64];
    static int file = -1;
    if (file < 0) {
        log_set_level(LOG_LEVEL_ERROR);
        setenv("STATE_DIRECTORY", "/var/lib/stayd", 1);
        setenv("RUNTIME_DIRECTORY", "/run/stayd", 1);
        file = memfd_create("configuration", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    }
    check(ftruncate(file, 0) == 0 && pwrite(file, data, size, 0) == (ssize_t)size, "a file");

    struct config *config = config_create();
    struct faults faults;
    faults_init(&faults, path);
    config_file_read(path, config, &faults);
    check_faults(&faults, count_lines(data, size));
    check_print(&faults);
    if (faults.count == 0) {
        check_config(config);
    }
    config_destroy(config);
    return 0;
}
