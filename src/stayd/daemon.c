#include "stayd/daemon.h"

#include "admin/admin.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/acceptor.h"
#include "net/auth.h"
#include "net/credentials.h"
#include "net/handshakes.h"
#include "net/listener.h"
#include "net/share.h"
#include "net/workers.h"
#include "stayd/activation.h"
#include "stayd/certificates.h"
#include "stayd/clusters.h"
#include "stayd/daemonize.h"
#include "stayd/directories.h"
#include "stayd/files.h"
#include "stayd/notify.h"
#include "stayd/pid_file.h"
#include "stayd/port_file.h"
#include "stayd/privileges.h"
#include "stayd/refresher.h"
#include "stayd/reload.h"
#include "stayd/watchdog.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { DAEMON_HANDSHAKE_MAX_MS = 10000 };

struct daemon {
    const struct config *config;
    const struct process_options *process;
    const struct reload *reload;
    struct activation *activation;
    struct pid_file pid_file;
    struct proto_server server;
    struct grace *grace;
    struct listener listeners[CONFIG_POOLS_MAX * CONFIG_LISTENS_MAX];
    unsigned listener_count;
    struct listener admin_listener;
    struct pool *pools[CONFIG_POOLS_MAX];
    struct clusters *clusters;                       /* NULL: no pool is clustered */
    struct proto_service services[CONFIG_POOLS_MAX]; /* of the pool with the same index */
    unsigned pool_count;
    struct auth *auth;             /* NULL: neither a pool nor the admin server requires a login */
    struct auth_pool *admin_users; /* NULL: the admin server requires no login */
    struct workers *workers;
    struct handshakes *handshakes; /* NULL: no pool has TLS */
    struct certificates certificates;
    struct refresher *refresher; /* NULL: neither a pool nor the admin server has TLS */
    struct admin *admin;
    int signal_fd;
    bool stopped; /* a signal stopped the daemon before it served clients */
};

/* Blocks the signals, in this thread and in all threads that it starts. The main thread reads them
 * from signal_fd. */
static bool daemon_take_signals(struct daemon *daemon) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR1); /* memcached's graceful stop */
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGALRM); /* of the watchdog */
    signal(SIGPIPE, SIG_IGN);     /* ignored, so that the failed call returns an error instead */
    signal(SIGXFSZ, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) == 0) {
        daemon->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    }
    if (daemon->signal_fd < 0) {
        log_error("cannot wait for signals: %m");
        return false;
    }
    return true;
}

static bool daemon_make_folders(const struct config *config) {
    char error[DIRECTORIES_ERROR_MAX];
    if ((config_needs_data_dir(config) && !directories_make(config->data_dir, "data_dir", error)) ||
        (config_needs_run_dir(config) && !directories_make(config->run_dir, "run_dir", error))) {
        log_error("%s", error);
        return false;
    }
    return true;
}

/* Opens a listener, or takes over the socket that systemd has passed for the address. */
static bool daemon_open_listener(struct daemon *daemon, struct listener *listener,
                                 const struct address *address,
                                 const struct listener_options *options,
                                 char error[LISTENER_ERROR_MAX]) {
    int fd = activation_take(daemon->activation, address);
    return fd >= 0 ? listener_adopt(listener, fd, address, options, error)
                   : listener_open(listener, address, options, error);
}

/* Opens the listeners of one kind: Unix sockets, or TCP ports. */
static bool daemon_listen(struct daemon *daemon, bool is_unix) {
    const struct config *config = daemon->config;
    struct listener_options options = {config->backlog, CONFIG_SOCKET_MODE};
    char error[LISTENER_ERROR_MAX];
    struct listener *listener = daemon->listeners;
    for (unsigned i = 0; i < config->pool_count; i++) {
        const struct config_pool *pool = &config->pools[i];
        options.socket_mode = pool->socket_mode;
        for (unsigned j = 0; j < pool->listen_count; j++, listener++) {
            const struct address *address = &pool->listens[j].address;
            if (address_is_unix(address) == is_unix &&
                !daemon_open_listener(daemon, listener, address, &options, error)) {
                log_error("pool %s: %s", pool->options.name, error);
                return false;
            }
        }
    }
    daemon->listener_count = (unsigned)(listener - daemon->listeners);
    options.socket_mode = CONFIG_SOCKET_MODE;
    if (config->has_admin && address_is_unix(&config->admin.address) == is_unix &&
        !listener_open(&daemon->admin_listener, &config->admin.address, &options, error)) {
        log_error("admin: %s (admin in [server]; admin = no disables it)", error);
        return false;
    }
    return true;
}

