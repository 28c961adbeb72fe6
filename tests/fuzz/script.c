#include "script.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

/* The number of bytes of a mark after its 0xff; 0: it is no mark, and 0xff stands for itself. */
static size_t script_mark_size(const uint8_t *at, const uint8_t *end) {
    if (at == end) {
        return 0;
    }
    switch (*at) {
    case SCRIPT_CLOCK:
    case SCRIPT_TAKE:
        return end - at >= 2 ? 2 : 0;
    case SCRIPT_PIECE:
    case SCRIPT_NO_EVICT:
    case SCRIPT_TAKE_ALL:
    case SCRIPT_SHUT:
    case SCRIPT_RESET:
    case SCRIPT_HOLD:
    case SCRIPT_SYNCED:
    case SCRIPT_SYNC_FAILED:
    case SCRIPT_MARK:
        return 1;
    default:
        return 0;
    }
}

static void script_add(struct script *script, struct script_step step) {
    script->steps[script->step_count++] = step;
}

static void script_end_piece(struct script *script, size_t begun) {
    if (script->text_size > begun) {
        script_add(script, (struct script_step){.kind = SCRIPT_PIECE,
                                                .data = script->text + begun,
                                                .size = script->text_size - begun});
    }
}

void script_init(struct script *script, const uint8_t *data, size_t size) {
    script->text = malloc(size + 1);
    check(script->text != NULL, "memory for the script");
    script->text_size = 0;
    script->step_count = 0;
    script->no_evict = false;
    const uint8_t *end = data + size;
    size_t piece = 0;
    for (const uint8_t *at = data; at < end; at++) {
        size_t mark = *at == SCRIPT_MARK ? script_mark_size(at + 1, end) : 0;
        if (mark == 0) {
            script->text[script->text_size++] = (char)*at;
            continue;
        }
        at += mark;
        enum script_kind kind = (enum script_kind)at[1 - (ptrdiff_t)mark];
        if (kind == SCRIPT_MARK) {
            script->text[script->text_size++] = (char)SCRIPT_MARK;
        } else if (kind == SCRIPT_NO_EVICT) {
            script->no_evict = true;
        } else if (script->step_count < SCRIPT_STEPS_MAX - 3) { /* room for two here, and the end */
            script_end_piece(script, piece);
            piece = script->text_size;
            if (kind != SCRIPT_PIECE) {
                script_add(script, (struct script_step){.kind = kind, .argument = *at});
            }
        }
    }
    script_end_piece(script, piece);
}

void script_finish(struct script *script) {
    free(script->text);
    script->text = NULL;
}
