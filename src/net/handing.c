#include "net/handing.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

static ssize_t handing_send_with(int fd, const struct proto_connection *proto, const char *data,
                                 size_t size) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof proto->handed)];
    } control = {0};
    struct iovec part = {.iov_base = (char *)(uintptr_t)data, .iov_len = size};
    size_t handed_bytes = proto->handed_count * sizeof proto->handed[0];
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = control.bytes,
        .msg_controllen = CMSG_SPACE(handed_bytes),
    };
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(handed_bytes);
    memcpy(CMSG_DATA(&control.header), proto->handed, handed_bytes);
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

ssize_t handing_send(int fd, struct proto_connection *proto, const char *data, size_t size) {
    ssize_t result = handing_send_with(fd, proto, data, size);
    if (result < 0 && errno == ETOOMANYREFS) {
        /* ETOOMANYREFS: too many descriptors that were sent have not been read by clients yet. This
         * client gets the reply without descriptors, and has no mappings. */
        proto_drop_handed(proto);
        return send(fd, data, size, MSG_NOSIGNAL);
    }
    if (result > 0) {
        proto_drop_handed(proto);
    }
    return result;
}
