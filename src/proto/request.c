#include "proto/request.h"

void request_read_noreply(struct request *request, struct bytes last) {
    request->noreply = word_is(line_last(&request->line, last), "noreply");
}

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
