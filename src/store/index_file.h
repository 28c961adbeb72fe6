/* The file of a persistent pool's index, run_dir/NAME.index: made anew, taken over from a clean
 * stop, marked as superseded. What is in it: index.h. */
#ifndef STAYD_STORE_INDEX_FILE_H
#define STAYD_STORE_INDEX_FILE_H

#include "store/layout.h"
#include "store/mapping.h"

/* Maps run_dir/NAME.index, if it is the one that the clean stop of this data left. False: it is
 * not; what lies there is marked as superseded, so that readers in other processes stop believing
 * it. */
bool index_file_attach(struct mapping *mapping, const struct pool_options *options,
                       const struct layout_data_header *data,
                       const struct layout_index_header *wanted);

/* Marks the file, if it is an index, as superseded, so that no process uses it (invariant 6). */
void index_file_supersede(int file);

/* A new run_dir/NAME.index, all zero, in place of any other. NO_MEMORY: run_dir has no room. */
enum status index_file_create(struct mapping *mapping, const struct pool_options *options,
                              uint64_t size_bytes, char error[POOL_ERROR_MAX]);

/* Takes run_dir/NAME.index away, after it was marked as superseded, and unmaps it. */
void index_file_remove(struct mapping *mapping, const struct pool_options *options);

/* The number of this run of the system, from its start to its end; 0: it is not known. An index is
 * never synced, so one that lies on a disk is worth nothing after a power cut. */
uint64_t index_file_boot_id(void);

#endif
