/* A mapping of memory or of a file, as long as the pool that has it. The messages that these
 * functions leave in `error` are whole sentences for the person who starts the daemon. */
#ifndef STAYD_STORE_MAPPING_H
#define STAYD_STORE_MAPPING_H

#include "base/status.h"
#include "store/layout.h"
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

/* Memory that no name leads to, all zero. */
enum status mapping_create_memory(struct mapping *mapping, const char *name, uint64_t size_bytes,
                                  char error[POOL_ERROR_MAX]);

/* Gives the memory of a part back to the system: it reads as zero, and costs nothing until it is
 * written. Of a mapping made by mapping_create_memory. */
void mapping_return_memory(const struct mapping *mapping, uint64_t offset, uint64_t size_bytes);

/* data_dir/NAME.pool: opens it, letting it grow to the memory in the options, or makes one of the
 * geometry in `wanted`, preallocated, all zero behind its header. Locked against a second daemon. A
 * file that is not sound, or cannot serve the options, is refused and left as it is. */
enum status mapping_open_data(struct mapping *mapping, const struct pool_options *options,
                              const struct layout_data_header *wanted, bool *created,
                              char error[POOL_ERROR_MAX]);

/* run_dir/NAME.index, if it is the one that the clean stop of this data left; else NONE, and what
 * lies there is marked as superseded, so that readers in other processes stop believing it. */
enum status mapping_attach_index(struct mapping *mapping, const struct pool_options *options,
                                 const struct layout_data_header *data,
                                 const struct layout_index_header *wanted);

/* Says in an index, if the file is one, that it is not to be believed any more (invariant 6). */
void mapping_supersede_index(int file);

/* A new run_dir/NAME.index, all zero, in place of any other. NO_MEMORY: run_dir has no room. */
enum status mapping_create_index(struct mapping *mapping, const struct pool_options *options,
                                 uint64_t size_bytes, char error[POOL_ERROR_MAX]);

/* Takes run_dir/NAME.index away, after it was marked as superseded, and unmaps it. */
void mapping_remove_index(struct mapping *mapping, const struct pool_options *options);

/* A sync of this data file has failed. What the kernel could not write it keeps in memory, but
 * takes for written: this leaves word, in that same memory, for the next start. */
void mapping_note_failed_sync(int file);

/* If a sync of the data failed in an earlier run: has all of it written again by the next one.
 * False and errno if it cannot even be read. */
bool mapping_write_again(const struct mapping *mapping);

/* The number of this run of the system, from its start to its end; 0: it is not known. An index is
 * never synced, so one that lies on a disk is worth nothing after a power cut. */
uint64_t mapping_boot_id(void);

/* The CRC of the part of a data header that never changes. */
uint32_t mapping_header_crc(const struct layout_data_header *header);

/* Whether the numbers of a header can be used without fear, whoever wrote them. */
bool mapping_geometry_valid(const struct layout_data_header *header);

#endif
