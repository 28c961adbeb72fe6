#include "stayd/files.h"

#include "admin/admin.h"
#include "base/log.h"
#include "net/share.h"

#include <sys/resource.h>

enum {
    /* The standard streams, syslog, signal_fd, the pid file, and the thread for TLS handshakes. */
    FILES_LASTING = 8,
    /* Open for a moment: a file that is read again, the socket of a notification, a connection that
     * is being refused. */
    FILES_PASSING = 16,
    FILES_OF_POOL = 3, /* the data file, the index file, and a temporary file */
    /* Of a worker: the epoll, the eventfd that wakes the thread, the io_uring, and a connection
     * that is no longer counted but not yet closed. */
    FILES_OF_THREAD = 4,
    FILES_OF_CLUSTER = 8, /* the connection to the engine's node, and what libnats opens besides */
    /* A service manager or a shell may pass on a few files of its own. */
    FILES_INHERITED = 16
};

/* The most files other than clients' connections that a daemon with this configuration opens. */
static unsigned files_count_reserved(const struct config *config) {
    unsigned count = FILES_LASTING + FILES_PASSING + FILES_INHERITED +
                     config->pool_count * FILES_OF_POOL + config->threads * FILES_OF_THREAD +
                     config_count_clusters(config) * FILES_OF_CLUSTER;
    for (unsigned i = 0; i < config->pool_count; i++) {
        count += config->pools[i].listen_count;
    }
    if (config->has_admin) {
        count += 1 + admin_count_files(config_admin_has_tls(config)); /* with the listener */
    }
    return count;
}

bool files_raise_limit(const struct config *config, struct proto_whole *connections) {
    unsigned wanted = config->max_connections;
    unsigned reserved = files_count_reserved(config);
    rlim_t needed = (rlim_t)wanted + reserved;
    struct rlimit limit;
    share_divide(connections, wanted, config->pool_count);
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= needed) {
        return true;
    }
    struct rlimit raised = {needed, limit.rlim_max > needed ? limit.rlim_max : needed};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        return true;
    }
    raised = (struct rlimit){limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        limit = raised;
    }
    if (limit.rlim_cur <= reserved) {
        log_error("cannot serve: the limit of open files is %llu, and max_connections = %u needs "
                  "%llu; raise it (LimitNOFILE= in the systemd unit, or ulimit -n)",
                  (unsigned long long)limit.rlim_cur, wanted, (unsigned long long)needed);
        return false;
    }
    unsigned allowed = (unsigned)(limit.rlim_cur - reserved);
    share_divide(connections, allowed, config->pool_count);
    log_warning("max_connections is lowered from %u to %u: the limit of open files is %llu; raise "
                "it to %llu (LimitNOFILE= in the systemd unit, or ulimit -n)",
                wanted, allowed, (unsigned long long)limit.rlim_cur, (unsigned long long)needed);
    return true;
}
