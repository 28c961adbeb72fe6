#include "mapping.h"

#include "availability.h"
#include "base/clock.h"
#include "store/reader.h"
#include "value.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAPPING_ASK_MS = 60000,    /* the pause after a refusal: a memcached is asked once a minute */
    MAPPING_LOOK_MS = 2000,    /* the pause between two looks for a daemon: usually longer than the
                                  daemon's restart takes */
    MAPPING_VALUE_BYTES = 1024 /* a value's first buffer; a larger value needs two look-ups */
};

void mapping_init(struct mapping *mapping, bool is_wanted) {
    *mapping = (struct mapping){.is_wanted = is_wanted};
    pthread_mutex_init(&mapping->lock, NULL);
}

static bool mapping_is_pinned(const struct mapping *mapping, const struct mapping_view *view) {
    bool is_pinned = view->pins > 0;
    for (int i = 0; i < MAPPING_SLOTS; i++) {
        is_pinned = is_pinned || mapping->slots[i].pinned == view;
    }
    return is_pinned;
}

/* Unmaps a view that is no longer the current one, unless a reader has pinned it. Under the lock.
 */
static void mapping_sweep(struct mapping *mapping) {
    for (struct mapping_view *view = mapping->views; view != NULL; view = view->next) {
        if (view == mapping->current || mapping_is_pinned(mapping, view)) {
            continue;
        }
        for (int i = 0; i < MAPPING_FILES; i++) {
            /* cleared before munmap: a child that is forked in between must not unmap a later
             * mapping at this address */
            void *place = view->places[i];
            view->places[i] = NULL;
            if (place != NULL) {
                munmap(place, view->sizes[i]);
            }
        }
    }
}

void mapping_finish(struct mapping *mapping) {
    mapping->current = NULL;
    mapping_sweep(mapping);
    for (struct mapping_view *view = mapping->views; view != NULL;) {
        struct mapping_view *next = view->next;
        free(view);
        view = next;
    }
    mapping->views = NULL;
}

void mapping_renew(struct mapping *mapping) {
    pthread_mutex_init(&mapping->lock, NULL);
    /* threads of the parent had pinned views */
    for (struct mapping_view *view = mapping->views; view != NULL; view = view->next) {
        view->pins = 0;
    }
    for (int i = 0; i < MAPPING_SLOTS; i++) {
        mapping->slots[i].pinned = NULL;
    }
}

/* A pinned view, and the slot that must be cleared to unpin the view. `view` NULL: no view. */
struct mapping_pin {
    struct mapping_view *view;
    struct mapping_slot *slot; /* NULL: counted in view->pins */
};

/* The slot at which this thread begins to look for a free slot. */
static unsigned mapping_first_slot(void) {
    uint64_t thread = (uint64_t)(uintptr_t)pthread_self();
    return (unsigned)(thread * UINT64_C(0x9E3779B97F4A7C15) >> 32) % MAPPING_SLOTS;
}

static struct mapping_slot *mapping_take_slot(struct mapping *mapping, struct mapping_view *view) {
    unsigned first = mapping_first_slot();
    for (unsigned i = 0; i < MAPPING_SLOTS; i++) {
        struct mapping_slot *slot = &mapping->slots[(first + i) % MAPPING_SLOTS];
        struct mapping_view *expected = NULL;
        if (atomic_compare_exchange_strong(&slot->pinned, &expected, view)) {
            return slot;
        }
    }
    view->pins++;
    return NULL;
}

static void mapping_unpin(struct mapping_pin pin) {
    if (pin.slot != NULL) {
        /* pairs with the load in mapping_is_pinned: the view is read before it is unmapped */
        atomic_store_explicit(&pin.slot->pinned, NULL, memory_order_release);
    } else {
        pin.view->pins--;
    }
}

/* Pins the current view, which is not unmapped before mapping_unpin. All accesses are seq_cst:
 * either the reader sees that the view was removed, or the thread that removes the view sees the
 * pin. */
static struct mapping_pin mapping_pin(struct mapping *mapping) {
    struct mapping_pin pin = {.view = mapping->current};
    while (pin.view != NULL) {
        pin.slot = mapping_take_slot(mapping, pin.view);
        struct mapping_view *now = mapping->current;
        if (now == pin.view) {
            break;
        }
        mapping_unpin(pin);
        pin.view = now;
    }
    return pin;
}

/* Stops using a view that the server no longer uses. */
static void mapping_drop(struct mapping *mapping, struct mapping_view *view) {
    pthread_mutex_lock(&mapping->lock);
    struct mapping_view *expected = view;
    if (atomic_compare_exchange_strong(&mapping->current, &expected, NULL)) {
        mapping->ask_after_ms = 0;
    }
    mapping_sweep(mapping);
    pthread_mutex_unlock(&mapping->lock);
}

