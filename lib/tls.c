#include "tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TLS_FILE_MAX = 4 << 20,     /* a file with all public CAs has 300 KiB */
    TLS_CALL_BYTES = 256 << 10, /* the most that one call may read: otherwise records without data
                                   could keep a call busy beyond the deadline */
    TLS_BIO_TYPE =
        BIO_TYPE_SOURCE_SINK | 127 /* a type below BIO_TYPE_START that OpenSSL does not use:
                                      BIO_get_new_index gives out only a limited number of types */
};

struct tls_pem {
    char *data; /* NULL: none */
    int size;
};

struct tls {
    struct tls_pem ca;
    struct tls_pem cert;
    struct tls_pem key; /* without data: the key is in `cert` */
    BIO_METHOD *method;
    pthread_mutex_t lock; /* held while the context is made */
    SSL_CTX *context;     /* NULL: to be made */
};

struct tls_session {
    SSL *ssl;
    int fd;
    bool ended;       /* the server has closed its side */
    size_t call_left; /* the number of bytes that the current call may still read */
    char reason[TLS_REASON_MAX];
};

static int tls_bio_write(BIO *bio, const char *data, int size) {
    const struct tls_session *session = BIO_get_data(bio);
    ssize_t result;
    BIO_clear_retry_flags(bio);
    do {
        result = send(session->fd, data, (size_t)size, MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    if (result < 0 && (errno == EAGAIN || errno == ENOBUFS)) {
        BIO_set_retry_write(bio);
    }
    return (int)result;
}

static int tls_bio_read(BIO *bio, char *data, int size) {
    struct tls_session *session = BIO_get_data(bio);
    ssize_t result;
    BIO_clear_retry_flags(bio);
    if (session->call_left < (size_t)size) {
        BIO_set_retry_read(bio);
        errno = EAGAIN;
        return -1;
    }
    do {
        result = recv(session->fd, data, (size_t)size, 0);
    } while (result < 0 && errno == EINTR);
    session->call_left -= result > 0 ? (size_t)result : 0;
    session->ended = session->ended || result == 0;
    if (result < 0 && errno == EAGAIN) {
        BIO_set_retry_read(bio);
    }
    return (int)result;
}

static long tls_bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)number;
    (void)pointer;
    const struct tls_session *session = BIO_get_data(bio);
    switch (command) {
    case BIO_CTRL_EOF:
        return session != NULL && session->ended;
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
        return 1;
    default:
        return 0;
    }
}

/* Takes the latest error from OpenSSL's queue, and empties the queue for the next call. */
static void tls_take_reason(char *reason, size_t size) {
    unsigned long code = ERR_peek_last_error();
    const char *text = code != 0 ? ERR_reason_error_string(code) : NULL;
    snprintf(reason, size, "%s", text != NULL ? text : "");
    ERR_clear_error();
}

/* False with errno. */
static bool tls_read_file(struct tls_pem *pem, const char *path) {
    if (path == NULL) {
        return true;
    }
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    size_t size = 0;
    ssize_t got = 1;
    while (got > 0 && size < TLS_FILE_MAX) {
        char *data = realloc(pem->data, size + 65536);
        if (data == NULL) {
            got = -1;
            break;
        }
        pem->data = data;
        do {
            got = read(file, pem->data + size, 65536);
        } while (got < 0 && errno == EINTR);
        size += got > 0 ? (size_t)got : 0;
    }
    int error_number = got < 0 ? errno : size == 0 ? EINVAL : size >= TLS_FILE_MAX ? EFBIG : 0;
    close(file);
    pem->size = (int)size;
    errno = error_number;
    return error_number == 0;
}

/* Trusts all certificates of the file, or the system's CAs. */
static bool tls_trust(SSL_CTX *context, const struct tls_pem *ca) {
    if (ca->data == NULL) {
        return SSL_CTX_set_default_verify_paths(context) == 1;
    }
    BIO *bio = BIO_new_mem_buf(ca->data, ca->size);
    X509 *certificate;
    unsigned count = 0;
    while (bio != NULL && (certificate = PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL)) != NULL) {
        count += X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate) == 1;
        X509_free(certificate);
    }
    BIO_free(bio);
    if (count > 0) {
        ERR_clear_error(); /* the end of the file is reported as an error */
    }
    return count > 0;
}

