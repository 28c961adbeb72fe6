/* The text, meta and binary protocol: whatever arrives, and however it is cut into pieces. One
 * party hears the stream in the pieces that the input says, the other in one; both must say the
 * same, in replies that a client can read. */
#include "check.h"
#include "party.h"
#include "script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What the one has heard in pieces since `from`, the other hears at once. */
static void catch_up(struct parties *parties, const struct script *script, size_t *from,
                     size_t until) {
    party_hear(parties, &parties->other, bytes_from(script->text + *from, until - *from));
    *from = until;
}

static void run(struct parties *parties, const struct script *script) {
    size_t heard = 0;
    size_t caught_up = 0;
    for (size_t i = 0; i < script->step_count; i++) {
        const struct script_step *step = &script->steps[i];
        if (step->kind == SCRIPT_PIECE) {
            party_hear(parties, &parties->one, bytes_from(step->data, step->size));
            heard += step->size;
        } else if (step->kind == SCRIPT_CLOCK) {
            catch_up(parties, script, &caught_up, heard);
            /* of half a request, one party may have looked up more keys than the other */
            if (party_is_idle(&parties->one) && party_is_idle(&parties->other)) {
                parties->now_s += step->argument;
            }
        }
    }
    catch_up(parties, script, &caught_up, heard);
    check(parties->one.closed == parties->other.closed, "both are closed, or none is");
    check(parties->one.closed || parties->one.input.size == parties->other.input.size,
          "both wait for the rest of the same");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct parties evicting;
    static struct parties keeping;
    static struct script script;
    if (evicting.grace == NULL) {
        parties_begin(&evicting, true);
        parties_begin(&keeping, false);
    }
    script_init(&script, data, size);
    struct parties *parties = script.no_evict ? &keeping : &evicting;
    parties_restart(parties);
    run(parties, &script);
    parties_compare(parties);
    script_finish(&script);
    return 0;
}
