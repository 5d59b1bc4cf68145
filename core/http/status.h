/* Status lines. */
#pragma once

#include "tycho/http.h"

enum {
    TY_STATUS_FIRST = 200, /* of final answers */
    TY_STATUS_LAST = 599,
    TY_STATUS_LINE_MAX = 64,
};

/* Writes "HTTP/1.1 200 OK\r\n" and returns its end; no NUL. */
char *ty_status_print(int status, char *out);
