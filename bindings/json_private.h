/* What reading and writing JSON share: memory that is used again, and places in a document. */
#pragma once

#include "json.h"

/* A buffer that belongs to a Lua state, so that an error thrown by Lua cannot lose it. */
struct ty_json_scratch {
    struct ty_buf buf;
    bool busy;
};

/* Pushes the state's scratch, which is the caller's until released; a new one if that is busy -
 * because a finalizer reads JSON while JSON is being read, or because an error was thrown past the
 * release: then the lost one is garbage, and freed as such. */
struct ty_json_scratch *ty_json_push_scratch(lua_State *L);

/* Gives it back, and memory beyond a reasonable size to the system. It may still be on the stack.
 */
void ty_json_release_scratch(struct ty_json_scratch *scratch);

/* Where in a document: an element, or a member by its name. On the C stack, inner to outer. */
struct ty_json_place {
    const struct ty_json_place *outer; /* NULL: the document itself */
    const char *name;                  /* NULL: an element */
    size_t name_len;
    size_t index; /* of an element, counted from 1 as in Lua */
};

/* Fills `error`, kind "invalid", with ` at items[2].price` behind the message; returns -1. */
int ty_json_fail(struct ty_error *error, const struct ty_json_place *place, const char *detail,
                 const char *message);
