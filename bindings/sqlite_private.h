/* What the bindings of the embedded database share: db.c (which databases there are), sqlite.c
 * (operations), sqlite_values.c (parameters in, results out). */
#pragma once

#include <lua.h>

#include "db.h"
#include "tycho/config.h"
#include "tycho/sqlite.h"

struct ty_db {
    struct ty_sqlite *sqlite;
    char *name;
    uint64_t slow_ns; /* 0: nothing is slow */
    struct ty_db *next;
    struct ty_sqlite_op probe; /* runs while `probing` */
    bool probing;
    uint64_t probed_ns;
};

/* The database of that name, opened if need be. NULL with `error`: it is not configured, or its URL
 * is not usable. */
struct ty_db *ty_db_find(uv_loop_t *loop, const struct ty_config *config, const char *name,
                         struct ty_error *error);

/* Changes when all databases are closed: what belongs to an earlier era is gone. */
unsigned ty_db_era(void);

/* Room for the values at stack indices `first`..`last`: their bytes. Throws for a value of a type
 * that no database has; -1, with `error`, for one that cannot be stored (text that is no UTF-8). */
ptrdiff_t ty_db_measure(lua_State *L, int first, int last, struct ty_error *error);

/* Copies what was measured into `values`, and texts and blobs to `bytes`. Does not throw. */
void ty_db_read(lua_State *L, int first, int last, struct ty_sqlite_value *values, char *bytes);

enum ty_db_shape { TY_DB_ROWS, TY_DB_ONE, TY_DB_VALUE, TY_DB_EXEC };

/* Pushes the result in that shape, one value. */
int ty_db_push(lua_State *L, const struct ty_sqlite_op *op, enum ty_db_shape shape);

/* Pushes nil and the error of an operation. */
int ty_db_push_error(lua_State *L, const struct ty_sqlite_op *op);

/* blob(bytes) -> a value that is stored as it is */
int ty_db_blob(lua_State *L);