static enum reader_outcome mapping_read(const struct mapping_view *view, struct bytes key,
                                        struct stayd_value *value) {
    struct reader_item item;
    if (value->capacity < MAPPING_VALUE_BYTES && !value_reserve(value, MAPPING_VALUE_BYTES - 1)) {
        return READER_ASK;
    }
    for (;;) {
        size_t room = value->capacity - 1; /* except the zero behind it */
        enum reader_outcome outcome = reader_get(&view->view, key, value->data, room, &item);
        if (outcome == READER_SMALL && value_reserve(value, item.value_size)) {
            continue;
        }
        value->size = 0;
        if (outcome != READER_HIT) {
            return outcome;
        }
        value->size = item.value_size;
        value->data[value->size] = '\0';
        value->flags = item.client_flags;
        value->cas = item.cas;
        return outcome;
    }
}

/* Whether a server listens on the Unix socket that the view came from. Does not wait. */
static bool mapping_has_server(const struct mapping_view *view) {
    int socket_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool answers = socket_fd >= 0 && (connect(socket_fd, (const struct sockaddr *)&view->from,
                                              sizeof view->from) == 0 ||
                                      errno == EAGAIN); /* the listener's queue is full */
    if (socket_fd >= 0) {
        close(socket_fd);
    }
    return answers;
}

/* Whether the daemon that keeps the view has ended and another daemon serves now. Only one of the
 * reading threads checks, at intervals. */
static bool mapping_is_abandoned(struct mapping *mapping, const struct mapping_view *view) {
    uint64_t look_after_ms = mapping->look_after_ms;
    if (reader_is_kept(&view->view)) {
        if (look_after_ms != 0) {
            mapping->look_after_ms = 0;
        }
        return false;
    }
    uint64_t now_ms = clock_exact_ms();
    bool is_due = look_after_ms == 0 || now_ms >= look_after_ms;
    return is_due &&
           atomic_compare_exchange_strong(&mapping->look_after_ms, &look_after_ms,
                                          now_ms + MAPPING_LOOK_MS) &&
           look_after_ms != 0 && mapping_has_server(view);
}

enum mapping_outcome mapping_get(struct mapping *mapping, struct bytes key,
                                 struct stayd_value *value) {
    struct mapping_pin pin = mapping_pin(mapping);
    struct mapping_view *view = pin.view;
    if (view == NULL) {
        return MAPPING_ASK;
    }
    enum reader_outcome outcome = mapping_read(view, key, value);
    if (outcome != READER_GONE && mapping_is_abandoned(mapping, view)) {
        outcome = READER_GONE;
        value->size = 0;
    }
    mapping_unpin(pin);
    if (outcome == READER_GONE) {
        mapping_drop(mapping, view);
    }
    return outcome == READER_HIT    ? MAPPING_HIT
           : outcome == READER_MISS ? MAPPING_MISS
                                    : MAPPING_ASK;
}

bool mapping_should_ask(const struct mapping *mapping) {
    return mapping->is_wanted && mapping->current == NULL &&
           clock_exact_ms() >= mapping->ask_after_ms;
}

void mapping_refused(struct mapping *mapping) {
    mapping->ask_after_ms = clock_exact_ms() + MAPPING_ASK_MS;
}

void mapping_outdated(struct mapping *mapping) {
    if (!atomic_exchange(&mapping->asks_again, true)) {
        mapping->ask_after_ms = 0;
    } else {
        mapping_refused(mapping);
    }
}

static bool mapping_map(struct mapping_view *view, const int files[MAPPING_FILES]) {
    for (int i = 0; i < MAPPING_FILES; i++) {
        struct stat about;
        if (fstat(files[i], &about) != 0 || about.st_size <= 0) {
            return false;
        }
        void *place = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, files[i], 0);
        if (place == MAP_FAILED) {
            return false;
        }
        view->places[i] = place;
        view->sizes[i] = (size_t)about.st_size;
    }
    return lookup_open(&view->view, view->places[0], view->sizes[0], view->places[1],
                       view->sizes[1]);
}

void mapping_attach(struct mapping *mapping, const int files[MAPPING_FILES], uint64_t index_id,
                    int socket_fd) {
    struct mapping_view *view = calloc(1, sizeof *view);
    bool is_mapped = view != NULL && mapping_map(view, files);
    bool is_current = is_mapped && reader_is_current(&view->view) &&
                      (index_id == 0 || index_id == atomic_load(&view->view.index->index_id));
    socklen_t size = sizeof view->from;
    if (is_current && getpeername(socket_fd, (struct sockaddr *)&view->from, &size) != 0) {
        view->from = (struct sockaddr_un){0}; /* the server has ended meanwhile */
    }
    for (int i = 0; i < MAPPING_FILES; i++) {
        close(files[i]);
    }
    if (!is_mapped) {
        mapping_refused(mapping);
    } else if (!is_current) {
        mapping_outdated(mapping);
    }
    if (view == NULL) {
        return;
    }
    pthread_mutex_lock(&mapping->lock);
    view->next = mapping->views;
    mapping->views = view;
    if (is_current) { /* if two threads have asked, the later one has the newer mapping */
        mapping->asks_again = false;
        mapping->current = view;
    }
    mapping_sweep(mapping);
    pthread_mutex_unlock(&mapping->lock);
}