/* Drops root's rights, and claims the pid file with the rights of the user. */
static bool daemon_drop_privileges(struct daemon *daemon) {
    const struct process_options *process = daemon->process;
    char error[PID_FILE_ERROR_MAX]; /* longer than PRIVILEGES_ERROR_MAX */
    if ((process->user != NULL && !privileges_drop(process->user, process->core_dumps, error)) ||
        (process->pid_file[0] != '\0' &&
         !pid_file_claim(&daemon->pid_file, process->pid_file, error))) {
        log_error("%s", error);
        return false;
    }
    return true;
}

static bool daemon_load_certificates(struct daemon *daemon) {
    char error[TLS_ERROR_MAX];
    if (!certificates_load(&daemon->certificates, daemon->config, &daemon->server.tls, error)) {
        log_error("%s", error);
        return false;
    }
    if (daemon->server.tls.is_enabled || daemon->certificates.admin != NULL) {
        daemon->refresher = refresher_create(&daemon->certificates, &daemon->server);
        if (daemon->refresher == NULL) {
            log_error("cannot load certificates: no memory");
            return false;
        }
    }
    return true;
}

/* Reads the users of a pool, or of the admin server (`name` is NULL). False if that fails, which is
 * logged. */
static bool daemon_read_auth_file(struct daemon *daemon, const char *name, const char *path,
                                  unsigned exceptions, struct auth_pool **users) {
    *users = NULL;
    if (path[0] == '\0') {
        return true;
    }
    if (daemon->auth == NULL) {
        daemon->auth = auth_create();
    }
    *users = daemon->auth == NULL ? NULL : auth_add_pool(daemon->auth, name, path, exceptions);
    if (*users == NULL && name != NULL) {
        log_error("pool %s: cannot load the users of auth_file", name);
    } else if (*users == NULL) {
        log_error("admin: cannot load the users of admin_auth_file");
    }
    return *users != NULL;
}

/* Reads the auth_file of each pool that has one, and tells the pool's listeners to require a login.
 * Reads admin_auth_file. */
static bool daemon_read_users(struct daemon *daemon) {
    const struct config *config = daemon->config;
    struct listener *listener = daemon->listeners;
    for (unsigned i = 0; i < config->pool_count; i++) {
        const struct config_pool *pool = &config->pools[i];
        struct auth_pool *users;
        if (!daemon_read_auth_file(daemon, pool->options.name, pool->auth_file,
                                   config_auth_exceptions(pool), &users)) {
            return false;
        }
        for (unsigned j = 0; j < pool->listen_count; j++) {
            (listener++)->auth = users;
        }
    }
    return daemon_read_auth_file(daemon, NULL, config->admin_auth_file, CREDENTIALS_STRICT,
                                 &daemon->admin_users);
}

/* Whether a signal that stops the daemon is pending; daemon_serve reads the signal later. Any
 * thread may call. */
static bool daemon_is_stopping(void) {
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1 ||
            sigismember(&pending, SIGUSR1) == 1);
}

/* Tells systemd which pool is being opened: after a crash, a large pool takes a while. */
static void daemon_tell_opening(const struct pool_options *options) {
    char state[64 + POOL_NAME_MAX];
    snprintf(state, sizeof state, "STATUS=Opening pool %s", options->name);
    notify_send(state);
}

