/* How many bytes a TCP socket has received in all. A file of its own, because the kernel's header
 * that knows and the C library's do not go together. */
#pragma once

#include <stdint.h>

/* 0: it does not say (it is a Unix socket). */
uint64_t ty_pg_received(int fd);
