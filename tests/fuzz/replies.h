/* Checks that a client can read a server's replies: every reply of the text and meta protocol by
 * its grammar in protocol.txt, with its line end, its words and its length; every response of the
 * binary protocol by its header. */
#ifndef STAYD_TESTS_FUZZ_REPLIES_H
#define STAYD_TESTS_FUZZ_REPLIES_H

#include "base/buffer.h"

/* Fails a check unless `said` is a sequence of whole replies. Appends the replies that two servers
 * with the same requests must have in common to `comparable`: all except statistics, which depend
 * on time and memory. */
void replies_check(struct bytes said, struct buffer *comparable);

/* Whether the replies contain statistics. */
bool replies_tell_statistics(struct bytes said);

#endif
