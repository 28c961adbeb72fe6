#include "look.h"

void look_at(struct look *look, struct stayd *client) {
    look->answered = client != NULL && state_read(client, &look->state, &look->error) == STAYD_OK;
    look->advice_count = look->answered ? state_advise(&look->state, look->advice) : 0;
}

const char *look_name(const struct look *look) {
    return look->state.pool[0] != '\0' ? look->state.pool : look->target->name;
}

const char *look_word(const struct look *look) {
    if (!look->answered) {
        return look->waits ? "WAITS" : "DOWN";
    }
    return state_word(look->advice, look->advice_count);
}

enum look_level look_level(const struct look *look) {
    if (!look->answered || (look->advice_count > 0 && look->advice[0].level == ADVICE_FAULT)) {
        return LOOK_FAULT;
    }
    return look->advice_count > 0 ? LOOK_WARNING : LOOK_WELL;
}
