/* Writers change a few keys over a pool's socket, as fast as they can, while processes that have
 * mapped the pool read them by reader.h. For each key the writer notes, in shared memory, which
 * version it has begun to write and which version was acknowledged last. A reader loads the
 * acknowledged version before it reads and the begun version afterwards: the version that it has
 * read must be between them.
 *
 *     reader_stress SOCKET SECONDS WRITERS READERS may-miss|must-hit COUNTS
 *
 * Versions of a key count up. The version number decides whether it is a value, a value that
 * expires within a second or two, a large value with a far expiry, a touch of that large value, or
 * a deletion. All bytes of a value are computed from key and version, so a torn value or the value
 * of another key is detected; so are the far expiries, from the version that set them. Readers are
 * stopped, continued, killed and replaced at random. The daemon may be restarted: writers and
 * readers connect again. The file COUNTS begins with the counters of struct shared, for a test that
 * waits for them to grow. Ends after SECONDS or at a SIGTERM, prints what was wrong, and returns 1
 * if a reader has read a wrong version. */
#include "store/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    KEYS = 48,
    WRITERS_MAX = 8,
    READERS_MAX = 16,
    SMALL_MAX = 1500,
    LARGE_MIN = 4096, /* LAYOUT_PAGE: from this size on, the expiry is changed in place */
    VALUE_MAX = 6000,
    FAR_S = 100000,
    FLUSH_EVERY = 200, /* changes of the first writer */
    READS_A_WRITE = 80,
    AHEAD_MAX = 1000, /* how many writes ahead; for readers: READS_A_WRITE times as many reads */
    PAUSES_MAX = 20,
    HEAD_BYTES = 12
};

struct key_state {
    _Alignas(64) _Atomic uint32_t begun;
    _Atomic uint32_t acknowledged;
};

static struct shared {
    _Atomic uint64_t writes; /* the counters: test_readers.py reads them in this order */
    _Atomic uint64_t flushes;
    _Atomic uint64_t hits;
    _Atomic uint64_t gone;
    _Atomic uint64_t attached;
    _Atomic uint64_t answered; /* reads that found an item, and reads that found none */
    struct key_state keys[KEYS];
    uint32_t began_s;
    _Atomic bool stop;
    _Atomic bool wrong;
    char what[256];
} * shared;

static const char *path;
static bool may_miss;
static unsigned writers;
static pthread_rwlock_t flushing = PTHREAD_RWLOCK_INITIALIZER;

static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint64_t next_random(uint64_t *state) {
    return mix(*state += UINT64_C(0x9e3779b97f4a7c15));
}

static void complain(const char *format, unsigned key, unsigned version, unsigned least,
                     unsigned most) {
    if (!atomic_exchange(&shared->wrong, true)) {
        snprintf(shared->what, sizeof shared->what, format, key, version, least, most);
    }
    atomic_store(&shared->stop, true);
}

/* Pauses a writer while the writers are far ahead of the readers, and a reader while the readers
 * are far ahead. Otherwise the side that waits less (for a disk, or for a stopped process) would
 * take the processor from the other side. The pause is short, because the other side may be waiting
 * for the daemon. */
static void keep_pace(bool writes) {
    for (int pause = 0; pause < PAUSES_MAX; pause++) {
        uint64_t reads = atomic_load(&shared->answered) / READS_A_WRITE;
        uint64_t written = atomic_load(&shared->writes);
        if (writes ? written <= reads + AHEAD_MAX : reads <= written + AHEAD_MAX) {
            return;
        }
        usleep(500);
    }
}

/* ---- what a version is ---- */

enum kind { KIND_VALUE, KIND_EXPIRING, KIND_LARGE, KIND_TOUCH, KIND_DELETION };

/* A touch follows a large value. */
static enum kind kind_of(unsigned version) {
    return version == 0 || version % 4 == 3 ? KIND_DELETION
           : version % 64 == 5              ? KIND_EXPIRING
           : version % 8 == 1               ? KIND_LARGE
           : version % 8 == 2               ? KIND_TOUCH
                                            : KIND_VALUE;
}

/* Of a large value or a touch: a touch makes it earlier or later. */
static uint32_t far_expiry_s(unsigned version) {
    return shared->began_s + FAR_S + (uint32_t)(mix(version) % (FAR_S / 2));
}

/* Whether an item must be there when this version is the only one that was begun. */
static bool must_be_there(unsigned version) {
    enum kind kind = kind_of(version);
    return kind == KIND_VALUE || kind == KIND_LARGE || kind == KIND_TOUCH;
}

