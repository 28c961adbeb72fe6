/* stayd-log-client: what libnats alone does with the log of a clustered pool, as the measure for
 * stayd. It writes the same records under the same conditions, or reads them all, and does nothing
 * else.
 *
 *     stayd-log-client publish URLS NAME PARTITIONS WRITERS SECONDS BYTES KEYS
 *     stayd-log-client consume URLS NAME PARTITIONS RECORDS
 *
 * The streams are NAME_0, NAME_1 ..., with the subjects NAME.0.>, NAME.1.> ... Each writer has one
 * write on its way, on keys of its own; the answer to a write sends the next one. It prints one
 * line of JSON. */
#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "latency.h"

enum { WORD_BYTES = 256, TTL_S = 21 * 86400, KEY_LETTERS = 44 };

struct writer {
    uint64_t key; /* of the write on its way */
    uint64_t began_ns;
    uint64_t random;
};

struct client {
    natsConnection *connection;
    natsInbox *inbox;
    const char *name;
    unsigned partitions;
    uint64_t records; /* consume: how many there are */

    unsigned writers_count; /* publish: this and what follows */
    struct writer *writers;
    uint64_t keys;
    uint64_t first_key;  /* another one in each run, so that no key has a record yet */
    uint64_t *sequences; /* of each key's last record */
    char *payload;
    int payload_size;
    uint64_t until_ns;
    struct latency latency;
    uint64_t refused;

    _Atomic uint64_t done;
    _Atomic unsigned resting; /* writers that have ended */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool is_over;
};

static uint64_t clock_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static double own_cpu_s(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void need(natsStatus status, const char *what) {
    if (status != NATS_OK) {
        fprintf(stderr, "stayd-log-client: cannot %s: %s\n", what, natsStatus_GetText(status));
        exit(1);
    }
}

static void client_end(struct client *client) {
    pthread_mutex_lock(&client->lock);
    client->is_over = true;
    pthread_cond_signal(&client->ended);
    pthread_mutex_unlock(&client->lock);
}

static void client_wait(struct client *client) {
    pthread_mutex_lock(&client->lock);
    while (!client->is_over) {
        pthread_cond_wait(&client->ended, &client->lock);
    }
    pthread_mutex_unlock(&client->lock);
}

static void client_connect(struct client *client, char *urls, bool shares_a_thread) {
    const char *servers[16];
    int count = 0;
    natsOptions *options;
    char *rest = NULL;
    for (char *url = strtok_r(urls, ",", &rest); url != NULL && count < 16;
         url = strtok_r(NULL, ",", &rest)) {
        servers[count++] = url;
    }
    need(natsOptions_Create(&options), "make options");
    need(natsOptions_SetServers(options, servers, count), "use the addresses");
    need(natsOptions_SetNoRandomize(options, true), "set options");
    need(natsOptions_SetSendAsap(options, true), "set options");
    need(natsOptions_UseGlobalMessageDelivery(options, shares_a_thread), "set options");
    need(natsConnection_Connect(&client->connection, options), "connect");
    natsOptions_Destroy(options);
    need(natsInbox_Create(&client->inbox), "make an inbox");
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->ended, NULL);
}

/* ---- publish ---- */

static void writer_send(struct client *client, unsigned number) {
    struct writer *writer = &client->writers[number];
    char subject[WORD_BYTES];
    char reply[WORD_BYTES];
    char expected[32];
    natsMsg *message;
    uint64_t share = client->keys / client->writers_count;
    writer->random = writer->random * UINT64_C(6364136223846793005) + 1442695040888963407;
    writer->key = number * share + (writer->random >> 33) % share;
    writer->began_ns = clock_now_ns();
    snprintf(subject, sizeof subject, "%s.%llu.k.%0*llu", client->name,
             (unsigned long long)(writer->key % client->partitions), KEY_LETTERS,
             (unsigned long long)(client->first_key + writer->key));
    snprintf(reply, sizeof reply, "%s.%u", (const char *)client->inbox, number);
    snprintf(expected, sizeof expected, "%llu", (unsigned long long)client->sequences[writer->key]);
    need(natsMsg_Create(&message, subject, reply, client->payload, client->payload_size),
         "make a message");
    need(natsMsgHeader_Set(message, "Nats-Expected-Last-Subject-Sequence", expected),
         "set a header");
    snprintf(expected, sizeof expected, "%ds", TTL_S);
    need(natsMsgHeader_Set(message, "Nats-TTL", expected), "set a header");
    need(natsConnection_PublishMsg(client->connection, message), "publish");
    natsMsg_Destroy(message);
}

