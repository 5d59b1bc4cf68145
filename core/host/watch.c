#include "host/watch.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tycho/log.h"
#include "tycho/memory.h"

enum { QUIET_MS = 100, FOLDERS_MAX = 2000, DEPTH_MAX = 32 };

struct folder {
    uv_fs_event_t event;
    struct folder *next;
    char *path;
    ino_t inode;  /* another folder may come under the same name */
    bool is_seen; /* in the walk under way */
};

struct watch {
    struct master *master;
    struct folder *folders;
    unsigned count;
    uv_timer_t quiet;
    bool is_broken; /* the last save did not run */
    bool is_blind;  /* some folder cannot be watched, and that was said */
    bool is_closed;
};

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct watch *watch = event->data;

    (void)events, (void)status;
    if (name && name[0] == '.')
        return; /* hidden files are no part of a bundle: editors' swap files */
    uv_timer_again(&watch->quiet);
}

/* ---- which folders */

static struct folder *find(struct watch *watch, const char *path, ino_t inode)
{
    struct folder *folder = watch->folders;

    while (folder && (folder->inode != inode || strcmp(folder->path, path) != 0))
        folder = folder->next;
    return folder;
}

static void on_folder_closed(uv_handle_t *event)
{
    struct folder *folder = (struct folder *)event; /* its first member */

    free(folder->path);
    free(folder);
}

/* Once, and not of a folder that is gone again. */
static void tell_blindness(struct watch *watch, const char *path, int status)
{
    if (watch->is_blind || status == UV_ENOENT)
        return;
    watch->is_blind = true;
    ty_log_warn(
        "host",
        "files saved in %s will not be noticed: %s%s; `tycho reload` takes them all the same", path,
        uv_strerror(status),
        status == UV_ENOSPC || status == UV_EMFILE ? " (fs.inotify.*: see inotify(7))" : "");
}

static void add(struct watch *watch, const char *path, ino_t inode)
{
    struct folder *folder = find(watch, path, inode);
    int status;

    if (folder || watch->count == FOLDERS_MAX) {
        if (folder)
            folder->is_seen = true;
        return;
    }
    folder = ty_zalloc(sizeof(*folder));
    folder->path = ty_strdup(path);
    folder->inode = inode;
    folder->event.data = watch;
    folder->is_seen = true;
    uv_fs_event_init(&watch->master->loop, &folder->event);
    status = uv_fs_event_start(&folder->event, on_event, path, 0);
    if (status != 0) {
        tell_blindness(watch, path, status);
        uv_close((uv_handle_t *)&folder->event, on_folder_closed);
        return;
    }
    folder->next = watch->folders;
    watch->folders = folder;
    watch->count++;
}

static void walk(struct watch *watch, const char *path, int depth)
{
    struct dirent *entry;
    char below[PATH_MAX];
    struct stat st;
    DIR *dir = opendir(path);

    if (!dir)
        return;
    if (fstat(dirfd(dir), &st) == 0)
        add(watch, path, st.st_ino);
    while ((entry = readdir(dir)) && depth < DEPTH_MAX) {
        int len = snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && len > 0 && (size_t)len < sizeof(below) &&
            lstat(below, &st) == 0 && S_ISDIR(st.st_mode))
            walk(watch, below, depth + 1);
    }
    closedir(dir);
}

static void drop_unseen(struct watch *watch)
{
    struct folder **at = &watch->folders;

    while (*at) {
        struct folder *folder = *at;
        if (folder->is_seen) {
            folder->is_seen = false;
            at = &folder->next;
            continue;
        }
        *at = folder->next;
        watch->count--;
        uv_close((uv_handle_t *)&folder->event, on_folder_closed);
    }
}

/* conf/ beside conf/tycho.yaml, or what --config names. */
static void add_configuration(struct watch *watch)
{
    const char *file = watch->master->options->source->path;
    const char *slash = file ? strrchr(file, '/') : NULL;
    char folder[PATH_MAX];

    if (!file)
        snprintf(folder, sizeof(folder), "conf");
    else
        snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - file) : 1,
                 slash ? file : ".");
    walk(watch, folder[0] ? folder : "/", DEPTH_MAX); /* not what is below it */
}

static void look(struct watch *watch)
{
    walk(watch, ty_config_str(watch->master->config, "scripts.path"), 0);
    add_configuration(watch);
    drop_unseen(watch);
}

/* ---- what follows */

static void tell_faults(struct master *master, const char *faults)
{
    struct ty_buf *json = &master->fault;

    json->len = 0;
    ty_buf_adds(json, "{\"type\":\"faults\",\"text\":\"");
    ty_buf_add_json(json, faults, strlen(faults));
    ty_buf_adds(json, "\"}");
    ty_workers_tell(master, json->data, json->len);
    if (faults[0] == '\0')
        json->len = 0; /* nothing to tell to later ones */
}

static void on_reloaded(const struct reload_result *result, void *arg)
{
    struct watch *watch = arg;
    bool is_good = result->outcome <= RELOAD_UNCHANGED;

    if (watch->is_closed)
        return;
    if (!is_good)
        fprintf(stderr, "%s\n  still serving generation %s\n", result->text, result->id);
    else if (result->outcome == RELOAD_COMMITTED)
        printf("reloaded in %" PRIu64 " ms: generation %s\n", result->ms, result->id);
    else if (watch->is_broken)
        printf("good again: generation %s\n", result->id);
    if (is_good && result->warning[0])
        fprintf(stderr, "%s\n", result->warning);
    fflush(stdout);
    if (!is_good || watch->is_broken)
        tell_faults(watch->master, is_good ? "" : result->text);
    watch->is_broken = !is_good;
}

static void on_quiet(uv_timer_t *timer)
{
    struct watch *watch = timer->data;
    const struct reload_ask ask = {
        .kind = RELOAD_FILES, .is_said = true, .done = on_reloaded, .arg = watch};

    uv_timer_stop(timer);
    look(watch); /* there may be new folders */
    ty_reload_ask(watch->master->reload, &ask);
}

/* ---- */

struct watch *ty_watch_open(struct master *master)
{
    struct watch *watch = ty_zalloc(sizeof(*watch));

    watch->master = master;
    watch->quiet.data = watch;
    uv_timer_init(&master->loop, &watch->quiet);
    uv_timer_start(&watch->quiet, on_quiet, QUIET_MS, QUIET_MS); /* for uv_timer_again() */
    uv_timer_stop(&watch->quiet);
    look(watch);
    return watch;
}

void ty_watch_close(struct watch *watch)
{
    watch->is_closed = true;
    ty_reload_forget(watch->master->reload, watch);
    drop_unseen(watch); /* nothing is marked between walks: all */
    uv_close((uv_handle_t *)&watch->quiet, NULL);
}

void ty_watch_free(struct watch *watch)
{
    free(watch);
}
