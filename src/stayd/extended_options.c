#include "stayd/extended_options.h"

#include "stayd/options.h"

#include <stdlib.h>
#include <string.h>

/* A setting of -o, with the function that takes it, or the reason why the setting has no effect. */
struct setting_row {
    const char *name;
    enum setting_value { VALUE_NONE, VALUE_OPTIONAL, VALUE_NEEDED } value;
    option_taker *take;
    const char *reason; /* if `take` is NULL */
};

static const char no_slabs[] = "there are no slabs";
static const char no_lru[] =
    "there are no LRU lists: a full pool evicts the items with the fewest reads for their size";
static const char no_crawler[] = "expired items are found without a crawler";
static const char no_hash[] = "the index grows by itself, a bucket at a time";
static const char no_logger[] = "watchers have buffers of a fixed size";
static const char no_proxy[] = "it is for memcached's proxy, which proxy_config starts";
static const char no_external[] = "it is for external storage, which ext_path starts";
static const char no_tls_tuning[] = "OpenSSL's default is used";

enum { IDLE_TIMEOUT_MAX_S = INT32_MAX, BUFFERS_MAX_M = 1 << 20 };

static bool take_idle_timeout(struct options *options, const char *spelled, char *value) {
    return option_number(spelled, value, 0, IDLE_TIMEOUT_MAX_S, &options->memcached.idle_timeout_s);
}

static bool take_read_buffers(struct options *options, const char *spelled, char *value) {
    return option_number(spelled, value, 0, BUFFERS_MAX_M, &options->memcached.read_buffers_m);
}

static bool take_replies(struct options *options, const char *spelled, char *value) {
    return option_number(spelled, value, 0, BUFFERS_MAX_M, &options->memcached.replies_m);
}

static bool take_track_sizes(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->memcached.track_sizes = true;
    return true;
}

static bool take_crawler(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->memcached.no_crawler = false;
    return true;
}

static bool take_no_crawler(struct options *options, const char *spelled, char *value) {
    (void)spelled;
    (void)value;
    options->memcached.no_crawler = true;
    return true;
}

static bool take_no_modern(struct options *options, const char *spelled, char *value) {
    (void)value;
    options->memcached.no_crawler = true;
    option_notice(options, "%s turns the crawler off; what else it sets has no equivalent here",
                  spelled);
    return true;
}

static bool take_cert(struct options *options, const char *spelled, char *value) {
    return option_path(spelled, value, options->memcached.tls_cert);
}

static bool take_key(struct options *options, const char *spelled, char *value) {
    return option_path(spelled, value, options->memcached.tls_key);
}

static bool take_ca(struct options *options, const char *spelled, char *value) {
    return option_path(spelled, value, options->memcached.tls_ca);
}

static bool take_verify_mode(struct options *options, const char *spelled, char *value) {
    unsigned *mode = &options->memcached.tls_verify;
    if (!option_number(spelled, value, 0, 3, mode)) {
        return false;
    }
    return *mode != 1 || option_fail(spelled, value,
                                     "an optional client certificate protects nothing; "
                                     "write 2 to require one, or 0");
}

static bool take_key_format(struct options *options, const char *spelled, char *value) {
    (void)options;
    return strcmp(value, "PEM") == 0 ||
           option_fail(spelled, value,
                       "keys must be in PEM format; convert it with 'openssl pkey'");
}

static bool take_min_version(struct options *options, const char *spelled, char *value) {
    unsigned version;
    if (!option_number(spelled, value, 0, 3, &version)) {
        return false;
    }
    if (version == 3) {
        return option_fail(spelled, value,
                           "TLS 1.2 is always accepted too, and cannot be disabled; write 2");
    }
    if (version < 2) {
        option_notice(options, "%s changes nothing: TLS below 1.2 is insecure and always refused",
                      spelled);
    }
    return true;
}

static bool refuse_ciphers(struct options *options, const char *spelled, char *value) {
    (void)options;
    (void)value;
    return option_fail(
        spelled, NULL,
        "the ciphers cannot be changed: they are ECDHE with AES-GCM or ChaCha20; remove it");
}

