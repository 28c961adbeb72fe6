/* Tells systemd how the daemon is (sd_notify(3)): a datagram to the socket that NOTIFY_SOCKET
 * names. Does nothing where there is no systemd. Main thread only. */
#ifndef STAYD_STAYD_NOTIFY_H
#define STAYD_STAYD_NOTIFY_H

/* Such as "READY=1" or "STOPPING=1"; several stand on lines of their own. */
void notify_send(const char *state);

#endif
