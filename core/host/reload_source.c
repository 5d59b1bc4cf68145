#include "host/master.h"

struct generation *ty_reload_from_files(struct master *master, struct ty_buf *warning,
                                        struct ty_error *error)
{
    struct ty_config *config = ty_config_load(master->options->source, error);
    struct ty_buf keys = {0};
    struct ty_bundle *bundle;

    if (!config)
        return NULL;
    /* the folder is one of the keys that change at restart only */
    bundle = ty_bundle_read(ty_config_str(master->config, "scripts.path"), error);
    if (!bundle) {
        ty_config_unref(config);
        return NULL;
    }
    ty_config_restart_keys(master->config, config, &keys);
    if (keys.len > 0)
        ty_buf_addf(warning, "these settings change at the next restart only: %s",
                    ty_buf_cstr(&keys));
    ty_buf_close(&keys);
    return ty_generation_new(++master->last_number, bundle, config);
}

struct generation *ty_reload_from_history(struct master *master, const char *id,
                                          struct ty_buf *warning, struct ty_error *error)
{
    struct generation *old = id[0] ? ty_history_find(&master->history, id)
                                   : ty_history_before(&master->history, master->active);

    if (!old) {
        ty_error_set(error, TY_ERR_NOT_FOUND, NULL, "%s",
                     id[0] ? "no such generation is kept; `tycho generations` lists them"
                           : "there is no generation before this one");
        return NULL;
    }
    ty_buf_adds(warning, "the next reload loads what is on disk, which is not this");
    return ty_generation_new(++master->last_number, ty_bundle_ref(old->bundle),
                             ty_config_ref(master->active->config));
}
