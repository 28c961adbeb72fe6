#include "cluster/own_writes.h"

#include "base/hash.h"

#include <assert.h>
#include <stdlib.h>

struct own_write {
    struct own_write *next;
    uint64_t by_writer; /* sequence of the last record that a writer has written; 0: none */
    uint64_t by_reader; /* the same of the reader, since the entry was made */
    uint32_t under_way;
    uint32_t partition;
    uint32_t key_size;
    char key[];
};

void own_writes_init(struct own_writes *writes) {
    *writes = (struct own_writes){0};
    pthread_mutex_init(&writes->lock, NULL);
}

void own_writes_finish(struct own_writes *writes) {
    for (unsigned i = 0; i < OWN_WRITES_CHAINS; i++) {
        while (writes->chains[i] != NULL) {
            struct own_write *next = writes->chains[i]->next;
            free(writes->chains[i]);
            writes->chains[i] = next;
        }
    }
    pthread_mutex_destroy(&writes->lock);
}

/* The link to the key's entry, or to the end of its chain. Under the lock. */
static struct own_write **own_writes_find(struct own_writes *writes, struct bytes key) {
    struct own_write **link = &writes->chains[hash_key(1, key) % OWN_WRITES_CHAINS];
    while (*link != NULL && !bytes_equal(bytes_from((*link)->key, (*link)->key_size), key)) {
        link = &(*link)->next;
    }
    return link;
}

/* Frees the entry at the link if it is not needed any more. */
static bool own_writes_drop(struct own_writes *writes, struct own_write **link) {
    struct own_write *own = *link;
    if (own->under_way > 0 || own->by_reader < own->by_writer) {
        return false;
    }
    *link = own->next;
    free(own);
    atomic_fetch_sub(&writes->count, 1);
    return true;
}

bool own_writes_begin(struct own_writes *writes, struct bytes key, uint32_t partition) {
    pthread_mutex_lock(&writes->lock);
    struct own_write **link = own_writes_find(writes, key);
    struct own_write *own = *link;
    if (own == NULL && (own = malloc(sizeof *own + key.size)) != NULL) {
        *own = (struct own_write){.partition = partition, .key_size = (uint32_t)key.size};
        memcpy(own->key, key.data, key.size);
        *link = own;
        atomic_fetch_add(&writes->count, 1);
    }
    if (own != NULL) {
        own->under_way++;
    }
    pthread_mutex_unlock(&writes->lock);
    return own != NULL;
}

void own_writes_end(struct own_writes *writes, struct bytes key) {
    pthread_mutex_lock(&writes->lock);
    struct own_write **link = own_writes_find(writes, key);
    assert(*link != NULL && (*link)->under_way > 0);
    (*link)->under_way--;
    own_writes_drop(writes, link);
    pthread_mutex_unlock(&writes->lock);
}

bool own_writes_admit_writer(struct own_writes *writes, struct bytes key, uint64_t sequence) {
    pthread_mutex_lock(&writes->lock);
    struct own_write *own = *own_writes_find(writes, key);
    assert(own != NULL);
    bool admits = own->by_reader < sequence;
    if (admits && own->by_writer < sequence) {
        own->by_writer = sequence;
    }
    pthread_mutex_unlock(&writes->lock);
    return admits;
}

bool own_writes_admit_reader(struct own_writes *writes, struct bytes key, uint64_t sequence) {
    if (atomic_load(&writes->count) == 0) {
        return true; /* a write begins before the log has it, and so before the reader comes to it
                      */
    }
    pthread_mutex_lock(&writes->lock);
    struct own_write **link = own_writes_find(writes, key);
    struct own_write *own = *link;
    bool admits = own == NULL || sequence >= own->by_writer;
    if (own != NULL && own->by_reader < sequence) {
        own->by_reader = sequence;
        own_writes_drop(writes, link);
    }
    pthread_mutex_unlock(&writes->lock);
    return admits;
}

void own_writes_flush(struct own_writes *writes, uint32_t partition, uint64_t sequence) {
    pthread_mutex_lock(&writes->lock);
    for (unsigned i = 0; i < OWN_WRITES_CHAINS; i++) {
        for (struct own_write *own = writes->chains[i]; own != NULL; own = own->next) {
            if (own->partition == partition && own->by_reader < sequence) {
                own->by_reader = sequence;
            }
        }
    }
    pthread_mutex_unlock(&writes->lock);
}

void own_writes_sweep(struct own_writes *writes, uint32_t partition, uint64_t sequence) {
    pthread_mutex_lock(&writes->lock);
    for (unsigned i = 0; i < OWN_WRITES_CHAINS; i++) {
        for (struct own_write **link = &writes->chains[i]; *link != NULL;) {
            struct own_write *own = *link;
            if (own->partition == partition && own->by_writer <= sequence &&
                own->by_reader < own->by_writer) {
                own->by_reader = own->by_writer;
            }
            if (!own_writes_drop(writes, link)) {
                link = &(*link)->next;
            }
        }
    }
    pthread_mutex_unlock(&writes->lock);
}
