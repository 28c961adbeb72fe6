/* The client as a whole: its servers, and the distribution of keys over them. */
#ifndef STAYD_LIB_CLIENT_H
#define STAYD_LIB_CLIENT_H

#include "process.h"
#include "ring.h"
#include "server.h"
#include "stayd.h"

#include <stdbool.h>

enum { CLIENT_SERVERS_MAX = 1024 };

struct stayd {
    struct process process;
    struct server *servers;
    unsigned server_count;
    struct ring ring;
    bool failover;
};

/* Called by client_enter after a fork; not inline, because that is rare. */
void client_renew(struct stayd *client);

/* Each public function begins with this call. In a child of a fork, it leaves the parent's
 * connections to the parent. */
static inline void client_enter(struct stayd *client) {
    if (!process_is_same(&client->process)) {
        client_renew(client);
    }
}

/* The server to ask for the key. With failover, a server that is down is chosen only if all servers
 * are down. */
struct server *client_find_server(struct stayd *client, struct bytes key);

unsigned client_server_number(const struct stayd *client, const struct server *server);

/* Fills in `error`, which may be NULL. Returns the status. */
__attribute__((format(printf, 3, 4))) enum stayd_status
client_refuse(struct stayd_error *error, enum stayd_status status, const char *format, ...);

/* STAYD_INVALID if the key cannot be sent. */
enum stayd_status client_check_key(const char *key, size_t key_size, struct stayd_error *error);

/* STAYD_TOO_LARGE if no server takes a value of this size. */
enum stayd_status client_check_value(size_t size, struct stayd_error *error);

#endif
