#include "stayd/clusters.h"

#include "base/clock.h"
#include "base/log.h"
#include "cluster/cluster.h"
#include "store/replication.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    CLUSTERS_FIRST_MS = 5000, /* for the first try of all clusters */
    CLUSTERS_NAP_MS = 5,
    CLUSTERS_TELL_MS = 10000,
};

struct clusters {
    struct clusters_options options;
    int change_fd;                           /* a timer */
    struct cluster *items[CONFIG_POOLS_MAX]; /* of the pool with the same index, or NULL */
    bool serves[CONFIG_POOLS_MAX];
    uint64_t told_ms; /* when a failure to listen was logged last */
};

static const char *clusters_optional(const char *setting) {
    return setting[0] != '\0' ? setting : NULL;
}

/* clusters_update is called after this time. */
static void clusters_set_timer(const struct clusters *clusters, const struct timespec *after) {
    const struct itimerspec time = {.it_value = *after};
    timerfd_settime(clusters->change_fd, 0, &time, NULL);
}

/* cluster_options.changed */
static void clusters_note_change(void *context) {
    clusters_set_timer(context, &(struct timespec){.tv_nsec = 1});
}

static struct cluster *clusters_open(struct clusters *clusters, unsigned index,
                                     unsigned thread_index) {
    const struct config_pool *pool = &clusters->options.config->pools[index];
    char error[ENGINE_ERROR_MAX];
    const struct cluster_options options = {
        .engine =
            {
                .urls = pool->cluster,
                .prefix = pool->cluster_prefix,
                .pool = pool->options.name,
                .partitions = pool->options.partitions,
                .replicas = pool->cluster_replicas,
                .credentials = clusters_optional(pool->cluster_credentials),
                .tls_ca = clusters_optional(pool->cluster_tls_ca),
                .tls_cert = clusters_optional(pool->cluster_tls_cert),
                .tls_key = clusters_optional(pool->cluster_tls_key),
            },
        .grace = clusters->options.grace,
        .thread_index = thread_index,
        .serve_while_catching_up = pool->serve_while_catching_up,
        .max_lag_ms = pool->cluster_max_lag_s * 1000,
        .changed = clusters_note_change,
        .changed_context = clusters,
    };
    struct cluster *cluster = cluster_open(&options, clusters->options.pools[index], error);
    if (cluster == NULL) {
        log_error("pool %s cannot join its cluster: %s", pool->options.name, error);
    }
    return cluster;
}

/* The listeners of the pool, and their number. */
static struct listener *clusters_find_listeners(const struct clusters *clusters, unsigned index,
                                                unsigned *count) {
    const struct config *config = clusters->options.config;
    struct listener *listener = clusters->options.listeners;
    for (unsigned i = 0; i < index; i++) {
        listener += config->pools[i].listen_count;
    }
    *count = config->pools[index].listen_count;
    return listener;
}

static void clusters_pause(struct clusters *clusters, unsigned index) {
    unsigned count;
    struct listener *listeners = clusters_find_listeners(clusters, index, &count);
    for (unsigned i = 0; i < count; i++) {
        if (!listeners[i].is_paused) {
            listener_pause(&listeners[i]);
        }
    }
    clusters->serves[index] = false;
}

/* False: a listener cannot be opened now; it is tried again. */
static bool clusters_resume(struct clusters *clusters, unsigned index) {
    char error[LISTENER_ERROR_MAX];
    unsigned count;
    bool well = true;
    struct listener *listeners = clusters_find_listeners(clusters, index, &count);
    for (unsigned i = 0; i < count; i++) {
        if (!listeners[i].is_paused || listener_resume(&listeners[i], error)) {
            continue;
        }
        well = false;
        if (clock_monotonic_ms() >= clusters->told_ms + CLUSTERS_TELL_MS) {
            clusters->told_ms = clock_monotonic_ms();
            log_error("pool %s: %s", clusters->options.config->pools[index].options.name, error);
        }
    }
    clusters->serves[index] = well;
    return well;
}

/* Waits for the first try of all clusters. False: one is refused, which is logged, or the daemon is
 * stopping. */
