#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/local.h"
#include "cli/remote.h"
#include "cli/terminal.h"
#include "host/memory_file.h"
#include "tycho/clock.h"
#include "tycho/folded.h"

/* profile: what a running server spends its CPU time on, as a picture. */

enum { RATE = 199 }; /* not in step with what happens every 10 ms */

struct result {
    struct ty_folded *stacks;
    unsigned workers;
    uint64_t lost;
};

static void on_done(yyjson_val *root)
{
    size_t i, count;
    yyjson_val *worker;

    if (!yyjson_get_bool(yyjson_obj_get(root, "ok"))) {
        fprintf(stderr, "tycho: %s\n", answer_str(root, "error"));
        return;
    }
    yyjson_arr_foreach(yyjson_obj_get(root, "silent"), i, count, worker)
        fprintf(stderr, "tycho: worker %" PRIu64 " did not answer\n", yyjson_get_uint(worker));
}

static void on_reply(const char *json, size_t len, void *arg)
{
    struct result *result = arg;
    yyjson_doc *doc = yyjson_read(json, len, 0);
    yyjson_val *root = yyjson_doc_get_root(doc), *seen = yyjson_obj_get(root, "observed");
    const char *stacks = answer_str(seen, "stacks");

    if (yyjson_get_bool(yyjson_obj_get(root, "done"))) {
        on_done(root);
    } else if (*answer_str(seen, "error")) {
        fprintf(stderr, "tycho: worker %.0f: %s\n", answer_num(root, "worker"),
                answer_str(seen, "error"));
    } else if (seen) {
        result->workers++;
        result->lost += (uint64_t)answer_num(seen, "lost");
        ty_folded_merge(result->stacks, stacks, strlen(stacks));
    }
    yyjson_doc_free(doc);
}

static bool ends_in(const char *text, const char *end)
{
    size_t len = strlen(text), more = strlen(end);

    return len >= more && strcmp(text + len - more, end) == 0;
}

static int write_text(const char *path, const struct ty_buf *text)
{
    FILE *file = fopen(path, "w");
    bool ok = file && (text->len == 0 || fwrite(text->data, 1, text->len, file) == text->len);

    if (file && fclose(file) != 0)
        ok = false;
    if (!ok)
        fprintf(stderr, "tycho: %s: %s\n", path, strerror(errno));
    return ok ? TY_EXIT_DONE : TY_EXIT_FAILED;
}

/* The picture is drawn by Lua, which reads the stacks from a file of this process. */
static int draw(struct cli *cli, const char *path, const char *title, const struct ty_buf *text)
{
    static const char script[] = "require('tycho._private.flamegraph').main(...)";
    int fd = ty_memory_file_write("tycho-profile", text->data, text->len);
    struct local *local = fd >= 0 ? local_open(cli, "run", true) : NULL;
    int code = TY_EXIT_FAILED;
    char in[64];

    snprintf(in, sizeof(in), "/proc/self/fd/%d", fd);
    if (local) {
        char *args[] = {in, (char *)path, (char *)title, NULL};
        code = cli->engine->run("profile", script, strlen(script), 3, args);
        local_close(local);
    }
    if (fd >= 0)
        close(fd);
    return code;
}

static int save(struct cli *cli, const struct result *result, const char *path, double seconds)
{
    struct ty_buf text = {0}, title = {0};
    int code;

    ty_folded_render(result->stacks, &text);
    ty_buf_addf(&title, "%" PRIu64 " samples of %u worker%s in ", ty_folded_total(result->stacks),
                result->workers, result->workers == 1 ? "" : "s");
    term_duration(seconds, &title);
    if (ends_in(path, ".folded"))
        code = write_text(path, &text);
    else
        code = draw(cli, path, ty_buf_cstr(&title), &text);
    if (code == TY_EXIT_DONE)
        printf("%s: %s\n", path, ty_buf_cstr(&title));
    if (code == TY_EXIT_DONE && ty_folded_total(result->stacks) == 0)
        fputs("tycho: no worker used any CPU time meanwhile\n", stderr);
    if (result->lost + ty_folded_lost(result->stacks) > 0)
        fprintf(stderr, "tycho: %" PRIu64 " samples had no room and are missing\n",
                result->lost + ty_folded_lost(result->stacks));
    ty_buf_close(&text);
    ty_buf_close(&title);
    return code;
}

int cli_profile(struct cli *cli)
{
    const char *path = cli->values[OPTION_OUTPUT], *rate = cli->values[OPTION_RATE],
               *slot = cli->values[OPTION_WORKER];
    double seconds, hz = RATE, worker = 0;
    struct result result = {0};
    struct ty_buf command = {0};

    if (!cli_take_number(cli, "SECONDS", cli->args[0], &seconds) ||
        (rate && !cli_take_number(cli, "--rate", rate, &hz)) ||
        (slot && !cli_take_number(cli, "--worker", slot, &worker)))
        return TY_EXIT_USAGE;
    ty_buf_addf(&command, "{\"command\":\"profile\",\"seconds\":%g,\"rate\":%.0f,\"worker\":%.0f}",
                seconds, hz, worker);
    result.stacks = ty_folded_new();
    uint64_t began_ms = ty_now_ms();
    int code = cli_ask_all(cli, ty_buf_cstr(&command), on_reply, &result);
    double took = (double)(ty_now_ms() - began_ms) / 1000;
    if (took < seconds) /* the server stopped */
        seconds = took;
    if (code == TY_EXIT_DONE && result.workers == 0)
        code = TY_EXIT_FAILED;
    if (code == TY_EXIT_DONE)
        code = save(cli, &result, path ? path : "tycho-profile.svg", seconds);
    ty_folded_free(result.stacks);
    ty_buf_close(&command);
    return code;
}
