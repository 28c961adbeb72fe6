#include "net/tls_wire.h"

#include <openssl/bio.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sys/socket.h>

static BIO_METHOD *tls_wire_method; /* created once, never freed */

static int tls_wire_write(BIO *bio, const char *data, int size) {
    const struct tls_wire *wire = BIO_get_data(bio);
    ssize_t result;
    BIO_clear_retry_flags(bio);
    do {
        result = send(wire->fd, data, (size_t)size, MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    if (result < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
        BIO_set_retry_write(bio);
    }
    return (int)result;
}

static int tls_wire_read(BIO *bio, char *data, int size) {
    struct tls_wire *wire = BIO_get_data(bio);
    size_t room = (size_t)size < wire->left ? (size_t)size : wire->left;
    ssize_t result;
    BIO_clear_retry_flags(bio);
    if (tls_wire_is_flooded(wire)) {
        return -1;
    }
    if (room == 0) {
        wire->is_paused = true;
        BIO_set_retry_read(bio);
        return -1;
    }
    do {
        result = recv(wire->fd, data, room, 0);
    } while (result < 0 && errno == EINTR);
    if (result > 0) {
        wire->left -= (size_t)result;
    } else if (result == 0) {
        wire->ended = true;
    } else if (errno == EAGAIN) {
        BIO_set_retry_read(bio);
    }
    return (int)result;
}

static long tls_wire_control(BIO *bio, int command, long number, void *pointer) {
    (void)number;
    (void)pointer;
    const struct tls_wire *wire = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_EOF:
        return wire->ended;
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
        return 1;
    default:
        return 0;
    }
}

static void tls_wire_make_method(void) {
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stayd");
    if (method != NULL && BIO_meth_set_write(method, tls_wire_write) == 1 &&
        BIO_meth_set_read(method, tls_wire_read) == 1 &&
        BIO_meth_set_ctrl(method, tls_wire_control) == 1) {
        tls_wire_method = method;
    }
}

/* OpenSSL calls this for each record and each message. */
static void tls_wire_note(int written, int version, int type, const void *data, size_t size,
                          SSL *ssl, void *context) {
    (void)version;
    (void)data;
    (void)size;
    (void)ssl;
    struct tls_wire *wire = context;
    wire->records += type == SSL3_RT_HEADER && !written;
    wire->messages += type == SSL3_RT_ALERT || type == SSL3_RT_CHANGE_CIPHER_SPEC ||
                      (type == SSL3_RT_HANDSHAKE && !written);
}

bool tls_wire_use(struct tls_wire *wire, SSL *ssl) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, tls_wire_make_method);
    BIO *bio = tls_wire_method != NULL ? BIO_new(tls_wire_method) : NULL;
    if (bio == NULL) {
        return false;
    }
    BIO_set_data(bio, wire);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_msg_callback(ssl, tls_wire_note);
    SSL_set_msg_callback_arg(ssl, wire);
    return true;
}

void tls_wire_begin(struct tls_wire *wire, size_t bytes) {
    wire->left = bytes;
    wire->is_paused = false;
}

bool tls_wire_is_flooded(const struct tls_wire *wire) {
    return wire->messages > wire->tolerated;
}
