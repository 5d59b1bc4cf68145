#include "tycho/error.h"

#include <stdio.h>

static const struct {
    const char *name;
    int status;
} kinds[] = {
#define X(symbol, name, http) [TY_ERR_##symbol] = {name, http},
    TY_ERRORS(X)
#undef X
};

int ty_error_set(struct ty_error *error, enum ty_error_kind kind, const char *detail,
                 const char *fmt, ...)
{
    va_list args;

    if (!error)
        return -1;
    error->kind = kind;
    snprintf(error->detail, sizeof(error->detail), "%s", detail ? detail : "");
    va_start(args, fmt);
    vsnprintf(error->message, sizeof(error->message), fmt, args);
    va_end(args);
    return -1;
}

const char *ty_error_kind_name(enum ty_error_kind kind)
{
    return kinds[kind].name;
}

int ty_error_kind_status(enum ty_error_kind kind)
{
    return kinds[kind].status;
}
