/* Query strings and form bodies, against a second reading that is slow and plain. */
#include <lauxlib.h>
#include <lualib.h>

#include "fuzz.h"
#include "http.h"

static lua_State *L;

static int digit(char c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF", *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) % 16 : -1;
}

static struct ty_buf decode(const char *p, const char *end)
{
    struct ty_buf out = {0};

    for (; p < end; p++) {
        if (*p == '%' && end - p > 2 && digit(p[1]) >= 0 && digit(p[2]) >= 0) {
            ty_buf_addc(&out, (char)(digit(p[1]) * 16 + digit(p[2])));
            p += 2;
        } else {
            ty_buf_addc(&out, *p == '+' ? ' ' : *p);
        }
    }
    return out;
}

/* Is the value of the last, or for lists the next, field of this name what we read? */
static void check_list(struct ty_buf *name, struct ty_buf *value)
{
    lua_pushlstring(L, name->data ? name->data : "", name->len);
    lua_rawget(L, -2);
    REQUIRE(lua_istable(L, -1));
    lua_getfield(L, -1, "seen"); /* how many of them have been compared */
    int next = (int)lua_tointeger(L, -1) + 1;

    lua_pop(L, 1);
    lua_rawgeti(L, -1, next);
    struct ty_slice got = {0};

    got.data = lua_tolstring(L, -1, &got.len);
    REQUIRE(got.data && same(got, (struct ty_slice){value->data, value->len}));
    lua_pop(L, 1);
    lua_pushinteger(L, next);
    lua_setfield(L, -2, "seen");
    lua_pop(L, 1);
}

static size_t check_all(const char *text, size_t len)
{
    const char *end = text + len;
    size_t count = 0;

    for (const char *p = text; p < end;) {
        const char *stop = memchr(p, '&', (size_t)(end - p));

        stop = stop ? stop : end;
        if (stop > p) {
            const char *equals = memchr(p, '=', (size_t)(stop - p));
            struct ty_buf name = decode(p, equals ? equals : stop);
            struct ty_buf value = decode(equals ? equals + 1 : stop, stop);

            check_list(&name, &value);
            ty_buf_close(&name);
            ty_buf_close(&value);
            count++;
        }
        p = stop + 1;
    }
    return count;
}

static size_t count_fields(const char *text, size_t len)
{
    size_t count = 0;

    for (size_t i = 0; i < len; i++)
        count += text[i] != '&' && (i == 0 || text[i - 1] == '&');
    return count;
}

static int run(lua_State *state)
{
    const struct ty_slice *text = lua_touserdata(state, 1);
    size_t count = count_fields(text->data, text->len);
    bool fits = count <= TY_QUERY_KEYS_MAX;

    REQUIRE(ty_push_form(state, *text, false) == fits);
    REQUIRE(lua_gettop(state) == (fits ? 2 : 1));
    lua_settop(state, 1);
    REQUIRE(ty_push_form(state, *text, true) == fits);
    REQUIRE(lua_gettop(state) == (fits ? 2 : 1));
    if (fits)
        REQUIRE(check_all(text->data, text->len) == count);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = exact_copy(data, size);
    struct ty_slice text = {copy, size};

    if (!L)
        L = luaL_newstate();
    REQUIRE(lua_cpcall(L, run, &text) == 0);
    free(copy);
    return 0;
}