static void take_answer(natsConnection *connection, natsSubscription *subscription,
                        natsMsg *message, void *closure) {
    (void)connection;
    (void)subscription;
    struct client *client = closure;
    const char *word = strrchr(natsMsg_GetSubject(message), '.') + 1;
    unsigned number = (unsigned)strtoul(word, NULL, 10);
    struct writer *writer = &client->writers[number];
    char text[512];
    snprintf(text, sizeof text, "%.*s", natsMsg_GetDataLength(message), natsMsg_GetData(message));
    const char *sequence = strstr(text, "\"seq\":");
    uint64_t now_ns = clock_now_ns();
    if (sequence != NULL && strstr(text, "\"error\"") == NULL) {
        client->sequences[writer->key] = strtoull(sequence + 6, NULL, 10);
        latency_record(&client->latency, now_ns - writer->began_ns);
        atomic_fetch_add(&client->done, 1);
    } else {
        if (client->refused++ == 0) {
            fprintf(stderr, "stayd-log-client: refused: %s\n", text);
        }
    }
    natsMsg_Destroy(message);
    if (now_ns < client->until_ns) {
        writer_send(client, number);
    } else if (atomic_fetch_add(&client->resting, 1) + 1 == client->writers_count) {
        client_end(client);
    }
}

static void publish(struct client *client, char **words) {
    natsSubscription *answers;
    char inbox[WORD_BYTES];
    client->writers_count = (unsigned)strtoul(words[0], NULL, 10);
    double seconds = strtod(words[1], NULL);
    client->payload_size = atoi(words[2]);
    client->keys = strtoull(words[3], NULL, 10);
    client->writers = calloc(client->writers_count, sizeof *client->writers);
    client->sequences = calloc(client->keys, sizeof *client->sequences);
    client->payload = malloc((size_t)client->payload_size);
    if (client->writers == NULL || client->sequences == NULL || client->payload == NULL) {
        need(NATS_NO_MEMORY, "begin");
    }
    memset(client->payload, 'v', (size_t)client->payload_size);
    snprintf(inbox, sizeof inbox, "%s.*", (const char *)client->inbox);
    need(natsConnection_Subscribe(&answers, client->connection, inbox, take_answer, client),
         "subscribe");
    uint64_t began_ns = clock_now_ns();
    double cpu_before_s = own_cpu_s();
    client->first_key = began_ns;
    client->until_ns = began_ns + (uint64_t)(seconds * 1e9);
    for (unsigned i = 0; i < client->writers_count; i++) {
        client->writers[i].random = began_ns + i;
        writer_send(client, i);
    }
    client_wait(client);
    double took_s = (double)(clock_now_ns() - began_ns) / 1e9;
    printf("{\"operations\": %llu, \"operations_per_second\": %.0f, \"p50_us\": %.1f, \"p99_us\": "
           "%.1f, \"max_us\": %.1f, \"refused\": %llu, \"cpu_us_each\": %.2f}\n",
           (unsigned long long)client->done, (double)client->done / took_s,
           (double)latency_percentile(&client->latency, 0.5) / 1e3,
           (double)latency_percentile(&client->latency, 0.99) / 1e3,
           (double)latency_percentile(&client->latency, 1) / 1e3,
           (unsigned long long)client->refused,
           1e6 * (own_cpu_s() - cpu_before_s) / (double)(client->done > 0 ? client->done : 1));
}

/* ---- consume ---- */

