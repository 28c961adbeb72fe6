#include "admin/clients.h"

#include <string.h>
#include <sys/socket.h>

static void clients_remove_at(struct clients *clients, unsigned place) {
    clients->count--;
    memmove(&clients->kept[place], &clients->kept[place + 1],
            (clients->count - place) * sizeof clients->kept[0]);
}

static struct client *clients_find(struct clients *clients, int fd) {
    for (unsigned i = 0; i < clients->count; i++) {
        if (clients->kept[i].fd == fd) {
            return &clients->kept[i];
        }
    }
    return NULL;
}

void clients_add(struct clients *clients, int fd) {
    if (clients->count == CLIENTS_KEPT) {
        shutdown(clients->kept[0].fd, SHUT_RDWR);
        clients_remove_at(clients, 0);
    }
    clients->kept[clients->count++] = (struct client){.fd = fd};
}

void clients_remove(struct clients *clients, int fd) {
    const struct client *client = clients_find(clients, fd);
    if (client != NULL) {
        clients_remove_at(clients, (unsigned)(client - clients->kept));
    }
}

bool clients_take_body(struct clients *clients, int fd, size_t size) {
    struct client *client = clients_find(clients, fd);
    if (client == NULL || size > CLIENTS_BODY_MAX - client->body_bytes) {
        return false;
    }
    client->body_bytes += size;
    return true;
}
