/* A doubly linked ring of intrusive links: the structure contains the link, so adding to a list and
 * removing from it allocate nothing and take constant time.
 *
 *     struct list head --> link of A --> link of B --+
 *            ^---------------------------------------+
 *
 * A link that is in no list points to itself. Not shared between threads without a lock. */
#ifndef STAYD_NET_LIST_H
#define STAYD_NET_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *previous;
    struct list *next;
};

/* The structure whose member `member` is at `link`. */
#define list_entry(link, type, member) ((type *)((char *)(link)-offsetof(type, member)))

static inline void list_init(struct list *list) {
    list->previous = list;
    list->next = list;
}

static inline bool list_is_empty(const struct list *list) {
    return list->next == list;
}

/* `link` is in no list. */
static inline void list_append(struct list *list, struct list *link) {
    link->previous = list->previous;
    link->next = list;
    list->previous->next = link;
    list->previous = link;
}

/* Does nothing to a link that is in no list. */
static inline void list_remove(struct list *link) {
    link->previous->next = link->next;
    link->next->previous = link->previous;
    list_init(link);
}

/* Moves all links of `from`, in order, to the end of `to`. */
static inline void list_move_all(struct list *to, struct list *from) {
    if (list_is_empty(from)) {
        return;
    }
    from->next->previous = to->previous;
    to->previous->next = from->next;
    from->previous->next = to;
    to->previous = from->previous;
    list_init(from);
}

/* Moves all links of `from`, in order, to the head of `to`. */
static inline void list_prepend_all(struct list *to, struct list *from) {
    list_move_all(from, to);
    list_move_all(to, from);
}

#endif
