/* A mapping of memory or of a file, which lives as long as its pool. data_file.h and index_file.h
 * map files. */
#ifndef STAYD_STORE_MAPPING_H
#define STAYD_STORE_MAPPING_H

#include "base/status.h"
#include "store/pool.h"

#include <stdbool.h>
#include <stdint.h>

struct mapping {
    char *base; /* NULL: not mapped */
    uint64_t size_bytes;
    int file; /* -1: none */
};

#define MAPPING_NONE ((struct mapping){.file = -1})

/* Unmaps and closes; accepts MAPPING_NONE. */
void mapping_finish(struct mapping *mapping);

/* Maps anonymous memory (memfd), all zero. `name` is for /proc and messages. Its size is sealed,
 * and only its owner can open it again through /proc. */
enum status mapping_create_memory(struct mapping *mapping, const char *name, uint64_t size_bytes,
                                  char error[POOL_ERROR_MAX]);

/* Gives the memory of a part back to the system: the part then reads as zero, and takes no memory
 * until it is written. Only for a mapping made by mapping_create_memory. */
void mapping_return_memory(const struct mapping *mapping, uint64_t offset, uint64_t size_bytes);

/* Opens the mapped file again, read-only. The caller closes the descriptor. -1 and errno if the
 * system refuses. */
int mapping_open_read_only(const struct mapping *mapping);

/* Maps mapping->file, shared. False and errno if the system refuses. */
bool mapping_map(struct mapping *mapping, uint64_t size_bytes);

/* Tells the kernel that the mapping is read at random places (MADV_RANDOM). */
void mapping_advise(const struct mapping *mapping);

/* Writes a message into `error`: a whole sentence for the person who starts the daemon. A message
 * that is too long is cut off. */
__attribute__((format(printf, 2, 3))) void mapping_explain(char *error, const char *format, ...);

/* Advice on a failed call, to be appended to its message; or an empty string. */
const char *mapping_advice(int error_number);

/* After a call failed with errno: writes the message, finishes the mapping, returns STATUS_IO. */
enum status mapping_fail(struct mapping *mapping, char *error, const char *what, const char *path);

/* Finishes the mapping, returns STATUS_INVALID. */
enum status mapping_refuse(struct mapping *mapping);

#endif
