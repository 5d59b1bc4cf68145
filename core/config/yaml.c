#include "config/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <yaml.h>

#include "tycho/memory.h"

struct reader {
    yaml_parser_t parser;
    yaml_event_t event; /* the one to look at */
    const char *path;
    size_t nodes;
    size_t key_line; /* of the member being read */
    struct ty_faults *faults;
};

static size_t line_of(const struct reader *reader)
{
    return reader->event.start_mark.line + 1;
}

static bool fail(struct reader *reader, const char *what)
{
    ty_fault(reader->faults, "%s:%zu: %s", reader->path, line_of(reader), what);
    return false;
}

static bool next(struct reader *reader)
{
    yaml_event_delete(&reader->event);
    if (yaml_parser_parse(&reader->parser, &reader->event))
        return true;

    const yaml_parser_t *parser = &reader->parser;
    size_t line = parser->problem_mark.line + 1;

    if (parser->error == YAML_READER_ERROR)
        ty_fault(reader->faults, "%s: not valid UTF-8 at byte %zu", reader->path,
                 parser->problem_offset);
    else
        ty_fault(reader->faults, "%s:%zu: not valid YAML: %s%s%s", reader->path, line,
                 parser->problem ? parser->problem : "out of memory", parser->context ? " " : "",
                 parser->context ? parser->context : "");
    return false;
}

static bool skip(struct reader *reader, int count)
{
    while (count-- > 0)
        if (!next(reader))
            return false;
    return true;
}

static struct ty_node *add(struct reader *reader, enum ty_node_type type, const char *name,
                           const char *text, struct ty_node *parent)
{
    struct ty_buf origin = {0};

    /* A section is where its name is, not its first member. */
    ty_buf_addf(&origin, "%s:%zu", reader->path, name ? reader->key_line : line_of(reader));
    struct ty_node *node = ty_node_new(type, name, text, ty_buf_cstr(&origin));
    ty_buf_close(&origin);
    ty_node_add(parent, node);
    return node;
}

static bool check_scalar(struct reader *reader)
{
    const yaml_char_t *text = reader->event.data.scalar.value;

    if (strlen((const char *)text) != reader->event.data.scalar.length)
        return fail(reader, "a NUL character in a value");
    if (reader->event.data.scalar.tag)
        return fail(reader, "tags (!...) are not used in configuration files");
    if (reader->event.data.scalar.anchor)
        return fail(reader, "anchors (&...) are not used in configuration files");
    return true;
}

static bool check_collection(struct reader *reader, int depth)
{
    bool map = reader->event.type == YAML_MAPPING_START_EVENT;
    const yaml_char_t *tag =
        map ? reader->event.data.mapping_start.tag : reader->event.data.sequence_start.tag;
    const yaml_char_t *anchor =
        map ? reader->event.data.mapping_start.anchor : reader->event.data.sequence_start.anchor;

    if (tag)
        return fail(reader, "tags (!...) are not used in configuration files");
    if (anchor)
        return fail(reader, "anchors (&...) are not used in configuration files");
    if (depth > TY_YAML_DEPTH_MAX)
        return fail(reader, "nested too deeply");
    return true;
}

static bool read_node(struct reader *reader, struct ty_node *parent, const char *name, int depth);

/* The key of the next member; false after a fault, or with *name NULL at the end of the map. */
static bool read_key(struct reader *reader, struct ty_node *map, char **name)
{
    *name = NULL;
    if (!next(reader))
        return false;
    if (reader->event.type == YAML_MAPPING_END_EVENT)
        return true;
    if (reader->event.type != YAML_SCALAR_EVENT)
        return fail(reader, "a key has to be a word");
    if (!check_scalar(reader))
        return false;

    const char *key = (const char *)reader->event.data.scalar.value;
    const struct ty_node *first = ty_node_child(map, key);

    if (!*key)
        return fail(reader, "a key has to be a word");
    if (first) {
        ty_fault(reader->faults, "%s:%zu: `%s` again, already at %s; remove one", reader->path,
                 line_of(reader), key, first->origin);
        return false;
    }
    *name = ty_strdup(key);
    reader->key_line = line_of(reader);
    return true;
}

