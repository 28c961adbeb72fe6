/* A fuzzer's input to a connection: the bytes of a stream, with events between them.
 *
 *     get a\r\n set b 0 <ff 00> 0 1\r\nv\r\n <ff 't' 03> get b\r\n
 *                        ^ a piece ends here  ^ three seconds pass
 *
 * Every byte stands for itself, except 0xff before one of the letters below; ff ff is one 0xff. So
 * the corpus is readable, and any bytes are a valid script.
 *
 *     ff 00      the piece ends: what comes next arrives later
 *     ff 't' n   the clock goes on by n seconds
 *     ff 'n'     the pool is one that does not evict
 *     ff 'w' n   the client takes n * 16 bytes of replies, and then no more until told so again
 *     ff 'W'     the client takes everything again, as it does at first
 *     ff 'e'     the client shuts its side down
 *     ff 'r'     the client resets the connection
 *     ff 'h'     from now on writes are not on the disk until
 *     ff 'd'     the disk has them
 *     ff 'D'     the disk has failed
 */
#ifndef STAYD_TESTS_FUZZ_SCRIPT_H
#define STAYD_TESTS_FUZZ_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCRIPT_MARK = 0xff, SCRIPT_STEPS_MAX = 4096 };

enum script_kind {
    SCRIPT_PIECE = 0, /* the enum's values are the marks' letters */
    SCRIPT_CLOCK = 't',
    SCRIPT_NO_EVICT = 'n',
    SCRIPT_TAKE = 'w',
    SCRIPT_TAKE_ALL = 'W',
    SCRIPT_SHUT = 'e',
    SCRIPT_RESET = 'r',
    SCRIPT_HOLD = 'h',
    SCRIPT_SYNCED = 'd',
    SCRIPT_SYNC_FAILED = 'D',
};

struct script_step {
    enum script_kind kind;
    uint8_t argument;
    const char *data; /* where the piece is in the script's text */
    size_t size;
};

struct script {
    char *text; /* the pieces, without the marks */
    size_t text_size;
    struct script_step steps[SCRIPT_STEPS_MAX];
    size_t step_count;
    bool no_evict;
};

/* Reads an input. The marks behind SCRIPT_STEPS_MAX steps are dropped with their bytes. */
void script_init(struct script *script, const uint8_t *data, size_t size);
void script_finish(struct script *script);

#endif
