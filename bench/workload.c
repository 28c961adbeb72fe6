#include "workload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_OFFSETS = 1 << 16 };

/* splitmix64: a permutation of 64-bit numbers and the generator that is made from it, by Steele,
 * Lea and Flood in "Fast splittable pseudorandom number generators" (OOPSLA'14). */
static uint64_t permute(uint64_t number) {
    number = (number ^ (number >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ (number >> 27)) * UINT64_C(0x94d049bb133111eb);
    return number ^ (number >> 31);
}

static uint64_t random_next(struct workload *workload) {
    workload->random_state += UINT64_C(0x9e3779b97f4a7c15);
    return permute(workload->random_state);
}

/* Uniform in [0, 1). */
static double random_unit(struct workload *workload) {
    return (double)(random_next(workload) >> 11) * 0x1.0p-53;
}

static unsigned random_percent(struct workload *workload) {
    return (unsigned)(((random_next(workload) >> 32) * 100) >> 32);
}

/* Zipf by rejection-inversion: W. Hörmann and G. Derflinger, "Rejection-inversion to generate
 * variates from monotone discrete distributions", ACM TOMACS 6(3), 1996, in the numerically stable
 * form of Apache Commons RNG's RejectionInversionZipfSampler. Exact for every exponent above 0, and
 * needs no table. `zipf_integral` is the integral of x^-exponent. */
static double zipf_integral(double exponent, double x) {
    double log_x = log(x);
    double product = (1.0 - exponent) * log_x;
    double ratio = fabs(product) > 1e-8 ? expm1(product) / product : 1.0 + product * 0.5;
    return ratio * log_x;
}

static double zipf_integral_inverse(double exponent, double x) {
    double product = fmax(x * (1.0 - exponent), -1.0);
    double ratio = fabs(product) > 1e-8 ? log1p(product) / product : 1.0 - product * 0.5;
    return exp(ratio * x);
}

static void zipf_init(struct workload *workload) {
    double exponent = workload->options.zipf_exponent;
    workload->zipf_first = zipf_integral(exponent, 1.5) - 1.0;
    workload->zipf_last = zipf_integral(exponent, (double)workload->options.keys + 0.5);
    workload->zipf_shortcut =
        2.0 - zipf_integral_inverse(exponent, zipf_integral(exponent, 2.5) - pow(2, -exponent));
}

static uint64_t zipf_next(struct workload *workload) {
    double exponent = workload->options.zipf_exponent;
    for (;;) {
        double height = workload->zipf_last +
                        random_unit(workload) * (workload->zipf_first - workload->zipf_last);
        double x = zipf_integral_inverse(exponent, height);
        double rank = fmin(fmax(floor(x + 0.5), 1.0), (double)workload->options.keys);
        if (rank - x <= workload->zipf_shortcut ||
            height >= zipf_integral(exponent, rank + 0.5) - pow(rank, -exponent)) {
            return (uint64_t)rank;
        }
    }
}

bool workload_init(struct workload *workload, const struct workload_options *options) {
    *workload = (struct workload){
        .options = *options,
        .random_state = permute(options->seed),
        .next_scan_key = options->keys + 1,
    };
    size_t text_size_bytes = TEXT_OFFSETS + options->value_max_bytes;
    workload->text = malloc(text_size_bytes);
    if (workload->text == NULL) {
        return false;
    }
    /* The text is the same for every seed, so that a run can check the values that a run with
     * another seed has stored. */
    for (size_t i = 0; i < text_size_bytes; i++) {
        workload->text[i] = (char)('!' + permute(i) % 94);
    }
    if (options->zipf_exponent > 0) {
        zipf_init(workload);
    }
    return true;
}

void workload_finish(struct workload *workload) {
    free(workload->text);
    *workload = (struct workload){0};
}

struct operation workload_next(struct workload *workload) {
    const struct workload_options *options = &workload->options;
    struct operation operation = {.get = random_percent(workload) < options->get_percent};
    if (operation.get && options->scan_percent > 0) {
        operation.scan = random_percent(workload) < options->scan_percent;
    }
    if (operation.scan) {
        operation.key = workload->next_scan_key++;
    } else if (options->zipf_exponent > 0) {
        operation.key = zipf_next(workload);
    } else {
        operation.key = 1 + (uint64_t)(random_unit(workload) * (double)options->keys);
    }
    return operation;
}

void workload_write_key(const struct workload *workload, uint64_t key, char *out) {
    static const char characters[32] = "abcdefghijklmnopqrstuvwxyz012345";
    size_t size_bytes = workload->options.key_size_bytes;
    for (uint64_t chunk = 0; size_bytes > 0; chunk++) {
        uint64_t bits = permute(key + (chunk << 48));
        size_t length = size_bytes < WORKLOAD_KEY_MIN ? size_bytes : WORKLOAD_KEY_MIN;
        for (size_t i = 0; i < length; i++, bits >>= 5) {
            out[i] = characters[bits & 31];
        }
        out += length;
        size_bytes -= length;
    }
}

const char *workload_value(const struct workload *workload, uint64_t key, size_t *size_bytes) {
    const struct workload_options *options = &workload->options;
    uint64_t bits = permute(~key);
    size_t spread_bytes = options->value_max_bytes - options->value_min_bytes + 1;
    *size_bytes = options->value_min_bytes + (size_t)((bits >> 16) % spread_bytes);
    return workload->text + (bits & (TEXT_OFFSETS - 1));
}
