#include "tycho/password.h"

#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "fiber.h"
#include "modules.h"
#include "tycho/config.h"
#include "tycho/crypto.h"
#include "tycho/memory.h"
#include "tycho/work.h"
#include "vm.h"

struct job {
    struct ty_wait wait;
    struct ty_work work;
    unsigned cost;
    bool verifies; /* else it hashes */
    bool somebody; /* verifying: `hash` is set */
    int result;    /* as ty_password_hash() and _verify() return it */
    struct ty_error error;
    char hash[TY_PASSWORD_HASH_MAX];
    size_t len;
    char password[];
};

static struct ty_lane *lane; /* of this process's only loop; made when first needed */

static struct job *job_of(struct ty_work *work)
{
    return (struct job *)((char *)work - offsetof(struct job, work));
}

static void run_job(struct ty_work *work)
{
    struct job *job = job_of(work);

    if (job->verifies)
        job->result = ty_password_verify(job->password, job->len, job->somebody ? job->hash : NULL,
                                         job->cost, &job->error);
    else
        job->result = ty_password_hash(job->password, job->len, job->cost, job->hash, &job->error);
}

static int push_result(lua_State *L, void *arg)
{
    struct job *job = arg;

    if (job->result < 0)
        return ty_push_core_error(L, &job->error);
    if (job->verifies)
        lua_pushboolean(L, job->result);
    else
        lua_pushstring(L, job->hash);
    return 1;
}

static void drop(struct job *job)
{
    ty_crypto_wipe(job->password, job->len);
    free(job);
}

static void on_job_done(struct ty_work *work, int status)
{
    struct job *job = job_of(work);

    (void)status; /* cancelled work has no fiber to wake */
    ty_wake(&job->wait, push_result, job);
    drop(job);
}

static void cancel_job(struct ty_wait *wait)
{
    ty_work_cancel(&((struct job *)wait)->work);
}

static struct ty_lane *lane_of(uv_loop_t *loop, const struct ty_config *config)
{
    if (!lane)
        lane = ty_lane_new(loop, "password", (unsigned)ty_config_int(config, "password.parallel"),
                           (unsigned)ty_config_int(config, "password.queue"));
    return lane;
}

static int start(lua_State *L, const struct job *plan, const char *password, const char *hash)
{
    uv_loop_t *loop = ty_fiber_loop(L);
    const struct ty_config *config = ty_vm_of(L)->config;

    if (plan->len > TY_PASSWORD_MAX)
        return ty_push_error(L, TY_ERR_INVALID, "password.too_long",
                             "password: longer than %d bytes", TY_PASSWORD_MAX);

    struct job *job = ty_alloc(sizeof(*job) + plan->len);
    *job = *plan;
    job->cost = (unsigned)ty_config_int(config, "password.cost");
    memcpy(job->password, password, job->len);
    if (hash)
        memcpy(job->hash, hash, strlen(hash) + 1);
    if (ty_lane_submit(lane_of(loop, config), &job->work, run_job, on_job_done) < 0) {
        drop(job);
        return ty_push_error(L, TY_ERR_UNAVAILABLE, "password.queue",
                             "password: too many are waiting to be hashed");
    }
    job->wait.what = "password";
    return ty_park(L, &job->wait, cancel_job, -1);
}

/* hash(password) -> text */
static int l_hash(lua_State *L)
{
    struct job plan = {0};
    const char *password = luaL_checklstring(L, 1, &plan.len);

    return start(L, &plan, password, NULL);
}

/* verify(password, hash or nil) -> boolean */
static int l_verify(lua_State *L)
{
    struct job plan = {.verifies = true};
    size_t hash_len = 0;
    const char *password = luaL_checklstring(L, 1, &plan.len);
    const char *hash = luaL_optlstring(L, 2, NULL, &hash_len);

    if (hash && (hash_len >= TY_PASSWORD_HASH_MAX || strlen(hash) != hash_len))
        hash = ""; /* not one: the answer is the same error as for any other text */
    plan.somebody = hash != NULL;
    return start(L, &plan, password, hash);
}

/* needs_rehash(hash) -> boolean */
static int l_needs_rehash(lua_State *L)
{
    const char *hash = luaL_checkstring(L, 1);
    unsigned cost = (unsigned)ty_config_int(ty_vm_of(L)->config, "password.cost");

    lua_pushboolean(L, ty_password_needs_rehash(hash, cost));
    return 1;
}

int luaopen_tycho_core_password(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"hash", l_hash},
        {"needs_rehash", l_needs_rehash},
        {"verify", l_verify},
        {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