static bool daemon_open_pools(struct daemon *daemon) {
    const struct config *config = daemon->config;
    char error[POOL_ERROR_MAX];
    /* A clustered pool has a thread that reads its log. */
    daemon->grace = grace_create(config->threads + config_count_clusters(config));
    if (daemon->grace == NULL) {
        log_error("cannot start %u threads: no memory", config->threads);
        return false;
    }
    struct listener *listener = daemon->listeners;
    for (unsigned i = 0; i < config->pool_count; i++) {
        struct pool_options options = config->pools[i].options;
        /* with -k, the pool must not reserve address space, which would become locked memory */
        options.memory_fixed = daemon->process->lock_memory;
        options.is_stopping = daemon_is_stopping;
        daemon_tell_opening(&options);
        struct pool *pool = daemon_is_stopping() ? NULL : pool_open(&options, daemon->grace, error);
        if (pool == NULL && daemon_is_stopping()) {
            log_info("stopping: a signal came before all pools were open");
            daemon->stopped = true;
            return false;
        }
        if (pool == NULL) {
            log_error("cannot open pool %s: %s", config->pools[i].options.name, error);
            return false;
        }
        daemon->pools[daemon->pool_count++] = pool;
        if (!proto_service_init(&daemon->services[i], pool, &daemon->server)) {
            log_error("cannot serve pool %s: no memory", config->pools[i].options.name);
            return false;
        }
        daemon->services[i].login_required = config->pools[i].auth_file[0] != '\0';
        daemon->services[i].protocols = config->pools[i].protocols;
        daemon->services[i].admin_commands = config->pools[i].admin_commands;
        daemon->services[i].socket_mode = config->pools[i].socket_mode;
        daemon->services[i].sizes_tracked = config->pools[i].sizes_tracked;
        daemon->services[i].crawler_stopped = config->pools[i].crawler_stopped;
        daemon->services[i].may_map = readers_allow;
        daemon->services[i].readers = &config->pools[i].readers;
        daemon->server.rights.has_logins |= daemon->services[i].login_required;
        daemon->services[i].connections.most = config->pools[i].max_connections;

        for (unsigned j = 0; j < config->pools[i].listen_count; j++, listener++) {
            listener->service = &daemon->services[i];
            if (daemon->services[i].unix_path == NULL && address_is_unix(&listener->address)) {
                daemon->services[i].unix_path = address_path(&listener->address);
            }
            listener->protocols = config->pools[i].listens[j].protocols;
            bool plain = config->pools[i].listens[j].plain || address_is_unix(&listener->address);
            listener->tls = plain ? NULL : daemon->certificates.pools[i];
        }
    }
    return true;
}

/* Begins to join the clustered pools to their clusters. Their listeners are paused until they have
 * caught up. */
static bool daemon_join_clusters(struct daemon *daemon) {
    if (config_count_clusters(daemon->config) == 0) {
        return true;
    }
    const struct clusters_options options = {
        .config = daemon->config,
        .pools = daemon->pools,
        .services = daemon->services,
        .listeners = daemon->listeners,
        .server = &daemon->server,
        .grace = daemon->grace,
        .is_stopping = daemon_is_stopping,
    };
    daemon->clusters = clusters_join(&options);
    if (daemon->clusters == NULL && daemon_is_stopping()) {
        log_info("stopping: a signal came before all pools had joined their clusters");
        daemon->stopped = true;
    }
    return daemon->clusters != NULL;
}

static bool daemon_start_threads(struct daemon *daemon) {
    const struct config *config = daemon->config;
    char error[WORKERS_ERROR_MAX];
    if (daemon->auth != NULL && !auth_start(daemon->auth)) {
        log_error("cannot start the thread that checks passwords: %m");
        return false;
    }
    const struct workers_options workers = {
        .threads = config->threads,
        .grace = daemon->grace,
        .pools = daemon->pools,
        .pool_count = daemon->pool_count,
        .server = &daemon->server,
        .listeners = daemon->listeners,
        .listener_count = daemon->listener_count,
        .send_timeout_ms = config->send_timeout_s * 1000,
        .io = transfers_choose(config->io),
    };
    daemon->workers = workers_start(&workers, error);
    if (daemon->workers == NULL) {
        log_error("%s", error);
        return false;
    }
    if (daemon->server.tls.is_enabled) {
        const struct handshakes_options handshakes = {
            .workers = daemon->workers,
            .server = &daemon->server,
            .timeout_ms = workers.send_timeout_ms < DAEMON_HANDSHAKE_MAX_MS
                              ? workers.send_timeout_ms
                              : DAEMON_HANDSHAKE_MAX_MS,
            .most = 1 + (unsigned)daemon->server.limits.connections.limit / 4,
        };
        daemon->handshakes = handshakes_start(&handshakes);
        if (daemon->handshakes == NULL) {
            log_error("cannot start the thread for TLS handshakes: %m");
            return false;
        }
    }
    if (daemon->refresher != NULL && !refresher_start(daemon->refresher)) {
        log_error("cannot start the thread that reads certificates again: %m");
        return false;
    }
    if (config->has_admin) {
        const struct admin_options admin = {
            .pools = daemon->pools,
            .pool_count = daemon->pool_count,
            .server = &daemon->server,
            .services = daemon->services,
            .host_names = config->admin_hosts,
            .users = daemon->admin_users,
            .tls = daemon->certificates.admin,
            .tls_counters = &daemon->certificates.admin_counters,
        };
        daemon->admin = admin_start(&admin, &daemon->admin_listener);
        if (daemon->admin == NULL) {
            log_error("cannot serve the admin page on %s: no memory or no threads",
                      daemon->admin_listener.address.text);
            return false;
        }
    }
    return true;
}

