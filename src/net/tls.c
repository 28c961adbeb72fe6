#include "net/tls.h"

#include "base/clock.h"
#include "net/tls_client.h"
#include "net/tls_tickets.h"
#include "net/tls_wire.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* For TLS 1.2: only ciphers with forward secrecy and authenticated encryption. All ciphers of TLS
 * 1.3 have both. */
static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

enum {
    TLS_NAME_MAX = 64,
    TLS_READ_WIRE_BYTES = 128 << 10, /* per tls_read; more than a worker's buffer holds */
    TLS_READ_RECORDS = 256,          /* per tls_read; a full record has 16 KiB */
    TLS_MESSAGES_TOLERATED = 32,     /* messages without data: KeyUpdate, alerts ... */
    TLS_BYTES_A_MESSAGE = 1 << 20    /* bytes of data that allow one more message */
};

struct tls {
    struct tls_options options;
    struct proto_tls *counters;
    struct tls_tickets tickets;
    pthread_mutex_t lock;
    SSL_CTX *context; /* under the lock; each session has a reference to its own */
};

struct tls_session {
    SSL *ssl;
    struct proto_tls *counters;
    bool is_open; /* the handshake is done, and nothing has failed since */
    uint32_t end_s;
    uint64_t received_bytes;
    struct tls_wire wire;
};

/* OpenSSL's message about the last error. */
static const char *tls_last_reason(void) {
    unsigned long code = ERR_peek_last_error();
    const char *reason = ERR_reason_error_string(code);
    if (ERR_SYSTEM_ERROR(code)) {
        reason = strerror(ERR_GET_REASON(code));
    }
    return reason != NULL ? reason : "no reason given";
}

/* What messages begin with: the pool, or the admin server. */
static const char *tls_describe(const struct tls_options *options, char text[TLS_NAME_MAX]) {
    const char *name = options->name;
    snprintf(text, TLS_NAME_MAX, "%s%s", name != NULL ? "pool " : "admin",
             name != NULL ? name : "");
    return text;
}

/* The prefix of the settings' names. */
static const char *tls_prefix(const struct tls_options *options) {
    return options->name != NULL ? "" : "admin_";
}

static bool tls_fail(const struct tls_options *options, const char *what, const char *path,
                     const char *advice, char error[TLS_ERROR_MAX]) {
    char name[TLS_NAME_MAX];
    snprintf(error, TLS_ERROR_MAX, "%s: cannot use %s%s %s: %s%s", tls_describe(options, name),
             tls_prefix(options), what, path, tls_last_reason(), advice);
    ERR_clear_error();
    return false;
}

static bool tls_fail_key(const struct tls_options *options, char error[TLS_ERROR_MAX]) {
    return tls_fail(options, "tls_key", options->key_path,
                    options->name != NULL
                        ? "; it is not the key of the certificate in tls_cert"
                        : "; it is not the key of the certificate in admin_tls_cert",
                    error);
}

static bool tls_fail_setup(const struct tls_options *options, const char *reason,
                           char error[TLS_ERROR_MAX]) {
    char name[TLS_NAME_MAX];
    snprintf(error, TLS_ERROR_MAX, "%s: cannot set TLS up: %s", tls_describe(options, name),
             reason);
    return false;
}

/* OpenSSL does not say why it cannot open a file, so this checks first. */
static bool tls_check_file(const struct tls_options *options, const char *what, const char *path,
                           char error[TLS_ERROR_MAX]) {
    if (access(path, R_OK) == 0) {
        return true;
    }
    int error_number = errno;
    char name[TLS_NAME_MAX];
    snprintf(error, TLS_ERROR_MAX,
             "%s: cannot read %s%s %s: %s; the daemon's user must be allowed to read it",
             tls_describe(options, name), tls_prefix(options), what, path, strerror(error_number));
    return false;
}

/* Without this, OpenSSL would ask for the password of a key on the terminal. */
static int tls_refuse_password(char *text, int size, int writing, void *context) {
    (void)text;
    (void)size;
    (void)writing;
    (void)context;
    return -1;
}

static bool tls_load_certificate(SSL_CTX *context, const struct tls_options *options,
                                 char error[TLS_ERROR_MAX]) {
    static const char pem[] = "; it must be a PEM file";
    if (!tls_check_file(options, "tls_cert", options->cert_path, error) ||
        !tls_check_file(options, "tls_key", options->key_path, error)) {
        return false;
    }
    if (SSL_CTX_use_certificate_chain_file(context, options->cert_path) != 1) {
        return tls_fail(options, "tls_cert", options->cert_path, pem, error);
    }
    SSL_CTX_set_default_passwd_cb(context, tls_refuse_password);
    if (SSL_CTX_use_PrivateKey_file(context, options->key_path, SSL_FILETYPE_PEM) != 1) {
        if (ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_VALUES_MISMATCH ||
            ERR_GET_REASON(ERR_peek_last_error()) == X509_R_KEY_TYPE_MISMATCH) {
            return tls_fail_key(options, error);
        }
        return tls_fail(options, "tls_key", options->key_path,
                        "; it must be a PEM file without a password", error);
    }
    return SSL_CTX_check_private_key(context) == 1 || tls_fail_key(options, error);
}

