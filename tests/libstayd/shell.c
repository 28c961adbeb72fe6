/* One client that reads commands line by line, for tests in Python: libstayd-shell SERVERS
 * OPTION...
 *
 *     get KEY        mapped KEY     set KEY VALUE  large KEY BYTES   delete KEY
 *     many KEY...    version        disconnect     fork              fork unseen
 *
 * Each is answered with a line: the status, the milliseconds that it took, timed_out, and the value
 * or the message. `large` sets a value of so many bytes. `fork` goes on in a child until `exit`,
 * and then in the parent; the C library does not see the fork of `fork unseen`. The options:
 * failover; sockets; distribution=NUMBER; restart_wait=MS; timeout=MS; total=MS; max=NUMBER. */
#include "stayd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX = 4096, MANY_MAX = 100 };

static struct stayd *client;
static struct stayd_error error;
static struct stayd_value value;

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static enum stayd_status get_many(char *keys) {
    static struct stayd_item items[MANY_MAX];
    size_t count = 0;
    for (char *key = strtok(keys, " "); key != NULL && count < MANY_MAX; key = strtok(NULL, " ")) {
        items[count].key = key;
        items[count++].key_size = strlen(key);
    }
    enum stayd_status status = stayd_get_many(client, items, count, &error);
    char *text = error.message;
    char answer[sizeof error.message] = "";
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(answer);
        snprintf(answer + used, sizeof answer - used, "%d:%s ", items[i].status,
                 items[i].status == STAYD_OK ? items[i].value.data : "");
    }
    strcpy(text, answer);
    return status;
}

static enum stayd_status run(const char *command, const char *key, char *rest) {
    size_t size = strlen(key);
    char version[64];
    if (strcmp(command, "get") == 0) {
        return stayd_get(client, key, size, &value, &error);
    }
    if (strcmp(command, "mapped") == 0) {
        return stayd_get_mapped(client, key, size, &value);
    }
    if (strcmp(command, "set") == 0) {
        return stayd_set(client, key, size, rest, strlen(rest), 0, 0, &error);
    }
    if (strcmp(command, "large") == 0) {
        size_t bytes = strtoul(rest, NULL, 10);
        char *data = calloc(1, bytes);
        enum stayd_status status = stayd_set(client, key, size, data, bytes, 0, 0, &error);
        free(data);
        return status;
    }
    if (strcmp(command, "delete") == 0) {
        return stayd_delete(client, key, size, &error);
    }
    if (strcmp(command, "version") == 0) {
        return stayd_version(client, 0, version, sizeof version, &error);
    }
    if (strcmp(command, "disconnect") == 0) {
        stayd_disconnect(client);
        return STAYD_OK;
    }
    return STAYD_INVALID;
}

static void take_options(struct stayd_options *options, int count, char **texts) {
    for (int i = 0; i < count; i++) {
        const char *equals = strchr(texts[i], '=');
        int number = equals != NULL ? atoi(equals + 1) : 1;
        switch (texts[i][0]) {
        case 'f':
            options->failover = 1;
            break;
        case 's':
            options->sockets_only = 1;
            break;
        case 'd':
            options->distribution = (enum stayd_distribution)number;
            break;
        case 'r':
            options->restart_wait_ms = number;
            break;
        case 't':
            *(texts[i][1] == 'i' ? &options->timeout_ms : &options->total_timeout_ms) = number;
            break;
        default:
            options->max_connections = (unsigned)number;
            break;
        }
    }
}

int main(int argument_count, char **arguments) {
    struct stayd_options options;
    char line[LINE_MAX];
    stayd_options_init(&options);
    take_options(&options, argument_count - 2, arguments + 2);
    client = stayd_open(arguments[1], &options, &error);
    if (client == NULL) {
        printf("%s\n", error.message);
        return 2;
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        error = (struct stayd_error){.message = ""};
        char *key = strchr(line, ' ');
        char *rest = NULL;
        if (key != NULL) {
            *key++ = '\0';
        }
        if (strcmp(line, "exit") == 0) {
            break;
        }
        if (strcmp(line, "fork") == 0) {
            pid_t child = key == NULL ? fork() : (pid_t)syscall(SYS_fork);
            if (child != 0) {
                wait(NULL);
            }
            puts("0 0 0 ");
            fflush(stdout);
            continue;
        }
        double began_ms = now_ms();
        enum stayd_status status;
        value.size = 0;
        if (strcmp(line, "many") == 0) {
            status = get_many(key);
        } else {
            rest = key != NULL ? strchr(key, ' ') : NULL;
            if (rest != NULL) {
                *rest++ = '\0';
            }
            status = run(line, key != NULL ? key : "", rest);
        }
        printf("%d %.0f %d %s\n", status, now_ms() - began_ms, error.timed_out,
               value.size > 0 ? value.data : error.message);
        fflush(stdout);
    }
    stayd_value_free(&value);
    stayd_close(client);
    return 0;
}
