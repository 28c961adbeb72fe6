/* Opens the engine's module, a shared library, at run time: a daemon without a clustered pool loads
 * neither it nor the libraries that it needs. */
#ifndef STAYD_CLUSTER_ENGINE_MODULE_H
#define STAYD_CLUSTER_ENGINE_MODULE_H

#include "cluster/engine.h"

/* The module's function, which stays valid until the process ends. NULL with the reason in `error`.
 */
engine_open *engine_module_load(char error[ENGINE_ERROR_MAX]);

#endif
