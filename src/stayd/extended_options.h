/* memcached's -o: a list of settings, separated by commas. Main thread only. */
#ifndef STAYD_STAYD_EXTENDED_OPTIONS_H
#define STAYD_STAYD_EXTENDED_OPTIONS_H

#include "stayd/option_table.h"

/* Takes one -o with its list; a setting that memcached does not have is an error. */
option_taker extended_options_take;

#endif
