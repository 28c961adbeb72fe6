#include "scripted_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TIMEOUT_MS = 300 };

struct scripted_server server;
struct stayd *client;
struct stayd_error error;
bool asks_for_mappings;

int start_listening(void **state) {
    (void)state;
    memset(&server, 0, sizeof server);
    memset(&error, 0, sizeof error);
    strcpy(server.folder, "/tmp/stayd-client-XXXXXX");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (mkdtemp(server.folder) == NULL) {
        return -1;
    }
    snprintf(address.sun_path, sizeof address.sun_path, "%s/s", server.folder);
    snprintf(server.url, sizeof server.url, "unix://%s/s", server.folder);
    server.listening = socket(AF_UNIX, SOCK_STREAM, 0);
    client = NULL;
    asks_for_mappings = false;
    return bind(server.listening, (struct sockaddr *)&address, sizeof address) != 0 ||
           listen(server.listening, 5) != 0;
}

void stop_serving(void) {
    shutdown(server.listening, SHUT_RDWR);
    if (server.is_running) {
        pthread_join(server.thread, NULL);
        server.is_running = false;
    }
}

int stop_listening(void **state) {
    (void)state;
    stayd_close(client);
    stop_serving();
    close(server.listening);
    unlink(strchr(server.url, ':') + 3);
    return rmdir(server.folder);
}

static void serve_one(int fd, const struct script *script) {
    size_t got = 0;
    while (got < script->expected) {
        ssize_t size =
            recv(fd, server.request + server.request_size, REQUEST_MAX - server.request_size, 0);
        if (size <= 0) {
            return;
        }
        got += (size_t)size;
        server.request_size += (size_t)size;
    }
    size_t step = script->step > 0 ? script->step : script->reply_size;
    for (size_t sent = 0; sent < script->reply_size; sent += step) {
        size_t left = script->reply_size - sent;
        if (send(fd, script->reply + sent, left < step ? left : step, MSG_NOSIGNAL) < 0) {
            return;
        }
    }
    if (script->reply == NULL) {
        char byte;
        recv(fd, &byte, 1, 0);
    }
}

static void *serve(void *argument) {
    (void)argument;
    int fd;
    while ((fd = accept(server.listening, NULL, NULL)) >= 0) {
        unsigned number = server.connections++;
        number = number < server.script_count ? number : server.script_count - 1;
        serve_one(fd, &server.scripts[number]);
        close(fd);
    }
    return NULL;
}

void open_client(const struct stayd_options *given) {
    struct stayd_options options;
    stayd_options_init(&options);
    if (given != NULL) {
        options = *given;
    }
    options.timeout_ms = TIMEOUT_MS;
    options.connect_timeout_ms = TIMEOUT_MS;
    options.restart_wait_ms = -1;
    options.sockets_only = !asks_for_mappings;
    client = stayd_open(server.url, &options, &error);
    assert_non_null(client);
}

void add_script(const char *request, const char *reply, size_t size, size_t step) {
    server.scripts[server.script_count++] = (struct script){
        .expected = strlen(request), .reply = reply, .reply_size = size, .step = step};
}

static void start_serving(void) {
    assert_int_equal(pthread_create(&server.thread, NULL, serve, NULL), 0);
    server.is_running = true;
    open_client(NULL);
}

void answer_bytes(const char *request, const char *reply, size_t size, size_t step) {
    add_script(request, reply, size, step);
    start_serving();
}

void answer(const char *request, const char *reply) {
    answer_bytes(request, reply, reply != NULL ? strlen(reply) : 0, 0);
}

void expect_request(const char *request) {
    stop_serving();
    assert_int_equal(server.request_size, strlen(request));
    assert_memory_equal(server.request, request, server.request_size);
}

enum stayd_status get(void) {
    struct stayd_value value = {0};
    enum stayd_status status = stayd_get(client, "k", 1, &value, &error);
    stayd_value_free(&value);
    return status;
}

enum stayd_status set(void) {
    return stayd_set(client, "k", 1, "v", 1, 0, 0, &error);
}

void expect_failure(enum stayd_status expected, const char *part) {
    assert_int_equal(error.status, expected);
    assert_non_null(strstr(error.message, part));
}