static bool tls_use_cert(SSL_CTX *context, const struct tls_pem *cert, const struct tls_pem *key) {
    if (cert->data == NULL) {
        return true;
    }
    key = key->data != NULL ? key : cert;
    BIO *bio = BIO_new_mem_buf(cert->data, cert->size);
    BIO *key_bio = BIO_new_mem_buf(key->data, key->size);
    X509 *certificate = bio != NULL ? PEM_read_bio_X509_AUX(bio, NULL, NULL, NULL) : NULL;
    char none[] = ""; /* a key with a password is refused; OpenSSL would ask for the password on the
                         terminal */
    EVP_PKEY *private = key_bio != NULL ? PEM_read_bio_PrivateKey(key_bio, NULL, NULL, none) : NULL;
    bool used = certificate != NULL && private != NULL &&
                SSL_CTX_use_certificate(context, certificate) == 1 &&
                SSL_CTX_use_PrivateKey(context, private) == 1 &&
                SSL_CTX_check_private_key(context) == 1;
    X509_free(certificate);
    while (used && (certificate = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
        used = SSL_CTX_add0_chain_cert(context, certificate) == 1;
    }
    if (used) {
        ERR_clear_error();
    }
    EVP_PKEY_free(private);
    BIO_free(bio);
    BIO_free(key_bio);
    return used;
}

static SSL_CTX *tls_new_context(const struct tls *tls) {
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) {
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    if (!tls_trust(context, &tls->ca) || !tls_use_cert(context, &tls->cert, &tls->key)) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

struct tls *tls_create(const char *ca, const char *cert, const char *key,
                       char error[STAYD_ERROR_MAX]) {
    struct tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL) {
        snprintf(error, STAYD_ERROR_MAX, "TLS cannot be prepared: no memory");
        return NULL;
    }
    pthread_mutex_init(&tls->lock, NULL);
    const struct {
        struct tls_pem *pem;
        const char *path;
    } files[] = {{&tls->ca, ca}, {&tls->cert, cert}, {&tls->key, key}};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (!tls_read_file(files[i].pem, files[i].path)) {
            snprintf(error, STAYD_ERROR_MAX, "TLS cannot use %.300s: %s", files[i].path,
                     strerror(errno));
            tls_destroy(tls);
            return NULL;
        }
    }
    tls->method = BIO_meth_new(TLS_BIO_TYPE, "stayd");
    bool made = tls->method != NULL && BIO_meth_set_write(tls->method, tls_bio_write) == 1 &&
                BIO_meth_set_read(tls->method, tls_bio_read) == 1 &&
                BIO_meth_set_ctrl(tls->method, tls_bio_control) == 1;
    tls->context = made ? tls_new_context(tls) : NULL;
    if (tls->context == NULL) {
        char reason[TLS_REASON_MAX];
        tls_take_reason(reason, sizeof reason);
        snprintf(error, STAYD_ERROR_MAX, "TLS cannot use %.120s %.120s %.120s: %s",
                 ca != NULL ? ca : "the system's certificates", cert != NULL ? cert : "",
                 key != NULL ? key : "", reason[0] != '\0' ? reason : "no memory");
        tls_destroy(tls);
        return NULL;
    }
    return tls;
}

static void tls_pem_finish(struct tls_pem *pem) {
    if (pem->data != NULL) {
        explicit_bzero(pem->data, (size_t)pem->size);
        free(pem->data);
    }
}

void tls_destroy(struct tls *tls) {
    if (tls != NULL) {
        tls_pem_finish(&tls->ca);
        tls_pem_finish(&tls->cert);
        tls_pem_finish(&tls->key);
        SSL_CTX_free(tls->context);
        BIO_meth_free(tls->method);
        pthread_mutex_destroy(&tls->lock);
        free(tls);
    }
}