static bool tls_load_ca(SSL_CTX *context, const struct tls_options *options,
                        char error[TLS_ERROR_MAX]) {
    if (options->ca_path == NULL) {
        return true;
    }
    if (!tls_check_file(options, "tls_ca", options->ca_path, error)) {
        return false;
    }
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(options->ca_path);
    if (names == NULL || SSL_CTX_load_verify_file(context, options->ca_path) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return tls_fail(options, "tls_ca", options->ca_path,
                        "; it must be a PEM file of certificates", error);
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    if (!tls_client_limit_tickets(context)) {
        return tls_fail(options, "tls_ca", options->ca_path, "", error);
    }
    return true;
}

/* NULL with a sentence in `error`. */
static SSL_CTX *tls_load(struct tls *tls, char error[TLS_ERROR_MAX]) {
    const struct tls_options *options = &tls->options;
    const char *id = options->name != NULL ? options->name : "admin";
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context == NULL || SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_cipher_list(context, ciphers) != 1 ||
        SSL_CTX_set_session_id_context(context, (const unsigned char *)id,
                                       (unsigned)strnlen(id, SSL_MAX_SSL_SESSION_ID_LENGTH)) != 1 ||
        !tls_tickets_use(&tls->tickets, context)) {
        tls_fail_setup(options, tls_last_reason(), error);
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF);
    /* A write may send only some records, and continue later from another buffer. An idle
     * connection keeps no buffers. */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(context, SSL_MODE_AUTO_RETRY); /* tls_read counts the records without data */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets need no cache */
    SSL_CTX_set_read_ahead(context, 1); /* one recv reads a record or several */
    if (!tls_load_certificate(context, options, error) || !tls_load_ca(context, options, error)) {
        SSL_CTX_free(context);
        return NULL;
    }
    return context;
}

struct tls *tls_create(const struct tls_options *options, struct proto_tls *counters,
                       char error[TLS_ERROR_MAX]) {
    struct tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL) {
        tls_fail_setup(options, "no memory", error);
        return NULL;
    }
    tls->options = *options;
    tls->counters = counters;
    pthread_mutex_init(&tls->lock, NULL);
    if (!tls_tickets_init(&tls->tickets)) {
        tls_fail_setup(options, "no random numbers", error);
        tls_destroy(tls);
        return NULL;
    }
    tls->context = tls_load(tls, error);
    if (tls->context == NULL) {
        tls_destroy(tls);
        return NULL;
    }
    atomic_store(&counters->loaded_s, clock_unix_s());
    return tls;
}

void tls_destroy(struct tls *tls) {
    if (tls == NULL) {
        return;
    }
    SSL_CTX_free(tls->context);
    tls_tickets_finish(&tls->tickets);
    pthread_mutex_destroy(&tls->lock);
    free(tls);
}

bool tls_reload(struct tls *tls, char error[TLS_ERROR_MAX]) {
    SSL_CTX *context = tls_load(tls, error);
    if (context == NULL) {
        return false;
    }
    if (tls->options.ca_path != NULL && !tls_tickets_forget(&tls->tickets)) {
        SSL_CTX_free(context);
        return tls_fail_setup(&tls->options, "no random numbers", error);
    }
    pthread_mutex_lock(&tls->lock);
    SSL_CTX *old = tls->context;
    tls->context = context;
    pthread_mutex_unlock(&tls->lock);
    SSL_CTX_free(old);
    atomic_store(&tls->counters->loaded_s, clock_unix_s());
    return true;
}

bool tls_get_warning(struct tls *tls, char warning[TLS_ERROR_MAX]) {
    pthread_mutex_lock(&tls->lock);
    const X509 *certificate = SSL_CTX_get0_certificate(tls->context);
    bool expired = X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
    bool early = X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0;
    pthread_mutex_unlock(&tls->lock);
    if (expired || early) {
        char name[TLS_NAME_MAX];
        snprintf(warning, TLS_ERROR_MAX,
                 "%s: the certificate in %s %s: clients that check it will not connect",
                 tls_describe(&tls->options, name), tls->options.cert_path,
                 expired ? "has expired" : "is not valid yet");
    }
    return expired || early;
}

