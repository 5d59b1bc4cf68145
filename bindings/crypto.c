#include "tycho/crypto.h"

#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "fiber.h"
#include "modules.h"
#include "tycho/memory.h"
#include "tycho/work.h"

/* Up to here hashing is done at once, in at most about half a millisecond. */
enum { INLINE_MAX = 256 * 1024, RANDOM_MAX = 64 * 1024 };

enum { LANE_PARALLEL = 1, LANE_QUEUE = 256 };

struct hashing {
    struct ty_wait wait;
    struct ty_work work;
    enum ty_digest digest;
    bool keyed;
    size_t key_len, data_len;
    unsigned char out[TY_DIGEST_MAX];
    unsigned char bytes[]; /* the key, then the data */
};

static const char *const digest_names[] = {"sha224", "sha256", "sha384", "sha512", NULL};

static struct ty_lane *lane; /* of this process's only loop; made when first needed */

static void compute(struct hashing *h)
{
    const unsigned char *data = h->bytes + h->key_len;

    if (h->keyed)
        ty_crypto_hmac(h->digest, h->bytes, h->key_len, data, h->data_len, h->out);
    else
        ty_crypto_hash(h->digest, data, h->data_len, h->out);
}

static struct hashing *hashing_of(struct ty_work *work)
{
    return (struct hashing *)((char *)work - offsetof(struct hashing, work));
}

static void run_hashing(struct ty_work *work)
{
    compute(hashing_of(work));
}

static int push_digest(lua_State *L, void *arg)
{
    struct hashing *h = arg;

    lua_pushlstring(L, (const char *)h->out, ty_digest_len(h->digest));
    return 1;
}

static void on_hashed(struct ty_work *work, int status)
{
    struct hashing *h = hashing_of(work);

    (void)status; /* cancelled work has no fiber to wake */
    ty_wake(&h->wait, push_digest, h);
    ty_crypto_wipe(h->bytes, h->key_len);
    free(h);
}

static void cancel_hashing(struct ty_wait *wait)
{
    ty_work_cancel(&((struct hashing *)wait)->work);
}

static int hash_elsewhere(lua_State *L, const struct hashing *plan, const char *key,
                          const char *data)
{
    uv_loop_t *loop = ty_fiber_loop(L);

    struct hashing *h = ty_try_alloc(sizeof(*h) + plan->key_len + plan->data_len);
    if (!h)
        return ty_push_error(L, TY_ERR_UNAVAILABLE, "ENOMEM", "crypto: out of memory");
    *h = *plan;
    memcpy(h->bytes, key, h->key_len);
    memcpy(h->bytes + h->key_len, data, h->data_len);
    if (!lane)
        lane = ty_lane_new(loop, "crypto", LANE_PARALLEL, LANE_QUEUE);
    if (ty_lane_submit(lane, &h->work, run_hashing, on_hashed) < 0) {
        ty_crypto_wipe(h->bytes, h->key_len);
        free(h);
        return ty_push_error(L, TY_ERR_UNAVAILABLE, "ENOBUFS", "crypto: too much is waiting");
    }
    h->wait.what = "crypto";
    return ty_park(L, &h->wait, cancel_hashing, -1);
}

/* hash(digest, data) -> bytes */
static int l_hash(lua_State *L)
{
    struct hashing plan = {.digest = (enum ty_digest)luaL_checkoption(L, 1, NULL, digest_names)};
    const char *data = luaL_checklstring(L, 2, &plan.data_len);

    if (plan.data_len > INLINE_MAX)
        return hash_elsewhere(L, &plan, "", data);
    ty_crypto_hash(plan.digest, data, plan.data_len, plan.out);
    return push_digest(L, &plan);
}

/* hmac(digest, key, data) -> bytes */
static int l_hmac(lua_State *L)
{
    struct hashing plan = {.digest = (enum ty_digest)luaL_checkoption(L, 1, NULL, digest_names),
                           .keyed = true};
    const char *key = luaL_checklstring(L, 2, &plan.key_len);
    const char *data = luaL_checklstring(L, 3, &plan.data_len);

    if (plan.key_len + plan.data_len > INLINE_MAX)
        return hash_elsewhere(L, &plan, key, data);
    ty_crypto_hmac(plan.digest, key, plan.key_len, data, plan.data_len, plan.out);
    return push_digest(L, &plan);
}

