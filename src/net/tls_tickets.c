#include "net/tls_tickets.h"

#include "base/clock.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <string.h>

static bool tls_ticket_key_make(struct tls_ticket_key *key) {
    key->is_valid = RAND_bytes(key->name, sizeof key->name) == 1 &&
                    RAND_priv_bytes(key->cipher, sizeof key->cipher) == 1 &&
                    RAND_priv_bytes(key->mac, sizeof key->mac) == 1;
    return key->is_valid;
}

bool tls_tickets_init(struct tls_tickets *tickets) {
    *tickets = (struct tls_tickets){.made_ms = clock_monotonic_ms()};
    pthread_mutex_init(&tickets->lock, NULL);
    return tls_ticket_key_make(&tickets->current);
}

void tls_tickets_finish(struct tls_tickets *tickets) {
    pthread_mutex_destroy(&tickets->lock);
    OPENSSL_cleanse(tickets, sizeof *tickets);
}

bool tls_tickets_forget(struct tls_tickets *tickets) {
    struct tls_ticket_key made;
    if (!tls_ticket_key_make(&made)) {
        return false;
    }
    pthread_mutex_lock(&tickets->lock);
    tickets->current = made;
    tickets->previous = (struct tls_ticket_key){0};
    tickets->made_ms = clock_monotonic_ms();
    pthread_mutex_unlock(&tickets->lock);
    return true;
}

/* The key for a new ticket. Without random numbers the old key stays in use. */
static struct tls_ticket_key tls_tickets_get_current(struct tls_tickets *tickets) {
    struct tls_ticket_key made;
    uint64_t now_ms = clock_monotonic_ms();
    pthread_mutex_lock(&tickets->lock);
    if (now_ms - tickets->made_ms >= UINT64_C(1000) * TLS_TICKETS_LIFETIME_S &&
        tls_ticket_key_make(&made)) {
        tickets->previous = tickets->current;
        tickets->current = made;
        tickets->made_ms = now_ms;
    }
    struct tls_ticket_key key = tickets->current;
    pthread_mutex_unlock(&tickets->lock);
    return key;
}

/* The key with this name; is_valid is false if there is none. */
static struct tls_ticket_key tls_tickets_find(struct tls_tickets *tickets,
                                              const unsigned char name[16]) {
    struct tls_ticket_key key = {0};
    pthread_mutex_lock(&tickets->lock);
    if (memcmp(tickets->current.name, name, sizeof key.name) == 0) {
        key = tickets->current;
    } else if (tickets->previous.is_valid &&
               memcmp(tickets->previous.name, name, sizeof key.name) == 0) {
        key = tickets->previous;
    }
    pthread_mutex_unlock(&tickets->lock);
    return key;
}

static bool tls_ticket_key_set_mac(const struct tls_ticket_key *key, EVP_MAC_CTX *mac) {
    unsigned char bytes[sizeof key->mac];
    memcpy(bytes, key->mac, sizeof bytes);
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, bytes, sizeof bytes),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){"SHA256"}, 0),
        OSSL_PARAM_construct_end(),
    };
    bool set = EVP_MAC_CTX_set_params(mac, parameters) == 1;
    OPENSSL_cleanse(bytes, sizeof bytes);
    return set;
}

static int tls_tickets_seal(struct tls_tickets *tickets, unsigned char name[16],
                            unsigned char iv[EVP_MAX_IV_LENGTH], EVP_CIPHER_CTX *cipher,
                            EVP_MAC_CTX *mac) {
    struct tls_ticket_key key = tls_tickets_get_current(tickets);
    memcpy(name, key.name, sizeof key.name);
    bool sealed = RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
                  EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) == 1 &&
                  tls_ticket_key_set_mac(&key, mac);
    OPENSSL_cleanse(&key, sizeof key);
    return sealed ? 1 : -1;
}

/* Returns 2 for a valid ticket that is to be renewed, so that a client that comes back often never
 * needs a full handshake; 0 for an unknown key, after which a full handshake follows. */
static int tls_tickets_open(struct tls_tickets *tickets, const unsigned char name[16],
                            const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac) {
    struct tls_ticket_key key = tls_tickets_find(tickets, name);
    int result = 0;
    if (key.is_valid) {
        bool set = EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), NULL, key.cipher, iv) == 1 &&
                   tls_ticket_key_set_mac(&key, mac);
        result = set ? 2 : -1;
    }
    OPENSSL_cleanse(&key, sizeof key);
    return result;
}

/* OpenSSL calls this, and defines the results. */
static int tls_tickets_callback(SSL *ssl, unsigned char *name, unsigned char *iv,
                                EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int sealing) {
    struct tls_tickets *tickets = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    return sealing ? tls_tickets_seal(tickets, name, iv, cipher, mac)
                   : tls_tickets_open(tickets, name, iv, cipher, mac);
}

bool tls_tickets_use(struct tls_tickets *tickets, SSL_CTX *context) {
    SSL_CTX_set_app_data(context, tickets);
    SSL_CTX_set_timeout(context, TLS_TICKETS_LIFETIME_S);
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(context, tls_tickets_callback) == 1;
}
