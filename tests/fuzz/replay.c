/* Runs a fuzz target over the files of its corpus, without libFuzzer and with any compiler: what
 * was found once stays found, in every `make test`.
 */
#include <dirent.h>

#include "fuzz.h"

enum { INPUT_MAX = 1 << 20 };

static void run_file(const char *folder, const char *name)
{
    static uint8_t bytes[INPUT_MAX];
    char path[4096];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "r");

    REQUIRE(file);
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    uint8_t *copy = (uint8_t *)exact_copy(bytes, size);

    fclose(file);
    fprintf(stderr, "%s\n", path); /* the last one is at fault */
    LLVMFuzzerTestOneInput(copy, size);
    free(copy);
}

int main(int argc, char **argv)
{
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;
    size_t count = 0;

    REQUIRE(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        run_file(argv[1], entry->d_name);
        count++;
    }
    closedir(folder);
    REQUIRE(count);
    return 0;
}
