/* For the tests of the configuration: a folder for each program, an environment for each test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tycho/config.h"

static char folder[] = "/tmp/tycho-config-XXXXXX";
static const char *const no_environment[] = {NULL};

static inline const char *in_folder(const char *name)
{
    static char paths[4][128];
    static unsigned turn;
    char *path = paths[turn++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static inline void write_file(const char *name, const char *text)
{
    int fd = open(in_folder(name), O_CREAT | O_TRUNC | O_WRONLY, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static struct ty_error error;

static inline struct ty_config *load_with(const char *yaml, const char *env,
                                          const char *const *environ_, const char *const *overrides)
{
    const struct ty_config_source source = {
        .path = in_folder("tycho.yaml"),
        .env = env,
        .environ_ = environ_ ? environ_ : no_environment,
        .overrides = overrides,
    };

    write_file("tycho.yaml", yaml);
    error.message[0] = '\0';
    return ty_config_load(&source, &error);
}

static inline struct ty_config *load(const char *yaml)
{
    return load_with(yaml, NULL, NULL, NULL);
}

/* The faults of `yaml`, without the folder's name in front of each. */
static inline const char *faults_of(const char *yaml, const char *const *environ_,
                                    const char *const *overrides)
{
    static char text[TY_ERROR_MESSAGE_MAX];
    char *to = text;
    size_t skip = strlen(folder) + 1;

    assert_null(load_with(yaml, NULL, environ_, overrides));
    for (const char *from = error.message; *from;) {
        if (strncmp(from, folder, skip - 1) == 0)
            from += skip;
        else
            *to++ = *from++;
    }
    *to = '\0';
    return text;
}

static inline void assert_fault(const char *yaml, const char *fault)
{
    assert_string_equal(faults_of(yaml, NULL, NULL), fault);
}

static inline int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"tycho.yaml", "tycho.staging.yaml", "url", "key"};

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        unlink(in_folder(names[i]));
    return rmdir(folder);
}
