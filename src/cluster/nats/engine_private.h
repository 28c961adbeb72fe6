/* The engine on NATS JetStream, for the files of the module only:
 *
 *     engine.c     opens and closes it
 *     connection.c the connection to a node, and the thread that reads and writes it
 *     requests.c   writes, finds, purges: messages whose answers come to the inbox
 *     answers.c    takes these answers
 *     follow.c     the consumers, and the records that they deliver
 *     streams.c    checks and makes streams; waits for answers
 *     nodes.c      the servers' versions, and whether they sync
 */
#ifndef STAYD_CLUSTER_NATS_ENGINE_PRIVATE_H
#define STAYD_CLUSTER_NATS_ENGINE_PRIVATE_H

#include "cluster/engine.h"
#include "store/pool.h"

#include <jansson.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    ENGINE_SERVERS_MAX = 32,
    ENGINE_NODES_MAX = 64,
    ENGINE_NODE_MS = 300000, /* what a server has said counts for so long */
    ENGINE_CHECK_MS = 2000,  /* for one answer of `check` */
    ENGINE_FIRST_MS = 4500,  /* for the first attempt to connect */
    ENGINE_FOLLOW_MS = 3000, /* for the answer to a new consumer; and for its next sign of life */
    ENGINE_HEARTBEAT_NS = 1000000000,
    ENGINE_IDLE_NS = 2000000000, /* a consumer whose subscription is gone ends after this time */
    ENGINE_RECONNECT_MS = 250,
    ENGINE_REFUSED_MS = 2000, /* between two attempts then */
    ENGINE_DENIED_MS = 5000,  /* for so long a right that was missing is told */
    ENGINE_REASON_MAX = 256,
    ENGINE_PING_MS = 1000,
    ENGINE_SILENCE_MS = 4000, /* a node that says nothing for so long is left */
    ENGINE_TURN_MS = 500,
    ENGINE_DEAD_MESSAGES = 64,
    ENGINE_DEAD_BYTES = 262144,
    ENGINE_IN_A_ROW = 64, /* records of one partition */
    ENGINE_READ_BYTES = 131072,
    ENGINE_LOG_MS = 10000,
    ENGINE_KEEP_MS = 30000,      /* so long what has ended is kept before it is freed */
    ENGINE_HEADERS_BYTES = 1024, /* of a message, with its subject; more than there are */
};

/* Error codes of JetStream. */
enum {
    CODE_WRONG_LAST_SEQUENCE = 10071,
    CODE_IN_FLIGHT = 10164, /* another write of the subject has not been decided */
    CODE_NO_MESSAGE = 10037,
    CODE_NO_STREAM = 10059,
    CODE_MESSAGES_EXCEEDED = 10077,
    CODE_TOO_LARGE = 10054,
    CODE_NO_RESOURCES = 10023,
    CODE_NAME_IN_USE = 10058, /* by a stream with other settings */
    CODE_CLUSTER_AWAY = 10008,
    CODE_NO_PEERS = 10005,
    CODE_NOT_ENABLED = 10039, /* JetStream, for the user's account */
};

/* Whether a consumer was made: an answer for the thread that receives. */
struct delivery {
    struct delivery *next;
    bool created;
    uint32_t partition;
    uint32_t generation;
};

enum follow_state { FOLLOW_NOT, FOLLOW_BEGIN, FOLLOW_CREATING, FOLLOW_ACTIVE };

/* The consumer of a partition; used by the thread that receives. */
struct follow {
    struct nats_engine *engine;
    enum follow_state state;
    uint32_t partition;
    uint32_t generation; /* of the consumer: what an earlier one delivers is dropped */
    uint64_t next;       /* the sequence to begin with */
    uint64_t delivered;  /* the consumer's own count of its messages */
    uint64_t session;    /* of the connection that it was made on */
    uint64_t until_ms;   /* when to begin again */
    natsSubscription *subscription;
};

/* A subscription, a connection or both that have ended, and are freed later. */
struct ended {
    struct ended *next;
    natsSubscription *subscription;
    natsConnection *connection;
    uint64_t ended_ms;
};

/* A server that has answered. */
struct node {
    char name[64];
    bool syncs; /* before it acknowledges */
    uint64_t answered_ms;
};

struct nats_engine {
    struct engine_callbacks callbacks;
    uint32_t partitions;
    uint32_t replicas;
    uint32_t payload_max_bytes;
    char prefix[64];
    char pool[POOL_NAME_MAX + 1];
    char *urls;
    char *credentials; /* this and the three below: paths, or NULL */
    char *tls_ca;
    char *tls_cert;
    char *tls_key;
    natsInbox *inbox; /* the same for all connections */

    /* the connection and its thread */
    pthread_t thread;
    pthread_t owner; /* the same, as the thread itself has noted it before it connects */
    bool started;
    int wake;   /* an eventfd */
    int socket; /* -1: none. The thread writes it, under the lock; others read it under the lock */
    _Atomic(natsConnection *) connection; /* NULL: none. It stays valid for ENGINE_KEEP_MS */
    _Atomic uint64_t session;             /* counts connections */
    natsSubscription *answers;            /* this and the next: used by the thread */
    struct ended *ended_connections;
    _Atomic bool wants_write;
    _Atomic bool poked;
    _Atomic bool has_tried; /* to connect */
    _Atomic bool stopping;
    _Atomic uint64_t heard_ms;      /* when the node has said something last */
    _Atomic unsigned refusals;      /* since the last connection */
    char reason[ENGINE_REASON_MAX]; /* this and the two below: under the lock */
    char denied[ENGINE_REASON_MAX];
    uint64_t denied_ms;

