/* Configuration: a file, environment variables and overrides, as text.
 *
 * The first byte says what the rest is: a file, `NAME=value` lines of the environment, or
 * overrides. What loads packs, unpacks and reads the same; a refusal says something, in lines. The
 * packed form, which comes from another process, is read as it is, too.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "tycho/config.h"

enum { LINES_MAX = 16 };
enum { AS_FILE, AS_ENVIRONMENT, AS_OVERRIDES, AS_PACKED, KINDS };

static void check_copy(struct ty_config *config)
{
    struct ty_buf packed = {0}, first = {0}, second = {0};

    ty_config_pack(config, &packed);
    struct ty_config *copy = ty_config_unpack(packed.data, packed.len);

    REQUIRE(copy);
    ty_config_json(config, true, &first);
    ty_config_json(copy, true, &second);
    REQUIRE(
        same((struct ty_slice){first.data, first.len}, (struct ty_slice){second.data, second.len}));
    first.len = second.len = 0;
    ty_config_json(config, false, &first);
    ty_config_show(config, true, &first);
    ty_config_show(copy, false, &first);
    ty_config_explain(config, "http.port", false, &first);
    ty_config_restart_keys(config, copy, &second);
    REQUIRE(second.len == 0);
    ty_config_unref(copy);
    ty_buf_close(&packed);
    ty_buf_close(&first);
    ty_buf_close(&second);
}

/* Splits text at line ends, in place, into a list that ends in NULL. */
static void split(char *text, const char *lines[LINES_MAX + 1])
{
    size_t count = 0;

    for (char *line = strtok(text, "\n"); line && count < LINES_MAX; line = strtok(NULL, "\n"))
        lines[count++] = line;
    lines[count] = NULL;
}

/* A file without a place: nothing is left behind. */
static int write_file(const uint8_t *data, size_t size, char path[64])
{
    int fd = memfd_create("config", MFD_CLOEXEC);

    REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static void load(int kind, const uint8_t *data, size_t size)
{
    const char *lines[LINES_MAX + 1] = {NULL}, *none[] = {NULL};
    struct ty_error error = {0};
    char path[64], *text = calloc(1, size + 1);

    memcpy(text, data, size);
    int fd = write_file(data, kind == AS_FILE ? size : 0, path);

    if (kind != AS_FILE)
        split(text, lines);
    struct ty_config_source source = {
        .path = path,
        .environ_ = kind == AS_ENVIRONMENT ? lines : none,
        .overrides = kind == AS_OVERRIDES ? lines : none,
    };
    struct ty_config *config = ty_config_load(&source, &error);

    if (config) {
        check_copy(config);
        ty_config_unref(config);
    } else {
        REQUIRE(error.message[0]);
    }
    close(fd);
    free(text);
}

static void unpack(const uint8_t *data, size_t size)
{
    char *copy = exact_copy(data, size);
    struct ty_config *config = ty_config_unpack(copy, size);

    if (config)
        ty_config_unref(config);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    int kind = data[0] % KINDS;

    /* Variables that name files would have us read any file of the machine, or wait for a pipe. */
    if (kind == AS_ENVIRONMENT && memmem(data, size, "_FILE", 5))
        return 0;
    if (kind == AS_PACKED)
        unpack(data + 1, size - 1);
    else
        load(kind, data + 1, size - 1);
    return 0;
}