static void daemon_log_pool(const struct config_pool *configured, struct pool *pool,
                            const struct listener *listeners) {
    static const char *const fsync[] = {"no", "everysec", "always"};
    const struct pool_options *options = &configured->options;
    char addresses[512] = "";
    size_t used = 0;
    for (unsigned i = 0; i < configured->listen_count && used < sizeof addresses; i++) {
        used += (size_t)snprintf(addresses + used, sizeof addresses - used, "%s%s",
                                 i > 0 ? ", " : "", listeners[i].address.text);
    }
    struct pool_stats stats;
    pool_get_stats(pool, &stats);
    log_info("pool %s: %s; %.6gM, %s when full, %s%s; %llu items", options->name, addresses,
             (double)options->memory_bytes / (1 << 20),
             options->evict ? "evicts" : "refuses new keys",
             options->persist ? "on disk, fsync = " : "in memory only",
             options->persist ? fsync[options->fsync] : "", (unsigned long long)stats.items);
}

static void daemon_log_start(const struct daemon *daemon) {
    const struct config *config = daemon->config;
    const struct listener *listeners = daemon->listeners;
    for (unsigned i = 0; i < config->pool_count; i++) {
        daemon_log_pool(&config->pools[i], daemon->pools[i], listeners);
        listeners += config->pools[i].listen_count;
    }
    if (config->has_admin) {
        log_info("admin: %s://%s/%s", daemon->certificates.admin != NULL ? "https" : "http",
                 config->admin.address.text, daemon->admin_users != NULL ? ", with a login" : "");
    }
    log_info("ready: stayd " STAYD_VERSION ", %u thread%s, up to %u connections", config->threads,
             config->threads == 1 ? "" : "s", (unsigned)daemon->server.limits.connections.limit);
}

static void daemon_tell_ready(const struct daemon *daemon) {
    char state[64 + CLUSTERS_STATUS_MAX];
    char status[CLUSTERS_STATUS_MAX] = "";
    unsigned waiting = clusters_describe(daemon->clusters, status);
    snprintf(state, sizeof state, "READY=1\nSTATUS=Serving %u pool%s%s",
             daemon->pool_count - waiting, daemon->pool_count - waiting == 1 ? "" : "s", status);
    notify_send(state);
}

/* On SIGHUP: reloads certificates and auth_files, and logs which other changes need a restart. */
static void daemon_reload(struct daemon *daemon) {
    char state[96];
    snprintf(state, sizeof state, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Reloading",
             (unsigned long long)(clock_monotonic_ns() / 1000));
    notify_send(state);
    reload_read(daemon->reload, daemon->config);
    if (daemon->refresher != NULL) {
        refresher_run(daemon->refresher);
    }
    if (daemon->auth != NULL) {
        auth_reload(daemon->auth);
    }
    daemon_tell_ready(daemon);
}

/* Accepts connections until a signal stops the daemon. */
static bool daemon_serve(struct daemon *daemon) {
    struct acceptor acceptor = {
        .listeners = daemon->listeners,
        .listener_count = daemon->listener_count,
        .workers = daemon->workers,
        .handshakes = daemon->handshakes,
        .server = &daemon->server,
        .change_fd = clusters_get_change_fd(daemon->clusters),
    };
    clusters_update(daemon->clusters);
    while (acceptor_run(&acceptor, daemon->signal_fd)) {
        struct signalfd_siginfo info;
        if (clusters_update(daemon->clusters)) {
            daemon_tell_ready(daemon);
        }
        if (read(daemon->signal_fd, &info, sizeof info) != sizeof info) {
            continue;
        }
        if (info.ssi_signo == SIGALRM) {
            watchdog_check(daemon->workers);
            continue;
        }
        if (info.ssi_signo == SIGHUP) {
            daemon_reload(daemon);
            continue;
        }
        log_info("stopping: SIG%s", sigabbrev_np((int)info.ssi_signo));
        return true;
    }
    return false;
}

