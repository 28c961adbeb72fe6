#include "admin/clients.h"

#include <string.h>
#include <sys/socket.h>

static void clients_remove_at(struct clients *clients, unsigned place) {
    clients->count--;
    memmove(&clients->fds[place], &clients->fds[place + 1],
            (clients->count - place) * sizeof clients->fds[0]);
}

void clients_add(struct clients *clients, int fd) {
    if (clients->count == CLIENTS_KEPT) {
        shutdown(clients->fds[0], SHUT_RDWR);
        clients_remove_at(clients, 0);
    }
    clients->fds[clients->count++] = fd;
}

void clients_remove(struct clients *clients, int fd) {
    for (unsigned i = 0; i < clients->count; i++) {
        if (clients->fds[i] == fd) {
            clients_remove_at(clients, i);
            return;
        }
    }
}
