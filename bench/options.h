/* The command line of stayd-load. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "exchange.h"
#include "workload.h"

struct options {
    const char *server; /* HOST:PORT or unix:PATH */
    unsigned connections;
    bool preload; /* set every key once, before anything is measured */
    uint64_t warmup_operations;
    uint64_t operations; /* 0: no limit */
    double seconds;      /* 0: no limit; both 0: nothing is measured */
    double rate; /* operations to begin each second in the measured phase; 0: as fast as possible */
    struct workload_options workload;
    struct exchange_options exchange;
};

/* Fills in `options`. On a fault, prints what is wrong on stderr and exits with status 2. */
void options_parse(struct options *options, int argument_count, char **arguments);

#endif
