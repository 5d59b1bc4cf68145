/* JSON to Lua and back: what is read is written, what is written is read, and both are the same
 * value; and nothing is read that yyjson, asked alone, refuses. The first byte says which limits
 * hold.
 */
#include <lauxlib.h>
#include <lualib.h>
#include <yyjson.h>

#include "fuzz.h"
#include "int64.h"
#include "json.h"

static lua_State *L;

static bool same_value(int a, int b);

static bool same_scalar(int a, int b)
{
    int64_t x, y;
    int kind = ty_to_int64(L, a, &x);

    if (kind != ty_to_int64(L, b, &y))
        return false;
    return kind ? x == y : lua_rawequal(L, a, b);
}

static size_t count_members(int table)
{
    size_t count = 0;

    lua_pushnil(L);
    for (; lua_next(L, table); count++)
        lua_pop(L, 1);
    return count;
}

static bool same_table(int a, int b)
{
    bool marked_a = lua_getmetatable(L, a), marked_b = lua_getmetatable(L, b);

    lua_pop(L, marked_a + marked_b);
    if (marked_a != marked_b || count_members(a) != count_members(b))
        return false;
    luaL_checkstack(L, 8, NULL);
    lua_pushnil(L);
    while (lua_next(L, a)) {
        int top = lua_gettop(L);

        lua_pushvalue(L, top - 1);
        lua_rawget(L, b);
        if (!same_value(top, top + 1))
            return false;
        lua_settop(L, top - 1);
    }
    return true;
}

static bool same_value(int a, int b)
{
    if (lua_type(L, a) != lua_type(L, b))
        return false;
    return lua_istable(L, a) ? same_table(a, b) : same_scalar(a, b);
}

struct job {
    const char *text;
    size_t len;
    struct ty_json_limits limits;
    struct ty_buf out;
};

static void check_refusal(const struct job *job, const struct ty_error *error)
{
    REQUIRE(error->message[0]);
    if (strcmp(error->detail, "SYNTAX") != 0)
        return;
    yyjson_doc *doc = yyjson_read(job->text, job->len, 0);
    bool is_fine = doc && job->len;

    yyjson_doc_free(doc);
    REQUIRE(!is_fine); /* ours refuses no more, as far as the form goes */
}

static int run(lua_State *state)
{
    struct job *job = lua_touserdata(state, 1);
    struct ty_error error = {0};

    if (ty_json_decode(state, job->text, job->len, &job->limits, &error)) {
        REQUIRE(lua_gettop(state) == 1);
        check_refusal(job, &error);
        return 0;
    }
    REQUIRE(lua_gettop(state) == 2);
    yyjson_doc *doc = yyjson_read(job->text, job->len, 0);

    REQUIRE(doc);
    yyjson_doc_free(doc);
    if (ty_json_encode(state, 2, &job->out, &error) != 0) {
        fprintf(stderr, "%s\n", error.message);
        abort(); /* what was read can be written */
    }
    if (ty_json_decode(state, job->out.data, job->out.len, &job->limits, &error) != 0) {
        fprintf(stderr, "%.*s\n%s\n", (int)job->out.len, job->out.data, error.message);
        abort(); /* what was written can be read */
    }
    REQUIRE(same_value(2, 3));
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct job job = {0};

    if (size < 1)
        return 0;
    L = luaL_newstate(); /* a new one each time: what is not given back is seen to leak */
    luaL_openlibs(L);
    char *copy = exact_copy(data + 1, size - 1);

    job.text = copy;
    job.len = size - 1;
    job.limits.refuse_repeats = data[0] & 1;
    job.limits.depth_max = data[0] & 2 ? 8 : 0;
    job.limits.keys_max = data[0] & 4 ? 16 : 0;
    if (lua_cpcall(L, run, &job)) {
        fprintf(stderr, "raised: %s\n", lua_tostring(L, -1));
        abort();
    }
    lua_close(L);
    ty_buf_close(&job.out);
    free(copy);
    return 0;
}