static bool read_map(struct reader *reader, struct ty_node *map, int depth)
{
    for (;;) {
        char *name;

        if (!read_key(reader, map, &name))
            return false;
        if (!name)
            return true;
        bool fine = next(reader) && read_node(reader, map, name, depth);
        free(name);
        if (!fine)
            return false;
    }
}

static bool read_list(struct reader *reader, struct ty_node *list, int depth)
{
    for (;;) {
        if (!next(reader))
            return false;
        if (reader->event.type == YAML_SEQUENCE_END_EVENT)
            return true;
        if (!read_node(reader, list, NULL, depth))
            return false;
    }
}

static bool read_node(struct reader *reader, struct ty_node *parent, const char *name, int depth)
{
    struct ty_node *node;

    if (++reader->nodes > TY_YAML_NODES_MAX)
        return fail(reader, "too many values in one file");
    switch (reader->event.type) {
    case YAML_SCALAR_EVENT:
        if (!check_scalar(reader))
            return false;
        node = add(reader, TY_NODE_SCALAR, name, (const char *)reader->event.data.scalar.value,
                   parent);
        node->plain = reader->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        return true;
    case YAML_MAPPING_START_EVENT:
        return check_collection(reader, depth) &&
               read_map(reader, add(reader, TY_NODE_MAP, name, NULL, parent), depth + 1);
    case YAML_SEQUENCE_START_EVENT:
        return check_collection(reader, depth) &&
               read_list(reader, add(reader, TY_NODE_LIST, name, NULL, parent), depth + 1);
    default:
        return fail(reader, "aliases (*...) are not used in configuration files");
    }
}

static bool read_document(struct reader *reader, struct ty_node *holder)
{
    if (!skip(reader, 2)) /* the starts of the stream and of the document */
        return false;
    if (reader->event.type == YAML_STREAM_END_EVENT) {
        add(reader, TY_NODE_MAP, NULL, NULL, holder);
        return true;
    }
    if (!next(reader) || !read_node(reader, holder, NULL, 1))
        return false;
    struct ty_node *root = holder->children[0];
    if (ty_node_is_null(root))
        ty_node_empty(root);
    if (root->type != TY_NODE_MAP) {
        ty_fault(reader->faults, "%s: expected sections such as `http:`", root->origin);
        return false;
    }
    if (!skip(reader, 2))
        return false;
    if (reader->event.type != YAML_STREAM_END_EVENT)
        return fail(reader, "a second document; a configuration file has one");
    return true;
}

struct ty_node *ty_yaml_parse(const char *path, const char *data, size_t len,
                              struct ty_faults *faults)
{
    struct reader reader = {.path = path, .faults = faults};
    struct ty_node *holder = ty_node_new(TY_NODE_LIST, NULL, NULL, path);
    struct ty_node *root = NULL;

    if (!yaml_parser_initialize(&reader.parser)) {
        ty_fault(faults, "%s: out of memory", path);
    } else {
        yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
        yaml_parser_set_input_string(&reader.parser, (const unsigned char *)data, len);
        if (read_document(&reader, holder)) {
            root = holder->children[0];
            holder->count = 0;
        }
        yaml_event_delete(&reader.event);
        yaml_parser_delete(&reader.parser);
    }
    ty_node_free(holder);
    return root;
}

int ty_read_file(const char *path, size_t max, struct ty_buf *out)
{
    enum { CHUNK = 16 * 1024 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got;

    if (fd < 0)
        return -errno;
    while ((got = read(fd, ty_buf_reserve(out, CHUNK), CHUNK)) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        int code = got < 0 ? -errno : 0;
        if (got > 0 && (out->len += (size_t)got) > max)
            code = -EFBIG;
        if (code) {
            close(fd);
            return code;
        }
    }
    close(fd);
    return 0;
}

struct ty_node *ty_yaml_read(const char *path, bool *missing, struct ty_faults *faults)
{
    struct ty_buf text = {0};
    struct ty_node *root = NULL;
    int code = ty_read_file(path, TY_YAML_BYTES_MAX, &text);

    if (code == -ENOENT && missing)
        *missing = true;
    else if (code == -EFBIG)
        ty_fault(faults, "%s: larger than 1 MiB", path);
    else if (code)
        ty_fault(faults, "%s: cannot be read: %s", path, strerror(-code));
    else
        root = ty_yaml_parse(path, text.data ? text.data : "", text.len, faults);
    ty_buf_close(&text);
    return root;
}