/* random(count) -> bytes */
static int l_random(lua_State *L)
{
    lua_Number count = luaL_checknumber(L, 1);
    luaL_Buffer buffer;

    luaL_argcheck(L, count >= 0 && count <= RANDOM_MAX, 1, "must be between 0 and 65536");
    luaL_buffinit(L, &buffer);
    for (size_t left = (size_t)count; left > 0;) {
        size_t some = left < LUAL_BUFFERSIZE ? left : LUAL_BUFFERSIZE;

        ty_crypto_random(luaL_prepbuffer(&buffer), some);
        luaL_addsize(&buffer, some);
        left -= some;
    }
    luaL_pushresult(&buffer);
    return 1;
}

/* equal(a, b) -> boolean */
static int l_equal(lua_State *L)
{
    size_t a_len, b_len;
    const char *a = luaL_checklstring(L, 1, &a_len);
    const char *b = luaL_checklstring(L, 2, &b_len);

    lua_pushboolean(L, ty_crypto_equal(a, a_len, b, b_len));
    return 1;
}

static enum ty_base64 check_base64(lua_State *L, int index)
{
    static const char *const names[] = {"base64", "base64url", NULL};
    return (enum ty_base64)luaL_checkoption(L, index, NULL, names);
}

static int push_not(lua_State *L, const char *what)
{
    return ty_push_error(L, TY_ERR_INVALID, what, "not valid %s", what);
}

/* base64_encode(alphabet, bytes) -> text */
static int l_base64_encode(lua_State *L)
{
    size_t len;
    enum ty_base64 kind = check_base64(L, 1);
    const char *data = luaL_checklstring(L, 2, &len);
    size_t text_len = ty_base64_len(kind, len);

    char *text = lua_newuserdata(L, text_len + 1);
    ty_base64_encode(kind, data, len, text);
    lua_pushlstring(L, text, text_len);
    return 1;
}

/* base64_decode(alphabet, text) -> bytes */
static int l_base64_decode(lua_State *L)
{
    size_t len;
    enum ty_base64 kind = check_base64(L, 1);
    const char *text = luaL_checklstring(L, 2, &len);
    char *data = lua_newuserdata(L, len + 1);
    ptrdiff_t data_len = ty_base64_decode(kind, text, len, data);

    if (data_len < 0)
        return push_not(L, kind == TY_BASE64 ? "base64" : "base64url");
    lua_pushlstring(L, data, (size_t)data_len);
    return 1;
}

/* hex_encode(bytes) -> text */
static int l_hex_encode(lua_State *L)
{
    size_t len;
    const char *data = luaL_checklstring(L, 1, &len);
    char *text = lua_newuserdata(L, 2 * len + 1);

    ty_hex_encode(data, len, text);
    lua_pushlstring(L, text, 2 * len);
    return 1;
}

/* hex_decode(text) -> bytes */
static int l_hex_decode(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    char *data = lua_newuserdata(L, len + 1);
    ptrdiff_t data_len = ty_hex_decode(text, len, data);

    if (data_len < 0)
        return push_not(L, "hex");
    lua_pushlstring(L, data, (size_t)data_len);
    return 1;
}

/* uuid_v4() -> text */
static int l_uuid_v4(lua_State *L)
{
    char text[TY_UUID_LEN + 1];

    ty_uuid_v4(text);
    lua_pushlstring(L, text, TY_UUID_LEN);
    return 1;
}

/* uuid_v7() -> text */
static int l_uuid_v7(lua_State *L)
{
    char text[TY_UUID_LEN + 1];

    ty_uuid_v7(text);
    lua_pushlstring(L, text, TY_UUID_LEN);
    return 1;
}

/* uuid_valid(text) -> boolean */
static int l_uuid_valid(lua_State *L)
{
    size_t len = 0;
    const char *text = lua_type(L, 1) == LUA_TSTRING ? lua_tolstring(L, 1, &len) : NULL;

    lua_pushboolean(L, text && ty_uuid_valid(text, len));
    return 1;
}

int luaopen_tycho_core_crypto(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"base64_decode", l_base64_decode},
        {"base64_encode", l_base64_encode},
        {"equal", l_equal},
        {"hash", l_hash},
        {"hex_decode", l_hex_decode},
        {"hex_encode", l_hex_encode},
        {"hmac", l_hmac},
        {"random", l_random},
        {"uuid_v4", l_uuid_v4},
        {"uuid_v7", l_uuid_v7},
        {"uuid_valid", l_uuid_valid},
        {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
