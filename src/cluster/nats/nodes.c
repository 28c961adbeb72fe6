/* What the servers are: their versions, and whether they write to the disk before they acknowledge.
 *
 * The version comes with each answer about a stream, from the server that leads it. The settings
 * are in $SYS.REQ.SERVER.PING.JSZ, which every server answers; an account may ask only if the
 * system account exports that service to it (packaging/nats). */
#include "cluster/nats/engine_private.h"

#include "base/clock.h"

#include <stdio.h>
#include <string.h>

bool engine_is_new_enough(const char *version) {
    unsigned is[3] = {0};
    unsigned least[3] = {0};
    sscanf(ENGINE_OLDEST, "%u.%u.%u", &least[0], &least[1], &least[2]);
    if (version == NULL || sscanf(version, "%u.%u.%u", &is[0], &is[1], &is[2]) != 3) {
        return false;
    }
    for (unsigned i = 0; i < 3; i++) {
        if (is[i] != least[i]) {
            return is[i] > least[i];
        }
    }
    return true;
}

void engine_ask_nodes(void *self) {
    struct nats_engine *engine = self;
    natsMsg *message =
        engine_is_connected(engine)
            ? engine_make_request(engine, ENGINE_NODES_SUBJECT, "n", bytes_from("", 0))
            : NULL;
    if (message != NULL) {
        engine_request(engine, message);
    }
}

/* The entry of the server with this name, which may be new. Under the lock. NULL: there are too
 * many. */
static struct node *engine_find_node(struct nats_engine *engine, const char *name) {
    for (uint32_t i = 0; i < engine->node_count; i++) {
        if (strcmp(engine->nodes[i].name, name) == 0) {
            return &engine->nodes[i];
        }
    }
    if (engine->node_count == ENGINE_NODES_MAX) {
        return NULL;
    }
    struct node *node = &engine->nodes[engine->node_count++];
    snprintf(node->name, sizeof node->name, "%s", name);
    return node;
}

void engine_take_node(struct nats_engine *engine, natsMsg *message) {
    if (natsMsg_IsNoResponders(message)) {
        pthread_mutex_lock(&engine->lock);
        engine->nodes_refused = true;
        pthread_mutex_unlock(&engine->lock);
        return;
    }
    json_t *answer = engine_parse(message);
    const char *name =
        json_string_value(json_object_get(json_object_get(answer, "server"), "name"));
    const json_t *config = json_object_get(json_object_get(answer, "data"), "config");
    if (name != NULL && config != NULL) { /* else a server without JetStream */
        pthread_mutex_lock(&engine->lock);
        struct node *node = engine_find_node(engine, name);
        if (node != NULL) {
            node->answered_ms = clock_monotonic_ms();
            node->syncs = json_is_true(json_object_get(config, "sync_always"));
        }
        engine->nodes_refused = false;
        pthread_mutex_unlock(&engine->lock);
    }
    json_decref(answer);
}

void engine_get_nodes(void *self, struct engine_nodes *nodes) {
    struct nats_engine *engine = self;
    uint64_t now_ms = clock_monotonic_ms();
    *nodes = (struct engine_nodes){0};
    pthread_mutex_lock(&engine->lock);
    nodes->refused = engine->nodes_refused;
    for (uint32_t i = 0; i < engine->node_count; i++) {
        const struct node *node = &engine->nodes[i];
        if (now_ms > node->answered_ms + ENGINE_NODE_MS) {
            continue;
        }
        nodes->answered++;
        if (!node->syncs) {
            snprintf(nodes->unsynced, sizeof nodes->unsynced, "%s", node->name);
        }
    }
    pthread_mutex_unlock(&engine->lock);
}