void tls_renew(struct tls *tls) {
    if (tls != NULL) {
        tls->context = NULL;
        pthread_mutex_init(&tls->lock, NULL);
    }
}

/* Requires a certificate for this name or this address. */
static bool tls_expect(SSL *ssl, const char *host) {
    unsigned char address[sizeof(struct in6_addr)];
    X509_VERIFY_PARAM *expected = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(expected, host) == 1;
    }
    return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

struct tls_session *tls_session_create(struct tls *tls, int fd, const char *host) {
    pthread_mutex_lock(&tls->lock);
    if (tls->context == NULL) {
        tls->context = tls_new_context(tls);
    }
    pthread_mutex_unlock(&tls->lock);
    struct tls_session *session = calloc(1, sizeof *session);
    SSL *ssl = tls->context != NULL ? SSL_new(tls->context) : NULL;
    BIO *bio = BIO_new(tls->method);
    if (session == NULL || ssl == NULL || bio == NULL || !tls_expect(ssl, host)) {
        BIO_free(bio);
        SSL_free(ssl);
        free(session);
        ERR_clear_error();
        return NULL;
    }
    session->fd = fd;
    session->ssl = ssl;
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    return session;
}

void tls_session_destroy(struct tls_session *session, bool notify) {
    if (session == NULL) {
        return;
    }
    ERR_clear_error();
    if (notify) {
        SSL_shutdown(session->ssl);
    }
    /* so that OpenSSL neither sends close_notify nor takes a lock of the context */
    SSL_set_shutdown(session->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(session->ssl);
    ERR_clear_error();
    free(session);
}

/* Stores the reason: why the server's certificate is not trusted, or OpenSSL's last error. */
static void tls_session_explain(struct tls_session *session) {
    long verdict = SSL_get_verify_result(session->ssl);
    if (verdict != X509_V_OK && !SSL_is_init_finished(session->ssl)) {
        snprintf(session->reason, sizeof session->reason, "its certificate is refused: %s",
                 X509_verify_cert_error_string(verdict));
        ERR_clear_error();
    } else {
        tls_take_reason(session->reason, sizeof session->reason);
    }
}

static void tls_session_begin_call(struct tls_session *session) {
    ERR_clear_error();
    errno = 0;
    session->call_left = TLS_CALL_BYTES;
}

/* Translates the result of a call to OpenSSL to that of a system call. */
static ssize_t tls_session_result(struct tls_session *session, int result, int error_number,
                                  short *events) {
    if (result > 0) {
        return result;
    }
    session->reason[0] = '\0';
    switch (SSL_get_error(session->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        *events |= POLLIN;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_WANT_WRITE:
        *events |= POLLOUT;
        errno = EAGAIN;
        return -1;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        tls_session_explain(session);
        errno = error_number;
        return session->ended || error_number == 0 ? 0 : -1;
    default:
        tls_session_explain(session);
        if (session->ended) {
            return 0; /* without close_notify */
        }
        errno = EPROTO;
        return -1;
    }
}

ssize_t tls_session_shake_hands(struct tls_session *session, short *events) {
    tls_session_begin_call(session);
    int result = SSL_do_handshake(session->ssl);
    return tls_session_result(session, result, errno, events);
}

ssize_t tls_session_read(struct tls_session *session, void *data, size_t size, short *events) {
    tls_session_begin_call(session);
    int result = SSL_read(session->ssl, data, size < INT_MAX ? (int)size : INT_MAX);
    return tls_session_result(session, result, errno, events);
}

ssize_t tls_session_write(struct tls_session *session, const void *data, size_t size,
                          short *events) {
    tls_session_begin_call(session);
    int result = SSL_write(session->ssl, data, size < INT_MAX ? (int)size : INT_MAX);
    return tls_session_result(session, result, errno, events);
}

const char *tls_session_reason(const struct tls_session *session) {
    return session->reason;
}
