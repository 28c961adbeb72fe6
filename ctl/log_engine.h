/* The engine of a clustered pool (cluster/engine.h), for stayctl. */
#ifndef STAYD_CTL_LOG_ENGINE_H
#define STAYD_CTL_LOG_ENGINE_H

#include "cluster/engine.h"
#include "stayd/config.h"

enum { LOG_ENGINE_NAP_MS = 200 };

/* `callbacks`: NULL if nothing is written. `payload_max_bytes`: as in engine_options. False with
 * the reason. */
bool log_engine_open(const struct config_pool *pool, const struct engine_callbacks *callbacks,
                     uint32_t payload_max_bytes, struct engine *engine,
                     char error[ENGINE_ERROR_MAX]);

/* Makes the partition's stream if `create` is set, and checks it; waits for an engine that is away,
 * because one that has just started elects leaders first. */
enum engine_check log_engine_settle(const struct engine *engine, bool create, uint32_t partition,
                                    struct engine_log *log, char error[ENGINE_ERROR_MAX]);

#endif
