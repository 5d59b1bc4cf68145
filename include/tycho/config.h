/* The configuration: typed, checked, and explained.
 *
 * One table (core/config/keys.h) says for each key its type, default, range, whether it changes
 * live, whether it is secret, and what it is for; validation, `tycho config explain`, and the
 * commented conf/tycho.yaml come from it. Values come from, later ones winning: the table's
 * defaults, the file, the file of the environment (conf/tycho.<env>.yaml beside it),
 * TYCHO_<SECTION>__<KEY> (and TYCHO_..._FILE, which reads the value from a file), and the command
 * line (`--set a.b=c`). Keys under a name that the user chooses are written with a star in the
 * table (databases.*.url). `app` is a free tree for the application: any keys, any scalar, list or
 * map.
 *
 * Durations are written with a unit (5s, 250ms, 2m, 1h) and sizes too (64KiB, 1MiB); a bare
 * number for either is an error. A configuration never changes once loaded.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tycho/buffer.h"
#include "tycho/error.h"

struct ty_config;

/* By how much at least a script is stopped before its worker counts as stuck: lua.slice_max and
 * host.heartbeat_timeout. */
enum { TY_CONFIG_GUARD_MARGIN_MS = 500 };

struct ty_config_source {
    const char *path;             /* NULL: conf/tycho.yaml if it is there, else only the defaults */
    const char *env;              /* "dev", "test", "production"; NULL: TYCHO_ENV, or none */
    const char *const *overrides; /* "http.port=8080", NULL-terminated; NULL: none */
    const char *const *environ_;  /* NULL-terminated like environ; NULL: the process's */
};

/* Loads and checks everything. NULL on failure, with `error->message` naming
 * file:line (or the variable, or the option), the key, what was expected, and "did you mean". */
struct ty_config *ty_config_load(const struct ty_config_source *source, struct ty_error *error);
struct ty_config *ty_config_ref(struct ty_config *config);
void ty_config_unref(struct ty_config *config);

/* Typed reading; an unknown key or another type than the table's is a bug and aborts.
 * Strings live as long as the configuration. Optional strings that are unset or empty are NULL. */
const char *ty_config_str(const struct ty_config *config, const char *key);
bool ty_config_bool(const struct ty_config *config, const char *key);
int64_t ty_config_int(const struct ty_config *config, const char *key);
double ty_config_seconds(const struct ty_config *config, const char *key);
uint64_t ty_config_ms(const struct ty_config *config, const char *key); /* durations */
uint64_t ty_config_bytes(const struct ty_config *config, const char *key);
size_t ty_config_list(const struct ty_config *config, const char *key,
                      const char *const **items); /* of strings; returns the count */

/* The same below a starred key: section "databases", name "default", key "url"; or section
 * "log.levels", name "http" and no key (NULL). NULL or the default when it is not set.
 * ty_config_names() lists the names, sorted. */
const char *ty_config_named_str(const struct ty_config *config, const char *section,
                                const char *name, const char *key);
int64_t ty_config_named_int(const struct ty_config *config, const char *section, const char *name,
                            const char *key);
uint64_t ty_config_named_ms(const struct ty_config *config, const char *section, const char *name,
                            const char *key);
uint64_t ty_config_named_bytes(const struct ty_config *config, const char *section,
                               const char *name, const char *key);
size_t ty_config_names(const struct ty_config *config, const char *section,
                       const char *const **names);

/* For a process that inherits it, and for Lua: all values as one JSON object (nested; durations as
 * seconds, sizes as bytes). With `secrets` false, secret values read "[redacted]". */
void ty_config_json(const struct ty_config *config, bool secrets, struct ty_buf *out);

/* An exact copy for another process: everything ty_config_load() resolved. */
void ty_config_pack(const struct ty_config *config, struct ty_buf *out);
struct ty_config *ty_config_unpack(const char *data, size_t len);

/* For people: every key with its value and where that came from; or one key, explained (type,
 * unit, default, range, live or restart, environment variable, source). False: no such key, `out`
 * says what was perhaps meant. */
void ty_config_show(const struct ty_config *config, bool json, struct ty_buf *out);
bool ty_config_explain(const struct ty_config *config, const char *key, bool json,
                       struct ty_buf *out);

/* The commented default file, generated from the table; conf/tycho.yaml must equal it. */
void ty_config_default_yaml(struct ty_buf *out);

/* The same table for docs/configuration.md: Markdown, a table for each section. */
void ty_config_reference(struct ty_buf *out);

/* Keys that differ between two configurations and need a restart, comma-separated, into `out`. */
void ty_config_restart_keys(const struct ty_config *old, const struct ty_config *now,
                            struct ty_buf *out);