static bool refuse_external_storage(struct options *options, const char *spelled, char *value) {
    (void)options;
    (void)value;
    return option_fail(spelled, NULL,
                       "there is no external storage; give the pool more memory with -m, "
                       "or use a configuration (stayd -c FILE) with a pool that has "
                       "persist = yes: its items are in a file, and the system keeps "
                       "recently read items in memory");
}

static bool refuse_slow_connections(struct options *options, const char *spelled, char *value) {
    (void)options;
    (void)value;
    return option_fail(spelled, NULL,
                       "connections above the limit of -c get an error and are closed; they "
                       "cannot wait. Raise -c instead");
}

static bool refuse_cookie(struct options *options, const char *spelled, char *value) {
    (void)options;
    (void)value;
    return option_fail(spelled, NULL, "works on FreeBSD only; remove it");
}

static bool refuse_proxy(struct options *options, const char *spelled, char *value) {
    (void)options;
    (void)value;
    return option_fail(spelled, NULL,
                       "belongs to memcached's proxy, which stayd does not have; remove it");
}

static const struct setting_row rows[] = {
    {"idle_timeout", VALUE_NEEDED, take_idle_timeout, NULL},
    {"maxconns_fast", VALUE_OPTIONAL, NULL,
     "connections above -c always get an error and are closed"},
    {"no_maxconns_fast", VALUE_NONE, refuse_slow_connections, NULL},
    {"track_sizes", VALUE_NONE, take_track_sizes, NULL},
    {"drop_privileges", VALUE_NONE, NULL, "the systemd unit restricts the system calls"},
    {"no_drop_privileges", VALUE_NONE, NULL, "the systemd unit restricts the system calls"},

    {"ssl_chain_cert", VALUE_NEEDED, take_cert, NULL},
    {"ssl_key", VALUE_NEEDED, take_key, NULL},
    {"ssl_ca_cert", VALUE_NEEDED, take_ca, NULL},
    {"ssl_verify_mode", VALUE_NEEDED, take_verify_mode, NULL},
    {"ssl_keyformat", VALUE_NEEDED, take_key_format, NULL},
    {"ssl_ciphers", VALUE_NEEDED, refuse_ciphers, NULL},
    {"ssl_min_version", VALUE_NEEDED, take_min_version, NULL},
    {"ssl_session_cache", VALUE_NONE, NULL, "session resumption is always enabled"},
    {"ssl_kernel_tls", VALUE_NONE, NULL, no_tls_tuning},
    {"ssl_wbuf_size", VALUE_NEEDED, NULL, no_tls_tuning},

    {"hashpower", VALUE_NEEDED, NULL, no_hash},
    {"no_hashexpand", VALUE_NONE, NULL, no_hash},
    {"hash_algorithm", VALUE_NEEDED, NULL, "the hash is XXH3 with a secret of each pool"},
    {"slab_reassign", VALUE_NONE, NULL, no_slabs},
    {"no_slab_reassign", VALUE_NONE, NULL, no_slabs},
    {"slab_automove", VALUE_OPTIONAL, NULL, no_slabs},
    {"no_slab_automove", VALUE_NONE, NULL, no_slabs},
    {"slab_automove_ratio", VALUE_NEEDED, NULL, no_slabs},
    {"slab_automove_window", VALUE_NEEDED, NULL, no_slabs},
    {"slab_automove_freeratio", VALUE_NEEDED, NULL, no_slabs},
    {"slab_chunk_max", VALUE_NEEDED, NULL, no_slabs},
    {"slab_sizes", VALUE_NEEDED, NULL, no_slabs},
    {"no_chunked_items", VALUE_NONE, NULL, no_slabs},
    {"lru_crawler", VALUE_NONE, take_crawler, NULL},
    {"no_lru_crawler", VALUE_NONE, take_no_crawler, NULL},
    {"lru_crawler_sleep", VALUE_NEEDED, NULL, no_crawler},
    {"lru_crawler_tocrawl", VALUE_NEEDED, NULL, no_crawler},
    {"lru_maintainer", VALUE_NONE, NULL, no_lru},
    {"no_lru_maintainer", VALUE_NONE, NULL, no_lru},
    {"hot_lru_pct", VALUE_NEEDED, NULL, no_lru},
    {"warm_lru_pct", VALUE_NEEDED, NULL, no_lru},
    {"hot_max_factor", VALUE_NEEDED, NULL, no_lru},
    {"warm_max_factor", VALUE_NEEDED, NULL, no_lru},
    {"temporary_ttl", VALUE_NEEDED, NULL, "items that expire soon are always stored together"},
    {"read_buf_mem_limit", VALUE_NEEDED, take_read_buffers, NULL},
    {"resp_obj_mem_limit", VALUE_NEEDED, take_replies, NULL},
    {"watcher_logbuf_size", VALUE_NEEDED, NULL, no_logger},
    {"worker_logbuf_size", VALUE_NEEDED, NULL, no_logger},
    {"inline_ascii_resp", VALUE_NONE, NULL, "memcached accepts it too and ignores it"},
    {"no_inline_ascii_resp", VALUE_NONE, NULL, "memcached accepts it too and ignores it"},
    {"modern", VALUE_NONE, NULL, "what it sets has no equivalent here"},
    {"no_modern", VALUE_NONE, take_no_modern, NULL},

    {"tail_repair_time", VALUE_NEEDED, NULL, "works around a bug that stayd does not have"},
    {"relaxed_privileges", VALUE_NONE, NULL, "memcached's own tests need it, in its debug build"},
    {"sock_cookie_id", VALUE_NEEDED, refuse_cookie, NULL},
    {"proxy_config", VALUE_NEEDED, refuse_proxy, NULL},
    {"proxy_arg", VALUE_NEEDED, NULL, no_proxy},
    {"proxy_uring", VALUE_NONE, NULL, no_proxy},
    {"proxy_memprofile", VALUE_NONE, NULL, no_proxy},
    {"ext_path", VALUE_NEEDED, refuse_external_storage, NULL},
    {"ext_page_size", VALUE_NEEDED, NULL, no_external},
    {"ext_wbuf_size", VALUE_NEEDED, NULL, no_external},
    {"ext_threads", VALUE_NEEDED, NULL, no_external},
    {"ext_item_size", VALUE_NEEDED, NULL, no_external},
    {"ext_item_age", VALUE_NEEDED, NULL, no_external},
    {"ext_low_ttl", VALUE_NEEDED, NULL, no_external},
    {"ext_drop_unread", VALUE_NONE, NULL, no_external},
    {"ext_recache_rate", VALUE_NEEDED, NULL, no_external},
    {"ext_compact_under", VALUE_NEEDED, NULL, no_external},
    {"ext_drop_under", VALUE_NEEDED, NULL, no_external},
    {"ext_max_frag", VALUE_NEEDED, NULL, no_external},
    {"ext_io_depth", VALUE_NEEDED, NULL, no_external},
    {"ext_max_sleep", VALUE_NEEDED, NULL, no_external},
};