struct tls_session *tls_session_create(struct tls *tls, int fd) {
    struct tls_session *session = calloc(1, sizeof *session);
    if (session == NULL) {
        return NULL;
    }
    pthread_mutex_lock(&tls->lock);
    session->ssl = SSL_new(tls->context); /* takes a reference to the context */
    pthread_mutex_unlock(&tls->lock);
    session->counters = tls->counters;
    session->end_s = TLS_CLIENT_ENDS_NEVER;
    session->wire.fd = fd;
    session->wire.tolerated =
        UINT64_MAX; /* no limit: a handshake has a deadline, and its own thread */
    if (session->ssl == NULL || !tls_wire_use(&session->wire, session->ssl)) {
        ERR_clear_error();
        tls_session_destroy(session);
        return NULL;
    }
    SSL_set_accept_state(session->ssl);
    return session;
}

/* Sends close_notify, as far as the socket accepts it at once. */
static void tls_say_end(struct tls_session *session) {
    if (session->is_open) {
        session->is_open = false;
        ERR_clear_error();
        SSL_shutdown(session->ssl);
        ERR_clear_error();
    }
}

void tls_session_destroy(struct tls_session *session) {
    if (session == NULL) {
        return;
    }
    tls_say_end(session);
    SSL_free(session->ssl);
    free(session);
}

/* The result of an OpenSSL call that has failed. */
static enum tls_result tls_judge(struct tls_session *session, int returned) {
    switch (SSL_get_error(session->ssl, returned)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANTS_INPUT;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANTS_OUTPUT;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_ENDED;
    default:
        session->is_open = false; /* close_notify must not be sent after this */
        return TLS_BROKEN;
    }
}

static const char *tls_handshake_reason(const SSL *ssl) {
    if (ERR_peek_error() == 0) {
        return "the client has disconnected";
    }
    long verified = SSL_get_verify_result(ssl);
    return verified != X509_V_OK ? X509_verify_cert_error_string(verified) : tls_last_reason();
}

enum tls_result tls_handshake(struct tls_session *session, const char **reason) {
    struct proto_tls *counters = session->counters;
    ERR_clear_error();
    tls_wire_begin(&session->wire, SIZE_MAX);
    int returned = SSL_do_handshake(session->ssl);
    if (returned == 1) {
        session->is_open = true;
        session->end_s = tls_client_ends_s(session->ssl);
        session->wire.messages = 0;
        session->wire.tolerated = TLS_MESSAGES_TOLERATED;
        atomic_fetch_add(SSL_session_reused(session->ssl) ? &counters->resumed_sessions
                                                          : &counters->new_sessions,
                         1);
        return TLS_DONE;
    }
    enum tls_result result = tls_judge(session, returned);
    if (result == TLS_BROKEN || result == TLS_ENDED) {
        *reason = tls_handshake_reason(session->ssl);
        ERR_clear_error();
        return TLS_BROKEN;
    }
    return result;
}

static void tls_count_received(struct tls_session *session, size_t bytes) {
    session->received_bytes += bytes;
    session->wire.tolerated =
        TLS_MESSAGES_TOLERATED + session->received_bytes / TLS_BYTES_A_MESSAGE;
}

enum tls_result tls_read(struct tls_session *session, char *data, size_t room, size_t *received) {
    struct tls_wire *wire = &session->wire;
    *received = 0;
    tls_wire_begin(wire, TLS_READ_WIRE_BYTES);
    for (unsigned calls = 0; *received < room && calls < TLS_READ_RECORDS; calls++) {
        size_t piece;
        uint64_t records = wire->records;
        ERR_clear_error();
        int returned = SSL_read_ex(session->ssl, data + *received, room - *received, &piece);
        if (tls_wire_is_flooded(wire)) {
            session->is_open = false;
            return TLS_BROKEN;
        }
        if (returned == 1) {
            *received += piece;
            tls_count_received(session, piece);
            continue;
        }
        enum tls_result result = tls_judge(session, returned);
        if (result == TLS_WANTS_INPUT && wire->records != records && !wire->is_paused) {
            continue; /* a record without data; more may follow it */
        }
        if (result == TLS_WANTS_INPUT) {
            return wire->is_paused ? TLS_DONE : TLS_WANTS_INPUT;
        }
        /* Bytes that were read before are returned first. The next call gets the end or the failure
         * again. */
        return *received > 0 ? TLS_DONE : result;
    }
    return TLS_DONE;
}

enum tls_result tls_write(struct tls_session *session, const char *data, size_t size,
                          size_t *sent) {
    *sent = 0;
    while (*sent < size) {
        size_t piece;
        ERR_clear_error();
        int returned = SSL_write_ex(session->ssl, data + *sent, size - *sent, &piece);
        if (returned != 1) {
            return tls_judge(session, returned);
        }
        *sent += piece;
    }
    return TLS_DONE;
}

uint32_t tls_get_end_s(const struct tls_session *session) {
    return session->end_s;
}