/* | key, 4 bytes | version, 4 | when it expires, 4 | bytes that follow from key and version | */
static size_t make_value(char *value, unsigned key, unsigned version, uint32_t expiry_s) {
    uint64_t seed = (uint64_t)key << 32 | version;
    uint64_t mixed = 0;
    size_t size = kind_of(version) == KIND_LARGE
                      ? LARGE_MIN + mix(seed) % (VALUE_MAX - LARGE_MIN)
                      : HEAD_BYTES + mix(seed) % (SMALL_MAX - HEAD_BYTES);
    memcpy(value, &key, 4);
    memcpy(value + 4, &version, 4);
    memcpy(value + 8, &expiry_s, 4);
    for (size_t i = HEAD_BYTES; i < size; i++) {
        mixed = i % 64 == 0 || i == HEAD_BYTES ? mix(seed + i / 64) : mixed;
        value[i] = (char)(mixed >> i % 56);
    }
    return size;
}

/* ---- sockets ---- */

static int connect_to_pool(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    while (!atomic_load(&shared->stop)) {
        int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const struct timeval limit = {.tv_sec = 20};
        setsockopt(socket_fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        if (connect(socket_fd, (struct sockaddr *)&address, sizeof address) == 0) {
            return socket_fd;
        }
        close(socket_fd);
        usleep(2000);
    }
    return -1;
}

/* Sends a request, and reads its reply of one line; false if the connection is broken. */
static bool ask(int socket_fd, const char *request, size_t size, char reply[128]) {
    size_t got = 0;
    while (size > 0) {
        ssize_t sent = send(socket_fd, request, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        request += sent;
        size -= (size_t)sent;
    }
    while (got == 0 || reply[got - 1] != '\n') {
        ssize_t length = got < 127 ? recv(socket_fd, reply + got, 127 - got, 0) : 0;
        if (length <= 0) {
            return false;
        }
        got += (size_t)length;
    }
    reply[got] = '\0';
    return true;
}

/* ---- writers ---- */

static size_t make_request(char *request, unsigned key, unsigned version) {
    if (kind_of(version) == KIND_DELETION) {
        return (size_t)sprintf(request, "delete key-%u\r\n", key);
    }
    if (kind_of(version) == KIND_TOUCH) {
        return (size_t)sprintf(request, "touch key-%u %u\r\n", key, far_expiry_s(version));
    }
    char value[VALUE_MAX];
    uint32_t expiry_s = kind_of(version) == KIND_EXPIRING ? (uint32_t)time(NULL) + 2
                        : kind_of(version) == KIND_LARGE  ? far_expiry_s(version)
                                                          : 0;
    size_t size = make_value(value, key, version, expiry_s);
    size_t length = (size_t)sprintf(request, "set key-%u 0 %u %zu\r\n", key, expiry_s, size);
    memcpy(request + length, value, size);
    memcpy(request + length + size, "\r\n", 2);
    return length + size + 2;
}

/* Whether the reply says that the change was made. */
static bool is_done(const char *reply, unsigned key, unsigned version) {
    if (strcmp(reply, "STORED\r\n") == 0 || strcmp(reply, "DELETED\r\n") == 0 ||
        strcmp(reply, "TOUCHED\r\n") == 0 ||
        (strcmp(reply, "NOT_FOUND\r\n") == 0 && (may_miss || kind_of(version) != KIND_TOUCH))) {
        return true;
    }
    if (strncmp(reply, "SERVER_ERROR out of memory", 26) != 0) {
        fprintf(stderr, "key %u version %u: %s", key, version, reply);
        complain("key %u version %u: the daemon replied something else", key, version, 0, 0);
    }
    return false;
}

/* Deletes all items: each key gets the number of its next deletion, and the versions before that
 * are skipped. */
static bool flush(int socket_fd) {
    char reply[128];
    unsigned next[KEYS];
    pthread_rwlock_wrlock(&flushing);
    for (unsigned key = 0; key < KEYS; key++) {
        next[key] = atomic_load(&shared->keys[key].begun) / 4 * 4 + 7;
        atomic_store(&shared->keys[key].begun, next[key]);
    }
    bool whole = ask(socket_fd, "flush_all\r\n", 11, reply);
    for (unsigned key = 0; key < KEYS && whole && strcmp(reply, "OK\r\n") == 0; key++) {
        atomic_store(&shared->keys[key].acknowledged, next[key]);
    }
    pthread_rwlock_unlock(&flushing);
    atomic_fetch_add(&shared->flushes, 1);
    return whole;
}

/* A touch is left out if the value before it may not have been stored. */
static unsigned next_version(const struct key_state *state) {
    unsigned version = atomic_load(&state->begun) + 1;
    bool follows = atomic_load(&state->acknowledged) == version - 1;
    return kind_of(version) == KIND_TOUCH && !follows ? version + 1 : version;
}

static void *write_keys(void *argument) {
    unsigned number = (unsigned)(uintptr_t)argument;
    uint64_t random = number;
    static _Thread_local char request[VALUE_MAX + 128];
    char reply[128];
    int socket_fd = connect_to_pool();
    for (unsigned change = 1; !atomic_load(&shared->stop); change++) {
        keep_pace(true);
        unsigned key = (unsigned)(next_random(&random) % (KEYS / writers)) * writers + number;
        struct key_state *state = &shared->keys[key];
        bool whole;
        if (number == 0 && change % FLUSH_EVERY == 0) {
            whole = flush(socket_fd);
        } else {
            pthread_rwlock_rdlock(&flushing);
            unsigned version = next_version(state);
            size_t size = make_request(request, key, version);
            atomic_store(&state->begun, version);
            whole = ask(socket_fd, request, size, reply);
            if (whole && is_done(reply, key, version)) {
                atomic_store(&state->acknowledged, version);
            }
            pthread_rwlock_unlock(&flushing);
        }
        atomic_fetch_add(&shared->writes, 1);
        if (!whole) {
            close(socket_fd);
            socket_fd = connect_to_pool();
        }
    }
    close(socket_fd);
    return NULL;
}

/* ---- readers ---- */

struct attached {
    void *places[2];
    size_t sizes[2];
    struct lookup_view view;
    bool is_open;
};

static void detach(struct attached *attached) {
    for (int i = 0; i < 2; i++) {
        if (attached->places[i] != NULL) {
            munmap(attached->places[i], attached->sizes[i]);
        }
    }
    *attached = (struct attached){0};
}

/* Takes the descriptors that come with the reply; false: none. */
static bool receive_files(int socket_fd, int files[2]) {
    char bytes[128];
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct iovec part = {bytes, sizeof bytes};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    if (send(socket_fd, "stayd_map\r\n", 11, MSG_NOSIGNAL) != 11 ||
        recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC) <= 0 || CMSG_FIRSTHDR(&message) == NULL) {
        return false;
    }
    memcpy(files, CMSG_DATA(CMSG_FIRSTHDR(&message)), 2 * sizeof(int));
    return true;
}

static bool attach(struct attached *attached) {
    int files[2] = {-1, -1};
    int socket_fd = connect_to_pool();
    bool handed = socket_fd >= 0 && receive_files(socket_fd, files);
    for (int i = 0; i < 2 && handed; i++) {
        struct stat about;
        fstat(files[i], &about);
        attached->sizes[i] = (size_t)about.st_size;
        attached->places[i] = mmap(NULL, attached->sizes[i], PROT_READ, MAP_SHARED, files[i], 0);
        if (attached->places[i] == MAP_FAILED) {
            attached->places[i] = NULL;
            handed = false;
        }
        close(files[i]);
    }
    close(socket_fd);
    attached->is_open =
        handed && lookup_open(&attached->view, attached->places[0], attached->sizes[0],
                              attached->places[1], attached->sizes[1]);
    if (!attached->is_open) {
        detach(attached);
        usleep(1000);
    }
    atomic_fetch_add(&shared->attached, attached->is_open);
    return attached->is_open;
}

/* Whether the item may have this expiry: the expiry of its value, or that of the touch which
 * follows the value. */
static bool may_have_expiry(uint32_t found_s, uint32_t stored_s, unsigned version, unsigned least,
                            unsigned most) {
    if (kind_of(version) != KIND_LARGE) {
        return found_s == stored_s;
    }
    return (found_s == stored_s && least <= version) ||
           (found_s == far_expiry_s(version + 1) && most > version);
}

static void check_hit(unsigned key, const char *value, const struct reader_item *item,
                      unsigned least, unsigned most, time_t before_s) {
    static char right[VALUE_MAX];
    uint32_t found_key;
    uint32_t version;
    uint32_t expiry_s;
    size_t size = item->value_size;
    unsigned least_stored = kind_of(least) == KIND_TOUCH ? least - 1 : least;
    if (size < HEAD_BYTES) {
        complain("key %u: a value of %u bytes", key, (unsigned)size, 0, 0);
        return;
    }
    memcpy(&found_key, value, 4);
    memcpy(&version, value + 4, 4);
    memcpy(&expiry_s, value + 8, 4);
    if (found_key != key) {
        complain("key %u: the value of key %u", key, found_key, 0, 0);
    } else if (make_value(right, key, version, expiry_s) != size ||
               memcmp(right, value, size) != 0) {
        complain("key %u version %u: a torn value", key, version, 0, 0);
    } else if (version < least_stored || version > most) {
        complain("key %u: version %u, not from %u to %u", key, version, least, most);
    } else if (expiry_s != 0 && expiry_s <= before_s) {
        complain("key %u version %u: has expired at %u, now %u", key, version, expiry_s,
                 (unsigned)before_s);
    } else if (!may_have_expiry(item->expiry_s, expiry_s, version, least, most)) {
        complain("key %u version %u: expires at %u, stored with %u", key, version, item->expiry_s,
                 expiry_s);
    }
}

static void read_keys(uint64_t random) {
    static char value[VALUE_MAX];
    struct attached attached = {0};
    while (!atomic_load(&shared->stop)) {
        if (!attached.is_open && !attach(&attached)) {
            continue;
        }
        keep_pace(false);
        unsigned key = (unsigned)(next_random(&random) % KEYS);
        char text[16];
        struct bytes name = bytes_from(text, (size_t)sprintf(text, "key-%u", key));
        struct reader_item item;
        unsigned least = atomic_load(&shared->keys[key].acknowledged);
        struct timespec before;
        clock_gettime(CLOCK_REALTIME, &before);
        enum reader_outcome outcome = reader_get(&attached.view, name, value, sizeof value, &item);
        unsigned most = atomic_load(&shared->keys[key].begun);
        switch (outcome) {
        case READER_HIT:
            atomic_fetch_add(&shared->hits, 1);
            atomic_fetch_add(&shared->answered, 1);
            check_hit(key, value, &item, least, most, before.tv_sec);
            break;
        case READER_MISS:
            atomic_fetch_add(&shared->answered, 1);
            /* No newer version was begun, so the item must be there. */
            if (!may_miss && least == most && must_be_there(least)) {
                complain("key %u version %u: is missing", key, least, 0, 0);
            }
            break;
        case READER_ASK:
            break;
        case READER_SMALL:
            complain("key %u: a value of %u bytes", key, (unsigned)item.value_size, 0, 0);
            break;
        case READER_GONE:
            atomic_fetch_add(&shared->gone, 1);
            detach(&attached);
            break;
        }
    }
}

static pid_t begin_reader(uint64_t random) {
    pid_t child = fork();
    if (child == 0) {
        read_keys(random);
        _exit(0);
    }
    return child;
}

/* Stops, continues and kills readers at random until the time is over. The first reader is never
 * killed: it lives through each restart of the daemon and counts it as `gone`, however long that
 * takes. */
static void disturb_readers(pid_t readers[], unsigned count, uint64_t until_s) {
    uint64_t random = 7;
    while (!atomic_load(&shared->stop) && (uint64_t)time(NULL) < until_s) {
        unsigned number = (unsigned)(next_random(&random) % count);
        if (number > 0 && next_random(&random) % 10 == 0) {
            kill(readers[number], SIGKILL);
            waitpid(readers[number], NULL, 0);
            readers[number] = begin_reader(next_random(&random));
        } else {
            kill(readers[number], SIGSTOP);
            usleep((useconds_t)(next_random(&random) % 20000));
            kill(readers[number], SIGCONT);
        }
        usleep(5000);
    }
    atomic_store(&shared->stop, true);
}

static void stop(int signal_number) {
    (void)signal_number;
    atomic_store(&shared->stop, true);
}

int main(int count, char **arguments) {
    if (count != 7) {
        fprintf(stderr, "reader_stress SOCKET SECONDS WRITERS READERS may-miss|must-hit COUNTS\n");
        return 2;
    }
    path = arguments[1];
    writers = (unsigned)atoi(arguments[3]);
    unsigned reader_count = (unsigned)atoi(arguments[4]);
    may_miss = strcmp(arguments[5], "may-miss") == 0;
    int counts_fd = open(arguments[6], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (counts_fd < 0 || ftruncate(counts_fd, sizeof *shared) != 0) {
        perror(arguments[6]);
        return 2;
    }
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, counts_fd, 0);
    if (shared == MAP_FAILED || writers < 1 || writers > WRITERS_MAX || reader_count < 1 ||
        reader_count > READERS_MAX) {
        return 2;
    }
    signal(SIGTERM, stop);
    shared->began_s = (uint32_t)time(NULL);
    uint64_t until_s = (uint64_t)time(NULL) + (uint64_t)atoi(arguments[2]);
    pid_t readers[READERS_MAX];
    pthread_t threads[WRITERS_MAX];
    for (unsigned i = 0; i < reader_count; i++) {
        readers[i] = begin_reader(i + 1);
    }
    for (unsigned i = 0; i < writers; i++) {
        pthread_create(&threads[i], NULL, write_keys, (void *)(uintptr_t)i);
    }
    disturb_readers(readers, reader_count, until_s);
    for (unsigned i = 0; i < writers; i++) {
        pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < reader_count; i++) {
        int status;
        waitpid(readers[i], &status, 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            complain("reader %u ended with status %u", i, (unsigned)status, 0, 0);
        }
    }
    if (atomic_load(&shared->wrong)) {
        printf("wrong: %s\n", shared->what);
        return 1;
    }
    return 0;
}