/* Stops everything that has been started; daemon_start may have failed at any step. */
static void daemon_stop(struct daemon *daemon) {
    for (unsigned i = 0; i < CONFIG_POOLS_MAX * CONFIG_LISTENS_MAX; i++) {
        listener_close(&daemon->listeners[i]);
    }
    auth_stop(daemon->auth); /* before the workers and the admin server, which it wakes */
    admin_stop(daemon->admin);
    listener_close(&daemon->admin_listener);
    refresher_stop(daemon->refresher); /* before the workers, for the same reason */
    handshakes_stop(daemon->handshakes);
    workers_stop(daemon->workers);
    auth_destroy(daemon->auth);
    refresher_destroy(daemon->refresher);
    certificates_finish(&daemon->certificates);
    clusters_leave(daemon->clusters);
    for (unsigned i = 0; i < daemon->pool_count; i++) {
        pool_close(daemon->pools[i]);
        proto_service_finish(&daemon->services[i]);
    }
    grace_destroy(daemon->grace);
    if (daemon->signal_fd >= 0) {
        close(daemon->signal_fd);
    }
    pid_file_remove(&daemon->pid_file); /* last, because scripts wait until the pid file is gone */
}

/* Starts all parts, the threads last; daemon_serve then accepts connections. */
static bool daemon_start(struct daemon *daemon) {
    char error[ACTIVATION_ERROR_MAX]; /* longer than PROCESS_ERROR_MAX */
    if (!process_raise_limits(daemon->process, error) ||
        !activation_check(daemon->activation, daemon->config, error)) {
        log_error("%s", error);
        return false;
    }
    if (!daemon_take_signals(daemon) ||
        !files_raise_limit(daemon->config, &daemon->server.limits.connections) ||
        !daemon_listen(daemon, false)) {
        return false;
    }
    if (daemon->process->port_file[0] != '\0') {
        port_file_write(daemon->process->port_file, daemon->listeners, daemon->listener_count);
    }
    return daemon_drop_privileges(daemon) && daemon_load_certificates(daemon) &&
           daemon_make_folders(daemon->config) && daemon_listen(daemon, true) &&
           daemon_read_users(daemon) && daemon_open_pools(daemon) && daemon_join_clusters(daemon) &&
           daemon_start_threads(daemon);
}

/* All parts run: writes the pid file, tells systemd, and ends the parent process of -d. */
static bool daemon_announce(struct daemon *daemon, struct daemonize *daemonize) {
    char error[PID_FILE_ERROR_MAX];
    process_lock_memory(daemon->process);
    if (daemon->pid_file.is_open && !pid_file_write(&daemon->pid_file, error)) {
        log_error("%s", error);
        return false;
    }
    daemon_log_start(daemon);
    daemon_tell_ready(daemon);
    watchdog_start();
    daemonize_ready(daemonize);
    return true;
}

/* The function of proto_server.shut_down: stops the daemon by a signal to itself, like every other
 * stop. */
static void daemon_shut_down(void *context, bool graceful) {
    (void)context;
    (void)graceful; /* every stop is graceful */
    kill(getpid(), SIGTERM);
}

bool daemon_run(const struct daemon_options *options) {
    const struct config *config = options->config;
    struct daemon *daemon = calloc(1, sizeof *daemon);
    if (daemon == NULL) {
        log_error("cannot start: no memory");
        return false;
    }
    daemon->config = config;
    daemon->process = options->process;
    daemon->reload = options->reload;
    daemon->activation = options->activation;
    daemon->server.started_s = clock_unix_s();
    daemon->server.threads = config->threads;
    daemon->server.rights.shutdown_enabled = config->shutdown_enabled;
    daemon->server.rights.flush_disabled = config->flush_disabled;
    daemon->server.rights.dump_disabled = config->dump_disabled;
    daemon->server.rights.watch_disabled = config->watch_disabled;
    daemon->server.detail_enabled = config->detail_enabled;
    daemon->server.prefix_delimiter = config->prefix_delimiter;
    daemon->server.shut_down = daemon_shut_down;
    daemon->server.verbosity = options->process->verbosity;
    daemon->server.limits.backlog = config->backlog;
    daemon->server.limits.requests_per_turn = config->requests_per_turn;
    daemon->server.limits.connection_idle_s = config->connection_idle_s;
    share_divide(&daemon->server.limits.memory.bytes, config->connection_memory_bytes,
                 config->pool_count);
    daemon->signal_fd = -1;
    bool well = daemon_start(daemon) && daemon_announce(daemon, options->daemonize);
    if (well) {
        well = daemon_serve(daemon);
        notify_send("STOPPING=1\nSTATUS=Writing the last changes to the disk");
    }
    daemon_stop(daemon);
    well = well || daemon->stopped;
    free(daemon);
    if (well) {
        log_info("stopped");
    }
    return well;
}
