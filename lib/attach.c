#include "attach.h"

#include "base/number.h"
#include "login.h"
#include "mapping.h"

#include <string.h>
#include <unistd.h>

#define ATTACH_PATH "PATH "

/* Sends stayd_map, and reads the reply into `line`. Attaches the mappings that come with the reply,
 * if any; `index_id` is for mapping_attach. False after a fault. */
static bool attach_exchange(struct server *server, struct channel *channel, uint64_t index_id,
                            struct bytes *line, bool *received_mappings) {
    struct channel_files files = {.count = 0};
    channel_begin(channel, channel->deadline_ms);
    channel_put_string(channel, "stayd_map\r\n");
    channel->files = &files;
    bool came = channel_start(channel) && channel_take_line(channel, line);
    channel->files = NULL;
    if (files.count == MAPPING_FILES) {
        *received_mappings = true;
        mapping_attach(&server->mapping, files.numbers, index_id, channel->fd);
    } else {
        while (files.count > 0) {
            close(files.numbers[--files.count]);
        }
        if (came) { /* a connection that ended before this request says nothing about the server */
            mapping_refused(&server->mapping);
        }
    }
    return came;
}

/* Asks on the Unix socket that the server has named. A failure is ignored: reads then use the
 * connection. False only if `interrupted` ends a wait. */
static bool attach_at(struct server *server, const struct channel *channel, uint64_t index_id,
                      struct bytes path) {
    struct channel other;
    struct url url = server->url;
    url.ca = url.cert = url.key = NULL;
    if (path.size >= sizeof url.path || path.size == 0 || path.data[0] != '/') {
        return true;
    }
    memcpy(url.path, path.data, path.size);
    url.path[path.size] = '\0';
    channel_init(&other, channel->interrupted, channel->interrupted_user);
    struct bytes line;
    bool is_open = channel_open(&other, &url, NULL, channel->deadline_ms);
    if (is_open && url.user[0] != '\0') {
        struct request login;
        is_open = login_run(&url, &login, &other) == STAYD_OK && other.fault == CHANNEL_WELL;
    }
    bool received_mappings;
    bool came = is_open && attach_exchange(server, &other, index_id, &line, &received_mappings);
    if (!came && other.fault != CHANNEL_INTERRUPTED) {
        mapping_outdated(&server->mapping);
    }
    channel_close(&other);
    channel_finish(&other);
    explicit_bzero(url.password, sizeof url.password);
    return other.fault != CHANNEL_INTERRUPTED;
}

/* Splits the reply "PATH <index_id> <path>". False: the line is another reply. */
static bool attach_read_path(struct bytes line, uint64_t *index_id, struct bytes *path) {
    size_t prefix = strlen(ATTACH_PATH);
    if (line.size <= prefix || memcmp(line.data, ATTACH_PATH, prefix) != 0) {
        return false;
    }
    const char *number = line.data + prefix;
    const char *end = line.data + line.size;
    const char *space = memchr(number, ' ', line.size - prefix);
    if (space == NULL ||
        !number_parse_u64(bytes_from(number, (size_t)(space - number)), index_id)) {
        return false;
    }
    *path = bytes_from(space + 1, (size_t)(end - space) - 1);
    return true;
}

bool attach_ask(struct server *server, struct connection *connection, uint64_t deadline_ms) {
    struct channel *channel = &connection->channel;
    struct bytes line;
    struct bytes path;
    uint64_t index_id;
    channel->deadline_ms = deadline_ms;
    if (!attach_exchange(server, channel, 0, &line, &connection->received_mappings)) {
        return false;
    }
    if (attach_read_path(line, &index_id, &path) && !attach_at(server, channel, index_id, path)) {
        channel->fault = CHANNEL_INTERRUPTED;
        return false;
    }
    return channel_is_drained(channel);
}
