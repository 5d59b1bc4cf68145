#include "tycho/fs.h"

#include <lauxlib.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "fiber.h"
#include "modules.h"
#include "tycho/memory.h"
#include "tycho/work.h"

enum { PARALLEL = 2, QUEUE_MAX = 1024 };

enum action { READ, WRITE, LIST, MKDIR, REMOVE, STAT };

struct job {
    struct ty_wait wait;
    struct ty_work work;
    enum action action;
    int result;
    struct ty_error error;
    struct ty_buf data; /* to write, or read, or names */
    struct ty_fs_stat there;
    size_t max;
    bool recursive;
    char path[];
};

static struct ty_lane *lane; /* of this process's only loop; made when first needed */

static struct job *job_of(struct ty_work *work)
{
    return (struct job *)((char *)work - offsetof(struct job, work));
}

static void run_job(struct ty_work *work)
{
    struct job *job = job_of(work);

    switch (job->action) {
    case READ:
        job->result = ty_fs_read(job->path, job->max, &job->data, &job->error);
        break;
    case WRITE:
        job->result =
            ty_fs_write(job->path, (struct ty_slice){job->data.data, job->data.len}, &job->error);
        break;
    case LIST:
        job->result = ty_fs_list(job->path, &job->data, &job->error);
        break;
    case MKDIR:
        job->result = ty_fs_mkdir(job->path, &job->error);
        break;
    case REMOVE:
        job->result = ty_fs_remove(job->path, job->recursive, &job->error);
        break;
    case STAT:
        job->result = ty_fs_stat(job->path, &job->there, &job->error);
        break;
    }
}

static int push_names(lua_State *L, const struct ty_buf *names)
{
    int n = 0;

    lua_newtable(L);
    for (size_t at = 0; at < names->len; at += strlen(names->data + at) + 1) {
        lua_pushstring(L, names->data + at);
        lua_rawseti(L, -2, ++n);
    }
    return 1;
}

static int push_stat(lua_State *L, const struct ty_fs_stat *there)
{
    static const char *const types[] = {
        [TY_FS_FILE] = "file",
        [TY_FS_FOLDER] = "folder",
        [TY_FS_LINK] = "link",
        [TY_FS_OTHER] = "other",
    };

    lua_createtable(L, 0, 4);
    lua_pushstring(L, types[there->type]);
    lua_setfield(L, -2, "type");
    lua_pushnumber(L, (lua_Number)there->size);
    lua_setfield(L, -2, "size");
    lua_pushnumber(L, (lua_Number)there->modified_us / 1e6);
    lua_setfield(L, -2, "modified");
    lua_pushinteger(L, (lua_Integer)there->mode);
    lua_setfield(L, -2, "mode");
    return 1;
}

static int push_result(lua_State *L, void *arg)
{
    struct job *job = arg;

    if (job->result < 0)
        return ty_push_core_error(L, &job->error);
    switch (job->action) {
    case READ:
        lua_pushlstring(L, job->data.data ? job->data.data : "", job->data.len);
        return 1;
    case LIST:
        return push_names(L, &job->data);
    case STAT:
        return push_stat(L, &job->there);
    default:
        lua_pushboolean(L, 1);
        return 1;
    }
}

static void drop(struct job *job)
{
    ty_buf_close(&job->data);
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

/* A job for the path that is the first argument. Nothing may throw after this. */
static struct job *new_job(lua_State *L, enum action action)
{
    const char *path = luaL_checkstring(L, 1);
    uv_loop_t *loop = ty_fiber_loop(L);

    if (!lane)
        lane = ty_lane_new(loop, "fs", PARALLEL, QUEUE_MAX);
    struct job *job = ty_zalloc(sizeof(*job) + strlen(path) + 1);
    memcpy(job->path, path, strlen(path) + 1);
    job->action = action;
    job->wait.what = "file";
    return job;
}

static int submit(lua_State *L, struct job *job)
{
    int status = ty_lane_submit(lane, &job->work, run_job, on_job_done);

    if (status < 0) {
        drop(job);
        return ty_push_error(L, TY_ERR_UNAVAILABLE, uv_err_name(status), "fs: too much waits");
    }
    return ty_park(L, &job->wait, cancel_job, -1);
}

/* read(path, max) */
static int l_read(lua_State *L)
{
    lua_Number max = luaL_checknumber(L, 2);
    luaL_argcheck(L, max >= 0 && max <= 1e12, 2, "must be a number of bytes");
    struct job *job = new_job(L, READ);

    job->max = (size_t)max;
    return submit(L, job);
}

/* write(path, bytes) */
static int l_write(lua_State *L)
{
    size_t len;
    const char *data = luaL_checklstring(L, 2, &len);
    struct job *job = new_job(L, WRITE);

    if (!ty_buf_try_add(&job->data, data, len, len)) {
        drop(job);
        return ty_push_error(L, TY_ERR_UNAVAILABLE, "ENOMEM", "fs: out of memory");
    }
    return submit(L, job);
}

/* list(path) */
static int l_list(lua_State *L)
{
    return submit(L, new_job(L, LIST));
}

/* mkdir(path) */
static int l_mkdir(lua_State *L)
{
    return submit(L, new_job(L, MKDIR));
}

/* remove(path, recursive) */
static int l_remove(lua_State *L)
{
    struct job *job = new_job(L, REMOVE);

    job->recursive = lua_toboolean(L, 2);
    return submit(L, job);
}

/* stat(path) */
static int l_stat(lua_State *L)
{
    return submit(L, new_job(L, STAT));
}

int luaopen_tycho_core_fs(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"list", l_list}, {"mkdir", l_mkdir}, {"read", l_read}, {"remove", l_remove},
        {"stat", l_stat}, {"write", l_write}, {NULL, NULL},
    };

    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
