/* Whether what a server says is what a client can read: every reply of the text and meta protocol
 * by its grammar in protocol.txt, each with its line end, its words and its length; every response
 * of the binary protocol by its header. */
#ifndef STAYD_TESTS_FUZZ_REPLIES_H
#define STAYD_TESTS_FUZZ_REPLIES_H

#include "base/buffer.h"

/* Fails a check unless `said` is whole replies and nothing else. What two servers that did the same
 * must both have said is appended to `comparable`: all but statistics, which tell of time and
 * memory. */
void replies_check(struct bytes said, struct buffer *comparable);

/* Whether there are statistics in it. */
bool replies_tell_statistics(struct bytes said);

#endif