    pthread_mutex_t lock;
    pthread_cond_t arrived;
    struct delivery *first; /* this and `last`: under the lock */
    struct delivery *last;
    uint64_t arrivals; /* this and the next: under the lock. Counts reads from the socket */
    bool awaits;       /* the thread that receives */
    uint64_t taken;    /* records */
    uint32_t turn; /* this and `taken` are used by the thread that receives: the partition that it
                      takes from */
    natsMsg *current; /* what `receive` has returned last */
    uint64_t checked_ms;
    struct ended *ended;                 /* used by the thread that receives */
    struct node nodes[ENGINE_NODES_MAX]; /* this and the next two: under the lock */
    uint32_t node_count;
    bool nodes_refused;
    pthread_mutex_t dead_lock; /* of the three below: messages that are to be freed */
    unsigned dead_count;
    uint64_t dead_bytes;
    natsMsg *dead[ENGINE_DEAD_MESSAGES];
    _Atomic uint64_t logged_ms;
    _Atomic unsigned connections;   /* whose callbacks may run */
    _Atomic unsigned subscriptions; /* whose callbacks may run */
    struct follow follows[POOL_PARTITIONS_MAX];
};

/* connection.c, below */

/* Whether the options can be used. False with the reason in `error`. */
bool connection_check_options(struct nats_engine *engine, char error[ENGINE_REASON_MAX]);

/* Starts and ends the thread. */
bool connection_start(struct nats_engine *engine);
void connection_stop(struct nats_engine *engine);

/* Leaves a node that says nothing. Any thread. */
void engine_check_silence(struct nats_engine *engine);

/* Leaves a node for another one. */
void engine_leave(void *self);

/* Why there is no connection. */
void engine_get_reason(struct nats_engine *engine, char reason[ENGINE_REASON_MAX]);

/* Wakes the thread, which calls `send`. */
bool engine_poke(void *self);

bool engine_is_refused(void *self, char error[ENGINE_ERROR_MAX]);

/* requests.c, below */

void engine_name_stream(const struct nats_engine *engine, uint32_t partition, char name[128]);

/* A warning, at intervals, because its cause may happen for each write. */
void engine_log(struct nats_engine *engine, const char *what, const char *why);

bool engine_is_connected(void *self);
bool engine_write(void *self, const struct engine_write *write);
bool engine_find(void *self, uint64_t token, uint32_t partition, const char *subject);
bool engine_purge(void *self, uint64_t token, uint32_t partition, uint64_t below);

/* A message whose answer comes to the inbox, under this word; NULL: no memory. engine_request sends
 * and frees it. */
natsMsg *engine_make_request(struct nats_engine *engine, const char *subject, const char *word,
                             struct bytes payload);
bool engine_request(struct nats_engine *engine, natsMsg *message);

/* Frees a message, some time later. libnats gives each one to a thread of its own, which costs more
 * than the message; so it gets many at once. Accepts NULL. */
void engine_free_message(struct nats_engine *engine, natsMsg *message);
void engine_free_messages(struct nats_engine *engine);

/* Asks the API and waits for the answer; NULL with the reason in `error`. */
json_t *engine_ask(struct nats_engine *engine, const char *api, const char *request,
                   char error[ENGINE_ERROR_MAX]);

/* What it means that there was none. */
enum engine_check engine_no_answer(struct nats_engine *engine);

/* Parts of an answer. NULL: it is no JSON. */
json_t *engine_parse(const natsMsg *message);
int engine_error_of(const json_t *answer, const char **description);
uint64_t engine_number_of(const json_t *object, const char *name);

/* Decodes base64 in place; returns the size. */
size_t engine_decode(char *text);

/* answers.c, below */

/* The callback of the inbox's subscription. */
void engine_take_answer(natsConnection *connection, natsSubscription *subscription,
                        natsMsg *message, void *closure);

/* follow.c, below */

/* Appends to the queue of the thread that receives. Any thread. */
void engine_deliver(struct nats_engine *engine, bool created, uint32_t partition,
                    uint32_t generation);
struct delivery *engine_next_delivery(struct nats_engine *engine);

/* Subscriptions may have new messages. */
void engine_note_arrival(struct nats_engine *engine);
void engine_follow(void *self, uint32_t partition, uint64_t from);
bool engine_receive(void *self, uint32_t timeout_ms, struct engine_record *record);
void follow_end(struct follow *follow);

/* Frees what has ended before this time. */
void engine_free_ended(struct ended **list, uint64_t before_ms);

/* The callback of a subscription that has ended; the closure is the engine. */
void engine_end_subscription(void *closure);

/* nodes.c, below */

/* Whether stayd can work with a server of this version; NULL: one that does not name its version in
 * its streams. */
bool engine_is_new_enough(const char *version);
#define ENGINE_OLDEST "2.15.2"

/* Asked of all servers. A user who may not ask has all rights that are needed nevertheless. */
#define ENGINE_NODES_SUBJECT "$SYS.REQ.SERVER.PING.JSZ"

void engine_ask_nodes(void *self);
void engine_get_nodes(void *self, struct engine_nodes *nodes);

/* The answer of one server to ask_nodes; engine_take_answer calls it. */
void engine_take_node(struct nats_engine *engine, natsMsg *message);

/* streams.c, below */

enum engine_check engine_check(void *self, uint32_t partition, struct engine_log *log,
                               char error[ENGINE_ERROR_MAX]);
enum engine_check engine_create(void *self, uint32_t partition, char error[ENGINE_ERROR_MAX]);
enum engine_check engine_drop(void *self, uint32_t partition, char error[ENGINE_ERROR_MAX]);
enum engine_check engine_find_now(void *self, uint32_t partition, const char *subject,
                                  uint64_t *sequence, struct buffer *payload,
                                  char error[ENGINE_ERROR_MAX]);

#endif
