/* The text, meta and binary protocol, with any input. One connection receives the stream in the
 * pieces of the input, the other receives it at once. Both must send the same replies, and a client
 * must be able to read the replies. */
#include "check.h"
#include "script.h"
#include "twin.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sends the other twin in one piece what the first twin has received in pieces since `from`. */
static void catch_up(struct twins *twins, const struct script *script, size_t *from, size_t until) {
    twin_send(twins, &twins->other, bytes_from(script->text + *from, until - *from));
    *from = until;
}

static void run(struct twins *twins, const struct script *script) {
    size_t heard = 0;
    size_t caught_up = 0;
    for (size_t i = 0; i < script->step_count; i++) {
        const struct script_step *step = &script->steps[i];
        if (step->kind == SCRIPT_PIECE) {
            twin_send(twins, &twins->one, bytes_from(step->data, step->size));
            heard += step->size;
        } else if (step->kind == SCRIPT_CLOCK) {
            catch_up(twins, script, &caught_up, heard);
            /* one connection may have looked up more keys of an incomplete request than the other
             */
            if (twin_is_idle(&twins->one) && twin_is_idle(&twins->other)) {
                twins->now_s += step->argument;
            }
        }
    }
    catch_up(twins, script, &caught_up, heard);
    check(twins->one.closed == twins->other.closed, "both are closed, or none is");
    check(twins->one.closed || twins->one.input.size == twins->other.input.size,
          "both wait for the rest of the same");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct twins evicting;
    static struct twins keeping;
    static struct script script;
    if (evicting.grace == NULL) {
        twins_begin(&evicting, true);
        twins_begin(&keeping, false);
    }
    script_init(&script, data, size);
    struct twins *twins = script.no_evict ? &keeping : &evicting;
    twins_restart(twins);
    run(twins, &script);
    twins_compare(twins);
    script_finish(&script);
    return 0;
}