static void take_record(natsConnection *connection, natsSubscription *subscription,
                        natsMsg *message, void *closure) {
    (void)subscription;
    struct client *client = closure;
    const char *reply = natsMsg_GetReply(message);
    const char *stalled = NULL;
    natsMsgHeader_Get(message, "Nats-Consumer-Stalled", &stalled);
    if (reply != NULL && strncmp(reply, "$JS.ACK.", 8) == 0) {
        if (atomic_fetch_add(&client->done, 1) + 1 == client->records) {
            client_end(client);
        }
    } else if ((reply != NULL && *reply != '\0') || stalled != NULL) {
        natsConnection_Publish(connection, reply != NULL && *reply != '\0' ? reply : stalled, NULL,
                               0);
    }
    natsMsg_Destroy(message);
}

static void follow(struct client *client, unsigned partition) {
    char subject[WORD_BYTES];
    char api[WORD_BYTES];
    char request[1024];
    natsSubscription *subscription;
    natsMsg *answer = NULL;
    snprintf(subject, sizeof subject, "%s-%u", (const char *)client->inbox, partition);
    need(natsConnection_Subscribe(&subscription, client->connection, subject, take_record, client),
         "subscribe");
    natsSubscription_SetPendingLimits(subscription, -1, -1);
    snprintf(api, sizeof api, "$JS.API.CONSUMER.CREATE.%s_%u", client->name, partition);
    for (char *dot = strchr(api + strlen("$JS.API.CONSUMER.CREATE."), '.'); dot != NULL;
         dot = strchr(dot, '.')) {
        *dot = '_'; /* a stream's name has no dots */
    }
    snprintf(request, sizeof request,
             "{\"stream_name\":\"%s\",\"config\":{\"deliver_subject\":\"%s\","
             "\"deliver_policy\":\"all\",\"ack_policy\":\"none\",\"max_deliver\":1,"
             "\"replay_policy\":\"instant\",\"flow_control\":true,\"idle_heartbeat\":1000000000,"
             "\"num_replicas\":1,\"mem_storage\":true}}",
             strrchr(api, '.') + 1, subject);
    need(natsConnection_RequestString(&answer, client->connection, api, request, 5000),
         "make a consumer");
    if (memmem(natsMsg_GetData(answer), (size_t)natsMsg_GetDataLength(answer), "\"error\"", 7)) {
        fprintf(stderr, "stayd-log-client: %.*s\n", natsMsg_GetDataLength(answer),
                natsMsg_GetData(answer));
        exit(1);
    }
    natsMsg_Destroy(answer);
}

static void consume(struct client *client, char **words) {
    client->records = strtoull(words[0], NULL, 10);
    uint64_t began_ns = clock_now_ns();
    double cpu_before_s = own_cpu_s();
    for (unsigned i = 0; i < client->partitions; i++) {
        follow(client, i);
    }
    client_wait(client);
    double took_s = (double)(clock_now_ns() - began_ns) / 1e9;
    printf("{\"records\": %llu, \"records_per_second\": %.0f, \"seconds\": %.3f, \"cpu_us_each\": "
           "%.2f}\n",
           (unsigned long long)client->done, (double)client->done / took_s, took_s,
           1e6 * (own_cpu_s() - cpu_before_s) / (double)client->done);
}

int main(int count, char **words) {
    static struct client client;
    bool publishes = count == 9 && strcmp(words[1], "publish") == 0;
    if (!publishes && !(count == 6 && strcmp(words[1], "consume") == 0)) {
        fputs("usage: stayd-log-client publish URLS NAME PARTITIONS WRITERS SECONDS BYTES KEYS\n"
              "       stayd-log-client consume URLS NAME PARTITIONS RECORDS\n",
              stderr);
        return 2;
    }
    client.name = words[3];
    client.partitions = (unsigned)strtoul(words[4], NULL, 10);
    client_connect(&client, words[2], !publishes);
    if (publishes) {
        publish(&client, words + 5);
    } else {
        consume(&client, words + 5);
    }
    fflush(stdout);
    _exit(0); /* without libnats's lengthy end */
}
