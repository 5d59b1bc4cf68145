/* Telling the service manager (systemd and others) how we are: sd_notify(3)'s protocol, which is
 * one datagram to $NOTIFY_SOCKET.
 */
#pragma once

#include <stdint.h>

struct notify {
    int fd;               /* -1: nobody asked */
    uint64_t watchdog_ms; /* tell it "WATCHDOG=1" this often; 0: not asked for */
};

void ty_notify_open(struct notify *notify);
/* "READY=1", "STOPPING=1", "RELOADING=1" (the time is added), "WATCHDOG=1", "STATUS=..." */
void ty_notify_send(const struct notify *notify, const char *state);
/* This process is the service's main one from now on, and serves. Service managers believe it from
 * the main process itself. */
void ty_notify_main(const struct notify *notify, int pid);
void ty_notify_close(struct notify *notify);
