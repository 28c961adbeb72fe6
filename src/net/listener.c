#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Advice for the operator about a failed call. */
static const char *listener_advice(int error_number) {
    switch (error_number) {
    case EADDRINUSE:
        return "; another server (memcached, another stayd) uses it: stop that server, or choose "
               "another address";
    case EADDRNOTAVAIL:
        return "; this machine has no such address: 'ip address' shows its addresses";
    case EACCES:
        return "; choose a port above 1023 or a folder that this user may write to";
    case ENOENT:
        return "; create the folder first, or choose another path";
    case EMFILE:
    case ENFILE:
        return "; raise the limit of open files (LimitNOFILE= in the systemd unit, or ulimit -n)";
    default:
        return "";
    }
}

static bool listener_fail(struct listener *listener, const char *what,
                          char error[LISTENER_ERROR_MAX]) {
    int error_number = errno;
    snprintf(error, LISTENER_ERROR_MAX, "cannot %s %s: %s%s", what, listener->address.text,
             strerror(error_number), listener_advice(error_number));
    listener_close(listener);
    return false;
}

/* Finds out whether a server answers on this path. False with errno if it cannot find out. */
static bool listener_is_answered(const struct address *address, bool *answered) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    int result = connect(fd, (const struct sockaddr *)&address->socket, address->size);
    bool stale = result != 0 && (errno == ECONNREFUSED || errno == ENOENT);
    *answered = result == 0 || errno == EAGAIN; /* EAGAIN: its queue is full, so it is alive */
    int error_number = errno;
    close(fd);
    errno = error_number;
    return stale || *answered;
}

/* Removes a stale socket file, so that the path can be bound. */
static bool listener_clear_path(struct listener *listener, char error[LISTENER_ERROR_MAX]) {
    const char *path = address_path(&listener->address);
    struct stat file;
    if (lstat(path, &file) != 0) {
        return errno == ENOENT || listener_fail(listener, "look at", error);
    }
    if (!S_ISSOCK(file.st_mode)) {
        snprintf(error, LISTENER_ERROR_MAX,
                 "cannot listen on %s: there is a file that is not a socket; remove the file or "
                 "choose another path",
                 listener->address.text);
        return false;
    }
    bool answered = false;
    if (!listener_is_answered(&listener->address, &answered)) {
        return listener_fail(listener, "find out who listens on", error);
    }
    if (answered) {
        errno = EADDRINUSE;
        return listener_fail(listener, "listen on", error);
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        return listener_fail(listener, "replace the stale socket", error);
    }
    return true;
}

/* bind creates the socket file with the mode of the socket less the umask. So the file is private
 * until chmod sets its mode. */
static bool listener_bind_unix(struct listener *listener, unsigned mode,
                               char error[LISTENER_ERROR_MAX]) {
    const char *path = address_path(&listener->address);
    const struct sockaddr *socket = (const struct sockaddr *)&listener->address.socket;
    struct stat file;
    if (fchmod(listener->fd, 0600) != 0 ||
        bind(listener->fd, socket, listener->address.size) != 0) {
        return listener_fail(listener, "listen on", error);
    }
    if (stat(path, &file) == 0) {
        listener->file_device = file.st_dev;
        listener->file_inode = file.st_ino;
    }
    if (chmod(path, mode) != 0) {
        return listener_fail(listener, "set the access rights of", error);
    }
    return true;
}

/* Accepted sockets inherit these options, so they are set here once. */
static bool listener_set_options(int fd) {
    const int on = 1;
    return setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0 &&
           setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0;
}

static bool listener_bind_tcp(struct listener *listener, char error[LISTENER_ERROR_MAX]) {
    const struct sockaddr *socket = (const struct sockaddr *)&listener->address.socket;
    const int on = 1;
    int fd = listener->fd;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        !listener_set_options(fd) ||
        (socket->sa_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        bind(fd, socket, listener->address.size) != 0 ||
        !address_of_socket(fd, &listener->address)) { /* the system has chosen the port 0 */
        return listener_fail(listener, "listen on", error);
    }
    return true;
}

bool listener_open(struct listener *listener, const struct address *address,
                   const struct listener_options *options, char error[LISTENER_ERROR_MAX]) {
    *listener = (struct listener){.address = *address, .options = *options};
    bool is_unix = address_is_unix(address);
    if (is_unix && !listener_clear_path(listener, error)) {
        return false;
    }
    listener->fd = socket(address->socket.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener->fd < 0) {
        return listener_fail(listener, "open a socket for", error);
    }
    listener->is_open = true;
    if (!(is_unix ? listener_bind_unix(listener, options->socket_mode, error)
                  : listener_bind_tcp(listener, error))) {
        return false;
    }
    if (listen(listener->fd, (int)options->backlog) != 0) {
        return listener_fail(listener, "listen on", error);
    }
    return true;
}

bool listener_adopt(struct listener *listener, int fd, const struct address *address,
                    const struct listener_options *options, char error[LISTENER_ERROR_MAX]) {
    *listener = (struct listener){
        .address = *address, .fd = fd, .is_open = true, .is_adopted = true, .options = *options};
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        (!address_is_unix(address) && !listener_set_options(fd)) ||
        listen(fd, (int)options->backlog) != 0) {
        return listener_fail(listener, "use the socket that was passed for", error);
    }
    return true;
}

/* The file is removed before the socket is closed: a daemon that starts now finds either a live
 * socket or no file. */
static void listener_remove_file(struct listener *listener) {
    const char *path = address_path(&listener->address);
    struct stat file;
    if (listener->file_inode != 0 && lstat(path, &file) == 0 &&
        file.st_ino == listener->file_inode && file.st_dev == listener->file_device) {
        unlink(path);
    }
    listener->file_inode = 0;
}

void listener_pause(struct listener *listener) {
    listener->is_paused = true;
    if (listener->is_adopted) {
        return;
    }
    if (!address_is_unix(&listener->address)) {
        shutdown(listener->fd, SHUT_RD); /* listen() opens it again */
        return;
    }
    listener_remove_file(listener);
    close(listener->fd);
    listener->fd = -1;
}

bool listener_resume(struct listener *listener, char error[LISTENER_ERROR_MAX]) {
    struct listener opened = *listener;
    bool is_unix = address_is_unix(&listener->address);
    if (is_unix && !listener->is_adopted) {
        if (!listener_open(&opened, &listener->address, &listener->options, error)) {
            return false;
        }
        listener->fd = opened.fd;
        listener->file_device = opened.file_device;
        listener->file_inode = opened.file_inode;
    } else if (!listener->is_adopted && listen(listener->fd, (int)listener->options.backlog) != 0) {
        snprintf(error, LISTENER_ERROR_MAX, "cannot listen on %s: %s%s", listener->address.text,
                 strerror(errno), listener_advice(errno));
        return false;
    }
    listener->is_paused = false;
    return true;
}

void listener_close(struct listener *listener) {
    if (!listener->is_open) {
        return;
    }
    listener_remove_file(listener);
    if (listener->fd >= 0) {
        close(listener->fd);
    }
    listener->is_open = false;
}
