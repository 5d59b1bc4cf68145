/* Reading the JSON of a channel's message: what is missing or of another type is empty. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

static inline const char *message_str(yyjson_val *message, const char *key)
{
    const char *text = yyjson_get_str(yyjson_obj_get(message, key));

    return text ? text : "";
}

static inline uint64_t message_uint(yyjson_val *message, const char *key)
{
    return yyjson_get_uint(yyjson_obj_get(message, key));
}

static inline bool message_bool(yyjson_val *message, const char *key)
{
    return yyjson_get_bool(yyjson_obj_get(message, key));
}
