#include "tycho/config.h"

#include "config/value.h"

/* What the table says, as the commented default file and as a page of documentation. */

enum { LINE_MAX_ = 98 };

struct section {
    const char *path;
    const char *text;
};

static const struct section sections[] = {
#define X(path, text) {path, text},
    TY_CONFIG_SECTIONS(X)
#undef X
};

static void indent(struct ty_buf *out, size_t depth)
{
    for (size_t i = 0; i < depth; i++)
        ty_buf_adds(out, "  ");
}

/* `text` as lines of comment. */
static void add_comment(const char *text, size_t depth, struct ty_buf *out)
{
    while (*text) {
        size_t column = depth * 2 + 1;

        indent(out, depth);
        ty_buf_addc(out, '#');
        do {
            size_t len = strcspn(text, " ");
            ty_buf_addc(out, ' ');
            ty_buf_add(out, text, len);
            column += len + 1;
            text += len + strspn(text + len, " ");
        } while (*text && column + 1 + strcspn(text, " ") <= LINE_MAX_);
        ty_buf_addc(out, '\n');
    }
}

static const char *preset_of(const char *path)
{
#define X(preset, text)                \
    if (ty_path_matches(path, preset)) \
        return text;
    TY_CONFIG_PRESETS(X)
#undef X
    return "";
}

static void add_default(const struct ty_key *key, struct ty_buf *out)
{
    const char *text = key->fallback ? key->fallback : preset_of(key->path);

    if (key->type == TY_CONFIG_LIST || key->type == TY_CONFIG_NETWORKS)
        ty_buf_adds(out, "[]");
    else if (!*text || *text == '-')
        ty_buf_addf(out, "\"%s\"", text);
    else
        ty_buf_adds(out, text);
}

static const char *section_text(const char *path, size_t len)
{
    for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
        if (strlen(sections[i].path) == len && memcmp(sections[i].path, path, len) == 0)
            return sections[i].text;
    return NULL;
}

/* Opens the sections of `path` in which the row before was not; returns the depth. */
static size_t add_sections(const char *before, const char *path, struct ty_buf *out)
{
    size_t depth = 0;

    for (size_t at = 0, len; path[at + (len = strcspn(path + at, "."))]; at += len + 1, depth++) {
        const char *text = section_text(path, at + len);

        if (strncmp(before, path, at + len + 1) == 0)
            continue;
        if (depth == 0)
            ty_buf_addc(out, '\n');
        if (text && path[at] != '*')
            add_comment(text, depth, out);
        indent(out, depth);
        if (path[at] == '*')
            ty_buf_adds(out, "default:\n");
        else
            ty_buf_addf(out, "%.*s:\n", (int)len, path + at);
    }
    return depth;
}

/* A map of single values below a name of the user's: empty. */
static void add_empty_map(const char *pattern, struct ty_buf *out)
{
    const char *name = strchr(pattern, '.') + 1;
    size_t len = strcspn(name, ".");

    add_comment(section_text(pattern, (size_t)(name - pattern) + len), 1, out);
    ty_buf_addf(out, "  %.*s: {}\n", (int)len, name);
}

void ty_config_default_yaml(struct ty_buf *out)
{
    const char *before = "";

    ty_buf_adds(out,
                "# Every key of Tycho's configuration with its default: what is left out has "
                "the value that is\n# written here. `tycho config explain KEY` says more; "
                "the keys marked (restart) wait for a restart,\n# all others for a reload.\n\n");
    for (size_t i = 0; i < ty_key_count; i++) {
        const struct ty_key *key = &ty_keys[i];
        const char *name = strrchr(key->path, '.') ? strrchr(key->path, '.') + 1 : key->path;
        struct ty_buf text = {0};

        if (strcmp(name, "*") == 0) {
            add_empty_map(key->path, out);
            continue;
        }
        size_t depth = add_sections(before, key->path, out);
        before = key->path;
        ty_buf_adds(&text, key->text);
        if (key->flags & TY_CONFIG_RESTART)
            ty_buf_adds(&text, " (restart)");
        add_comment(ty_buf_cstr(&text), depth, out);
        ty_buf_close(&text);
        indent(out, depth);
        ty_buf_addf(out, "%s: ", name);
        add_default(key, out);
        ty_buf_addc(out, '\n');
    }
    ty_buf_addc(out, '\n');
    add_comment(section_text("app", 3), 0, out);
    ty_buf_adds(out, "app: {}\n");
}

static void add_markdown_row(const struct ty_key *key, struct ty_buf *out)
{
    struct ty_buf takes = {0};

    ty_key_describe(key, &takes);
    ty_buf_addf(out, "| `%s` | %s | ", key->path, ty_buf_cstr(&takes));
    if (key->fallback || *preset_of(key->path)) {
        ty_buf_addc(out, '`');
        add_default(key, out);
        ty_buf_addc(out, '`');
    }
    ty_buf_addf(out, " | %s | %s%s |\n", key->flags & TY_CONFIG_LIVE ? "reload" : "restart",
                key->text, key->flags & TY_CONFIG_SECRET ? " Secret: it never prints." : "");
    ty_buf_close(&takes);
}

static bool in_section(const char *path, const char *section)
{
    size_t len = strlen(section);

    return strncmp(path, section, len) == 0 && path[len] == '.' && !strchr(path + len + 1, '.');
}

void ty_config_reference(struct ty_buf *out)
{
    static const char head[] =
        "| key | takes | default | changes by | what it does |\n| --- | --- | --- | --- | --- |\n";

    ty_buf_adds(out, head);
    for (size_t i = 0; i < ty_key_count; i++)
        if (!strchr(ty_keys[i].path, '.'))
            add_markdown_row(&ty_keys[i], out);
    for (size_t s = 0; s < sizeof(sections) / sizeof(*sections); s++) {
        bool any = false;

        for (size_t i = 0; i < ty_key_count; i++) {
            if (!in_section(ty_keys[i].path, sections[s].path))
                continue;
            if (!any)
                ty_buf_addf(out, "\n## %s\n\n%s\n\n%s", sections[s].path, sections[s].text, head);
            any = true;
            add_markdown_row(&ty_keys[i], out);
        }
    }
}
