#include "proto/request.h"

bool request_read_rest(struct request *request, struct bytes last) {
    struct bytes word;
    if (line_next(&request->line, &word)) {
        last = word;
        if (line_next(&request->line, &word)) {
            return false;
        }
    }
    request->noreply = word_is(last, "noreply");
    return true;
}
