/* Writes files as one C source: embed OUTPUT VERSION FILE...
 *
 * Runs on the building machine; what the table means is in tycho/embedded.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *name)
{
    perror(name);
    exit(1);
}

static const char *short_name(const char *path)
{
    const char *prefix = "scripts/";

    return strncmp(path, prefix, strlen(prefix)) == 0 ? path + strlen(prefix) : path;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(short_name(*(char *const *)a), short_name(*(char *const *)b));
}

/* Numbers, not a string literal: compilers may refuse literals of more than 4095 bytes. */
static size_t write_data(FILE *out, const char *path, int index)
{
    FILE *in = fopen(path, "rb");
    size_t len = 0;
    int byte;

    if (!in)
        die(path);
    fprintf(out, "static const unsigned char data_%d[] = {", index);
    while ((byte = getc(in)) != EOF)
        fprintf(out, "%s%d,", len++ % 24 ? "" : "\n", byte);
    if (ferror(in))
        die(path);
    fclose(in);
    fprintf(out, "\n0};\n\n");
    return len;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: embed OUTPUT VERSION FILE...\n");
        return 2;
    }

    FILE *out = fopen(argv[1], "w");
    char **paths = argv + 3;
    int count = argc - 3;
    size_t *lens = calloc((size_t)count + 1, sizeof(*lens));

    if (!out || !lens)
        die(argv[1]);
    qsort((void *)paths, (size_t)count, sizeof(*paths), compare_paths);
    fprintf(out, "#include \"tycho/embedded.h\"\n\nconst char ty_version[] = \"%s\";\n\n", argv[2]);
    for (int i = 0; i < count; i++)
        lens[i] = write_data(out, paths[i], i);

    fprintf(out, "const struct ty_embedded ty_embedded_files[] = {\n");
    for (int i = 0; i < count; i++)
        fprintf(out, "    {\"%s\", (const char *)data_%d, %zu},\n", short_name(paths[i]), i,
                lens[i]);
    fprintf(out, "    {0, 0, 0},\n};\nconst size_t ty_embedded_count = %d;\n", count);
    free(lens);
    if (fclose(out) != 0)
        die(argv[1]);
    return 0;
}
