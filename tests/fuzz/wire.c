#include "wire.h"

#include "check.h"
#include "store/pool.h"

#include <errno.h>
#include <sys/socket.h>

struct wire wire;

ssize_t __wrap_recv(int fd, void *data, size_t room, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t size, int flags);
int __wrap_shutdown(int fd, int how);
uint64_t __wrap_pool_take_ticket(struct pool *pool, struct store_thread *thread);
enum status __wrap_pool_check_ticket(struct pool *pool, uint64_t ticket);

void wire_restart(void) {
    wire.heard.size = 0;
    wire = (struct wire){.heard = wire.heard, .takes_all = true};
}

bool wire_is_writable(void) {
    return wire.takes_all || wire.takes > 0 || wire.reset;
}

ssize_t __wrap_recv(int fd, void *data, size_t room, int flags) {
    (void)fd, (void)flags;
    check(room > 0, "there is room to read into");
    if (wire.reset) {
        errno = ECONNRESET;
        return -1;
    }
    if (wire.unread.size == 0) {
        errno = EAGAIN;
        return wire.shut ? 0 : -1;
    }
    size_t size = wire.unread.size < room ? wire.unread.size : room;
    memcpy(data, wire.unread.data, size);
    wire.unread = bytes_from(wire.unread.data + size, wire.unread.size - size);
    return (ssize_t)size;
}

ssize_t __wrap_send(int fd, const void *data, size_t size, int flags) {
    (void)fd;
    check((flags & MSG_NOSIGNAL) != 0, "a client that is gone must not end the daemon");
    check(size > 0, "there is something to send");
    check(!wire.ended, "nothing is sent behind the end");
    check(wire.done >= wire.tickets, "what is acknowledged is on the disk");
    if (wire.reset) {
        errno = EPIPE;
        return -1;
    }
    if (!wire.takes_all) {
        size = size < wire.takes ? size : wire.takes;
        wire.takes -= size;
    }
    if (size == 0) {
        errno = EAGAIN;
        return -1;
    }
    check(buffer_append(&wire.heard, data, size), "memory for what the client hears");
    return (ssize_t)size;
}

int __wrap_shutdown(int fd, int how) {
    (void)fd, (void)how;
    wire.ended = true;
    return 0;
}

uint64_t __wrap_pool_take_ticket(struct pool *pool, struct store_thread *thread) {
    (void)pool, (void)thread;
    return wire.holding ? ++wire.tickets : 0;
}

enum status __wrap_pool_check_ticket(struct pool *pool, uint64_t ticket) {
    (void)pool;
    check(ticket != 0 && ticket <= wire.tickets, "the ticket was given out");
    if (ticket <= wire.done) {
        return STATUS_OK;
    }
    return wire.sync_failed ? STATUS_IO : STATUS_PENDING;
}
