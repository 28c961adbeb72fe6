#include "ring.h"

#include "md5.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    /* libmemcached's MEMCACHED_POINTS_PER_SERVER and MEMCACHED_POINTS_PER_SERVER_KETAMA */
    RING_POINTS = 100,
    RING_POINTS_WEIGHTED = 160,
    RING_POINTS_PER_HASH = 4,
    RING_NAME_MAX = URL_HOST_MAX + 32
};

/* As in libmemcached: the 4 bytes of the digest from 4 * part on, the lowest first. */
static uint32_t ring_md5(struct bytes text, unsigned part) {
    uint8_t digest[MD5_BYTES];
    md5(text, digest);
    const uint8_t *at = digest + (size_t)part * 4;
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

/* Jenkins' hash, with signed bytes, as in libmemcached. */
static uint32_t ring_one_at_a_time(struct bytes text) {
    uint32_t hash = 0;
    for (size_t i = 0; i < text.size; i++) {
        hash += (uint32_t)(int32_t)(signed char)text.data[i];
        hash += hash << 10;
        hash ^= hash >> 6;
    }
    hash += hash << 3;
    hash ^= hash >> 11;
    hash += hash << 15;
    return hash;
}

/* ketama's hash of keys and points. */
static uint32_t ring_hash(const struct ring *ring, struct bytes text, unsigned part) {
    return ring->distribution == STAYD_KETAMA ? ring_one_at_a_time(text) : ring_md5(text, part);
}

static uint32_t ring_rotate(uint32_t word, unsigned by) {
    return word << by | word >> (32 - by);
}

/* MurmurHash3 for 32 bits with seed 0, over `name`, a hyphen and `key`. */
static uint32_t ring_murmur3(struct bytes name, struct bytes key) {
    uint32_t hash = 0;
    uint32_t word = 0;
    size_t size = name.size + 1 + key.size;
    for (size_t i = 0; i < size; i++) {
        char byte = i < name.size    ? name.data[i]
                    : i == name.size ? '-'
                                     : key.data[i - name.size - 1];
        word |= (uint32_t)(uint8_t)byte << (8 * (i % 4));
        if (i % 4 == 3 || i == size - 1) {
            hash ^= ring_rotate(word * 0xcc9e2d51, 15) * 0x1b873593;
            if (i % 4 == 3) {
                hash = ring_rotate(hash, 13) * 5 + 0xe6546b64;
            }
            word = 0;
        }
    }
    hash ^= (uint32_t)size;
    hash = (hash ^ hash >> 16) * 0x85ebca6b;
    hash = (hash ^ hash >> 13) * 0xc2b2ae35;
    return hash ^ hash >> 16;
}

static int ring_compare(const void *a, const void *b) {
    const struct ring_point *one = a;
    const struct ring_point *other = b;
    if (one->value != other->value) {
        return one->value < other->value ? -1 : 1;
    }
    return one->server < other->server ? -1 : one->server > other->server;
}

/* The name of a point, which is hashed. As in libmemcached, the default port is left out. */
static struct bytes ring_point_name(const struct url *url, unsigned number,
                                    char name[RING_NAME_MAX]) {
    const char *host = url->path[0] != '\0' ? url->path : url->host;
    int size = url->port == URL_PORT_DEFAULT
                   ? snprintf(name, RING_NAME_MAX, "%s-%u", host, number)
                   : snprintf(name, RING_NAME_MAX, "%s:%u-%u", host, url->port, number);
    return bytes_from(name, (size_t)size);
}

static unsigned ring_points_of(const struct ring *ring, const struct url *url,
                               uint64_t total_weight) {
    if (ring->distribution != STAYD_KETAMA_WEIGHTED) {
        return RING_POINTS;
    }
    /* in libmemcached's order and with its types, because rounding decides the number of points */
    float share = (float)url->weight / (float)total_weight;
    float points = share * (float)RING_POINTS_WEIGHTED / (float)RING_POINTS_PER_HASH *
                   (float)ring->server_count;
    return (unsigned)((double)points + 0.0000000001) * RING_POINTS_PER_HASH;
}

static bool ring_add_points(struct ring *ring, const struct url *urls) {
    uint64_t total_weight = 0;
    size_t room = 0;
    for (unsigned i = 0; i < ring->server_count; i++) {
        total_weight += urls[i].weight;
    }
    for (unsigned i = 0; i < ring->server_count; i++) {
        room += ring_points_of(ring, &urls[i], total_weight);
    }
    ring->points = calloc(room > 0 ? room : 1, sizeof *ring->points);
    if (ring->points == NULL) {
        return false;
    }
    unsigned per_hash = ring->distribution == STAYD_KETAMA_WEIGHTED ? RING_POINTS_PER_HASH : 1;
    for (unsigned i = 0; i < ring->server_count; i++) {
        unsigned hashes = ring_points_of(ring, &urls[i], total_weight) / per_hash;
        for (unsigned j = 0; j < hashes; j++) {
            char name[RING_NAME_MAX];
            struct bytes text = ring_point_name(&urls[i], j, name);
            for (unsigned part = 0; part < per_hash; part++) {
                ring->points[ring->point_count++] =
                    (struct ring_point){ring_hash(ring, text, part), i};
            }
        }
    }
    qsort(ring->points, ring->point_count, sizeof *ring->points, ring_compare);
    return true;
}

static bool ring_add_names(struct ring *ring, const struct url *urls) {
    ring->names = calloc(ring->server_count, sizeof *ring->names);
    for (unsigned i = 0; i < ring->server_count && ring->names != NULL; i++) {
        if (urls[i].path[0] != '\0') {
            snprintf(ring->names[i], sizeof ring->names[i], "%s", urls[i].path);
        } else {
            snprintf(ring->names[i], sizeof ring->names[i], "%s:%u", urls[i].host, urls[i].port);
        }
    }
    return ring->names != NULL;
}

bool ring_init(struct ring *ring, enum stayd_distribution distribution, const struct url *urls,
               unsigned count) {
    *ring = (struct ring){.distribution = distribution, .server_count = count};
    bool made = count == 1 || distribution == STAYD_MODULA ||
                (distribution == STAYD_RENDEZVOUS ? ring_add_names(ring, urls)
                                                  : ring_add_points(ring, urls));
    if (!made) {
        ring_finish(ring);
    }
    return made;
}

void ring_finish(struct ring *ring) {
    free(ring->points);
    free(ring->names);
    *ring = (struct ring){0};
}

static unsigned ring_find_point(const struct ring *ring, struct bytes key, const bool *left_out) {
    uint32_t hash = ring_hash(ring, key, 0);
    size_t low = 0;
    size_t high = ring->point_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (ring->points[middle].value < hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (size_t i = 0; i < ring->point_count; i++) {
        unsigned server = ring->points[(low + i) % ring->point_count].server;
        if (left_out == NULL || !left_out[server]) {
            return server;
        }
    }
    return ring->point_count > 0 ? ring->points[low % ring->point_count].server : 0;
}

static unsigned ring_find_highest(const struct ring *ring, struct bytes key, const bool *left_out) {
    unsigned highest = ring->server_count;
    uint32_t score = 0;
    for (unsigned i = 0; i < ring->server_count; i++) {
        if (left_out != NULL && left_out[i]) {
            continue;
        }
        uint32_t own = ring_murmur3(bytes_from_string(ring->names[i]), key);
        bool wins = highest == ring->server_count || own > score ||
                    (own == score && strcmp(ring->names[i], ring->names[highest]) > 0);
        if (wins) {
            highest = i;
            score = own;
        }
    }
    return highest;
}

unsigned ring_find(const struct ring *ring, struct bytes key, const bool *left_out) {
    if (ring->server_count == 1) {
        return 0;
    }
    if (left_out != NULL) {
        bool all = true;
        for (unsigned i = 0; i < ring->server_count; i++) {
            all = all && left_out[i];
        }
        left_out = all ? NULL : left_out;
    }
    if (ring->distribution == STAYD_RENDEZVOUS) {
        return ring_find_highest(ring, key, left_out);
    }
    if (ring->distribution != STAYD_MODULA) {
        return ring_find_point(ring, key, left_out);
    }
    unsigned server = ring_one_at_a_time(key) % ring->server_count;
    while (left_out != NULL && left_out[server]) {
        server = (server + 1) % ring->server_count;
    }
    return server;
}
