/* The file of a persistent pool's index, run_dir/NAME.index: creates the file, maps the file that
 * the last clean stop left, marks an old file as superseded. index.h is about its contents. */
#ifndef STAYD_STORE_INDEX_FILE_H
#define STAYD_STORE_INDEX_FILE_H

#include "store/layout.h"
#include "store/mapping.h"

/* Maps run_dir/NAME.index, if the last clean stop of this data wrote it. False: there is no index,
 * or that stop did not write it; such an index is marked as superseded, so that other processes
 * stop using it. */
bool index_file_attach(struct mapping *mapping, const struct pool_options *options,
                       const struct layout_data_header *data,
                       const struct layout_index_header *wanted);

/* Marks the file, if it is an index, as superseded, so that no process uses it (invariant 6), and
 * gives the memory of all but its header back to the system. */
void index_file_supersede(int file);

/* Creates run_dir/NAME.index, all zero; replaces an existing file. NO_MEMORY: run_dir has no room.
 */
enum status index_file_create(struct mapping *mapping, const struct pool_options *options,
                              uint64_t size_bytes, char error[POOL_ERROR_MAX]);

/* Marks run_dir/NAME.index as superseded, removes and unmaps it. */
void index_file_remove(struct mapping *mapping, const struct pool_options *options);

/* A hash of the system's boot_id; 0: unknown. An index is never synced, so an index on a disk must
 * not be used after a power cut. */
uint64_t index_file_boot_id(void);

#endif
