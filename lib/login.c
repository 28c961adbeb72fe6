#include "login.h"

#include "binary.h"
#include "text.h"

enum stayd_status login_run(const struct url *url, struct request *login, struct channel *channel) {
    bool is_binary = url_is_binary(url);
    *login = (struct request){.verb = VERB_SET};
    channel_begin(channel, channel->deadline_ms);
    if (is_binary) {
        binary_put_login(url, channel);
    } else {
        text_put_login(url, channel);
    }
    enum stayd_status status =
        is_binary ? binary_read_login(login, channel) : text_read_login(login, channel);
    if (channel->output.data != NULL) {
        explicit_bzero(channel->output.data, channel->output.size);
    }
    return status;
}
