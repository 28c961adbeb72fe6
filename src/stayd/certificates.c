#include "stayd/certificates.h"

#include "base/log.h"

static struct tls_options certificates_options(const struct config_pool *pool) {
    return (struct tls_options){
        .name = pool->options.name,
        .cert_path = pool->tls_cert,
        .key_path = pool->tls_key,
        .ca_path = pool->tls_ca[0] != '\0' ? pool->tls_ca : NULL,
    };
}

static struct tls_options certificates_admin_options(const struct config *config) {
    return (struct tls_options){
        .cert_path = config->admin_tls_cert,
        .key_path = config->admin_tls_key,
    };
}

static void certificates_warn(struct tls *tls) {
    char warning[TLS_ERROR_MAX];
    if (tls_get_warning(tls, warning)) {
        log_warning("%s", warning);
    }
}

bool certificates_load(struct certificates *certificates, const struct config *config,
                       struct proto_tls *counters, char error[TLS_ERROR_MAX]) {
    for (unsigned i = 0; i < config->pool_count; i++) {
        if (!config_pool_has_tls(&config->pools[i])) {
            continue;
        }
        const struct tls_options options = certificates_options(&config->pools[i]);
        certificates->pools[i] = tls_create(&options, counters, error);
        if (certificates->pools[i] == NULL) {
            return false;
        }
        counters->is_enabled = true;
        certificates_warn(certificates->pools[i]);
    }
    if (config_admin_has_tls(config)) {
        const struct tls_options options = certificates_admin_options(config);
        certificates->admin = tls_create(&options, &certificates->admin_counters, error);
        if (certificates->admin == NULL) {
            return false;
        }
        certificates_warn(certificates->admin);
    }
    return true;
}

void certificates_finish(struct certificates *certificates) {
    for (unsigned i = 0; i < CONFIG_POOLS_MAX; i++) {
        tls_destroy(certificates->pools[i]);
        certificates->pools[i] = NULL;
    }
    tls_destroy(certificates->admin);
    certificates->admin = NULL;
}

/* Reads one again. False, with a sentence in `reason`, which is logged, if it is not valid. */
static bool certificates_refresh_one(struct tls *tls, char reason[TLS_ERROR_MAX]) {
    if (tls_reload(tls, reason)) {
        certificates_warn(tls);
        return true;
    }
    log_error("%s; the previous certificate stays in use", reason);
    return false;
}

bool certificates_refresh(struct certificates *certificates, char *error, size_t error_size) {
    char reason[TLS_ERROR_MAX];
    unsigned read = 0;
    bool well = true;
    for (unsigned i = 0; i < CONFIG_POOLS_MAX; i++) {
        struct tls *tls = certificates->pools[i];
        if (tls == NULL) {
            continue;
        }
        if (certificates_refresh_one(tls, reason)) {
            read++;
            continue;
        }
        if (well) {
            snprintf(error, error_size, "%s", reason);
        }
        well = false;
    }
    if (read > 0) {
        log_info("certificates of %u pool%s reloaded; new connections use them", read,
                 read == 1 ? "" : "s");
    }
    if (certificates->admin != NULL) {
        if (certificates_refresh_one(certificates->admin, reason)) {
            log_info("certificate of the admin server reloaded; new connections use it");
        } else if (well) {
            snprintf(error, error_size, "%s", reason);
            well = false;
        }
    }
    return well;
}

static void certificates_check_one(const struct tls_options *options, unsigned line,
                                   struct faults *faults, FILE *notices) {
    struct proto_tls counters = {0};
    char text[TLS_ERROR_MAX];
    struct tls *tls = tls_create(options, &counters, text);
    if (tls == NULL) {
        faults_add(faults, line, "%s", text);
    } else if (tls_get_warning(tls, text)) {
        fprintf(notices, "%s: %s\n", faults->source, text);
    }
    tls_destroy(tls);
}

void certificates_check(const struct config *config, struct faults *faults, FILE *notices) {
    for (unsigned i = 0; i < config->pool_count; i++) {
        const struct config_pool *pool = &config->pools[i];
        if (!config_pool_has_tls(pool)) {
            continue;
        }
        const struct tls_options options = certificates_options(pool);
        certificates_check_one(&options, pool->tls_line, faults, notices);
    }
    if (config_admin_has_tls(config)) {
        const struct tls_options options = certificates_admin_options(config);
        certificates_check_one(&options, config->admin_tls_line, faults, notices);
    }
}
