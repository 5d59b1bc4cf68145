/* What a process says on its standard error: passed on to ours (the first 64 KiB), and the last
 * line remembered, for whoever asks why it failed.
 */
#pragma once

#include <uv.h>

struct tail;

/* Takes over the reading end of a pipe. */
struct tail *ty_tail_open(uv_loop_t *loop, int fd);
/* The last line that is not empty, of all that was written so far; "": none. */
const char *ty_tail_line(struct tail *tail);
void ty_tail_close(struct tail *tail);
