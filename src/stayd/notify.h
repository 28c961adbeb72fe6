/* Reports the daemon's state to systemd, as sd_notify(3) does: by a datagram to the socket in
 * $NOTIFY_SOCKET. Does nothing if the variable is not set. Main thread only. */
#ifndef STAYD_STAYD_NOTIFY_H
#define STAYD_STAYD_NOTIFY_H

/* `state` is one or more lines, such as "READY=1" or "STOPPING=1". */
void notify_send(const char *state);

#endif
