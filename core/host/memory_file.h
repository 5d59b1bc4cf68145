/* Bytes that another process is to read: a sealed memory file. */
#pragma once

#include <stdbool.h>

#include "tycho/buffer.h"

/* A descriptor, or -1 with errno. */
int ty_memory_file_write(const char *name, const char *data, size_t len);
/* All of it into `out`; false if it cannot be read or is longer than `max`. */
bool ty_memory_file_read(int fd, size_t max, struct ty_buf *out);
