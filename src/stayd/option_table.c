#include "stayd/option_table.h"

#include "base/number.h"
#include "stayd/options.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

bool option_fail(const char *spelled, const char *value, const char *format, ...) {
    va_list arguments;
    fprintf(stderr, "stayd: %s%s%s: ", spelled, value != NULL ? " " : "",
            value != NULL ? value : "");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputs("\nTry 'stayd --help'.\n", stderr);
    return false;
}

void option_notice(struct options *options, const char *format, ...) {
    if (options->notice_count == OPTIONS_NOTICES_MAX) {
        return; /* full only if the user has repeated options */
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(options->notices[options->notice_count++], OPTIONS_NOTICE_BYTES, format, arguments);
    va_end(arguments);
}

bool option_number(const char *spelled, const char *value, unsigned least, unsigned most,
                   unsigned *number) {
    uint64_t wide;
    if (!number_parse_u64(bytes_from_string(value), &wide) || wide < least || wide > most) {
        return option_fail(spelled, value, "must be a whole number from %u to %u", least, most);
    }
    *number = (unsigned)wide;
    return true;
}

bool option_path(const char *spelled, const char *value, char path[PATH_MAX]) {
    char folder[PATH_MAX] = "";
    if (*value == '\0') {
        return option_fail(spelled, NULL, "needs a path");
    }
    if (*value != '/' && getcwd(folder, sizeof folder) == NULL) {
        return option_fail(spelled, value,
                           "the folder that this is relative to is gone; write an "
                           "absolute path");
    }
    if (snprintf(path, PATH_MAX, "%s%s%s", folder, *folder != '\0' ? "/" : "", value) >= PATH_MAX) {
        return option_fail(spelled, NULL, "the path is too long");
    }
    return true;
}