static const struct setting_row *setting_find(const char *name) {
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (strcmp(rows[i].name, name) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* Takes one setting; `value` is NULL if the setting has no '='. */
static bool setting_take(struct options *options, const char *spelled, const char *name,
                         char *value) {
    char setting[96];
    snprintf(setting, sizeof setting, "%s %.64s", spelled, name);
    const struct setting_row *row = setting_find(name);
    if (row == NULL) {
        return option_fail(setting, NULL, "memcached 1.6 has no such setting");
    }
    if (row->value == VALUE_NEEDED && (value == NULL || *value == '\0')) {
        return option_fail(setting, NULL, "needs a value: %s %s=VALUE", spelled, name);
    }
    if (row->value == VALUE_NONE && value != NULL) {
        return option_fail(setting, NULL, "takes no value");
    }
    if (row->take != NULL) {
        return row->take(options, setting, value);
    }
    option_notice(options, "%s changes nothing: %s", setting, row->reason);
    return true;
}

/* Settings may keep pointers into `text`, which lives as long as the process. */
bool extended_options_take(struct options *options, const char *spelled, char *text) {
    char *rest = NULL;
    for (char *setting = strtok_r(text, ",", &rest); setting != NULL;
         setting = strtok_r(NULL, ",", &rest)) {
        char *value = strchr(setting, '=');
        if (value != NULL) {
            *value++ = '\0';
        }
        if (!setting_take(options, spelled, setting, value)) {
            return false;
        }
    }
    return true;
}