static bool clusters_wait(struct clusters *clusters) {
    const struct config *config = clusters->options.config;
    uint64_t until_ms = clock_monotonic_ms() + CLUSTERS_FIRST_MS;
    char error[ENGINE_ERROR_MAX];
    for (unsigned i = 0; i < config->pool_count; i++) {
        struct cluster *cluster = clusters->items[i];
        while (cluster != NULL && !cluster_has_tried(cluster) && clock_monotonic_ms() < until_ms) {
            if (clusters->options.is_stopping()) {
                return false;
            }
            nanosleep(&(struct timespec){.tv_nsec = (long)CLUSTERS_NAP_MS * 1000000}, NULL);
        }
        if (cluster != NULL && cluster_is_refused(cluster, error)) {
            log_error("pool %s cannot join its cluster: %s", config->pools[i].options.name, error);
            return false;
        }
    }
    return true;
}

struct clusters *clusters_join(const struct clusters_options *options) {
    const struct config *config = options->config;
    struct clusters *clusters = calloc(1, sizeof *clusters);
    unsigned thread_index = config->threads; /* behind those of the workers */
    if (clusters == NULL) {
        log_error("cannot join clusters: no memory");
        return NULL;
    }
    clusters->options = *options;
    clusters->change_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (clusters->change_fd < 0) {
        log_error("cannot join clusters: %m");
        clusters_leave(clusters);
        return NULL;
    }
    for (unsigned i = 0; i < config->pool_count; i++) {
        if (config->pools[i].cluster[0] == '\0') {
            continue;
        }
        clusters->serves[i] = config->pools[i].serve_while_catching_up;
        if (!clusters->serves[i]) {
            clusters_pause(clusters, i);
        }
        clusters->items[i] = clusters_open(clusters, i, thread_index++);
        if (clusters->items[i] == NULL) {
            clusters_leave(clusters);
            return NULL;
        }
    }
    if (!clusters_wait(clusters)) {
        clusters_leave(clusters);
        return NULL;
    }
    return clusters;
}

int clusters_get_change_fd(const struct clusters *clusters) {
    return clusters != NULL ? clusters->change_fd : -1;
}

bool clusters_update(struct clusters *clusters) {
    uint64_t count;
    if (clusters == NULL || read(clusters->change_fd, &count, sizeof count) != sizeof count) {
        return false;
    }
    for (unsigned i = 0; i < clusters->options.config->pool_count; i++) {
        const struct cluster *cluster = clusters->items[i];
        struct proto_service *service = &clusters->options.services[i];
        if (cluster == NULL || cluster_may_serve(cluster) == clusters->serves[i]) {
            continue;
        }
        if (!clusters->serves[i]) {
            atomic_store(&service->is_cut_off, false);
            if (!clusters_resume(clusters, i)) {
                clusters_set_timer(clusters, &(struct timespec){.tv_sec = 1}); /* once more */
            }
            continue;
        }
        clusters_pause(clusters, i);
        atomic_store(&service->is_cut_off, true);
        atomic_fetch_add(&clusters->options.server->cut_offs, 1);
        clusters->options.server->network.wake_workers(clusters->options.server->network.network);
    }
    return true;
}

unsigned clusters_describe(const struct clusters *clusters, char text[CLUSTERS_STATUS_MAX]) {
    unsigned waiting = 0;
    size_t used = 0;
    text[0] = '\0';
    for (unsigned i = 0; clusters != NULL && i < clusters->options.config->pool_count; i++) {
        struct replication_state state;
        if (clusters->items[i] == NULL || cluster_may_serve(clusters->items[i])) {
            continue;
        }
        const struct pool_replication *replication =
            pool_get_replication(clusters->options.pools[i]);
        replication->get_state(replication->context, &state);
        waiting++;
        used +=
            (size_t)snprintf(text + used, CLUSTERS_STATUS_MAX - used, "; %s %s",
                             clusters->options.config->pools[i].options.name,
                             state.stage == REPLICATION_FOLLOWS ? "is too far behind its cluster"
                             : state.stage == REPLICATION_READS ? "catches up with its cluster"
                                                                : "waits for its cluster");
        used = used < CLUSTERS_STATUS_MAX ? used : CLUSTERS_STATUS_MAX - 1;
    }
    return waiting;
}

void clusters_leave(struct clusters *clusters) {
    if (clusters == NULL) {
        return;
    }
    for (unsigned i = 0; i < CONFIG_POOLS_MAX; i++) {
        cluster_close(clusters->items[i]);
    }
    if (clusters->change_fd >= 0) {
        close(clusters->change_fd);
    }
    free(clusters);
}
