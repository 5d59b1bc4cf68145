#define _GNU_SOURCE
#include "tycho/symbols.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tycho/memory.h"

enum { MODULES_MAX = 128 };

struct symbol {
    uintptr_t start;
    size_t size;
    const char *name; /* in the mapped file */
};

struct module {
    char path[256];
    uintptr_t base, first, last; /* where its code is */
    bool is_read;
    void *file; /* NULL: it could not be read */
    size_t file_size;
    struct symbol *symbols; /* ascending */
    size_t count;
};

struct ty_symbols {
    struct module modules[MODULES_MAX];
    size_t count;
};

/* ---- which files there are */

static void add_code(struct module *module, const ElfW(Phdr) * part)
{
    uintptr_t first = module->base + part->p_vaddr, last = first + part->p_memsz;

    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
        return;
    if (!module->last || first < module->first)
        module->first = first;
    if (last > module->last)
        module->last = last;
}

static int on_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct ty_symbols *symbols = arg;
    struct module *module = &symbols->modules[symbols->count];

    (void)size;
    if (symbols->count == MODULES_MAX)
        return 1;
    snprintf(module->path, sizeof(module->path), "%s",
             *info->dlpi_name ? info->dlpi_name : "/proc/self/exe");
    module->base = info->dlpi_addr;
    for (unsigned i = 0; i < info->dlpi_phnum; i++)
        add_code(module, &info->dlpi_phdr[i]);
    symbols->count++;
    return 0;
}

struct ty_symbols *ty_symbols_new(void)
{
    struct ty_symbols *symbols = ty_zalloc(sizeof(*symbols));

    dl_iterate_phdr(on_module, symbols);
    return symbols;
}

void ty_symbols_free(struct ty_symbols *symbols)
{
    for (size_t i = 0; symbols && i < symbols->count; i++) {
        struct module *module = &symbols->modules[i];
        if (module->file)
            munmap(module->file, module->file_size);
        free(module->symbols);
    }
    free(symbols);
}

/* ---- what is in them */

static void map_file(struct module *module)
{
    struct stat st;
    int fd = open(module->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (fstat(fd, &st) == 0 && st.st_size > (off_t)sizeof(ElfW(Ehdr))) {
        module->file_size = (size_t)st.st_size;
        module->file = mmap(NULL, module->file_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (module->file == MAP_FAILED)
            module->file = NULL;
    }
    close(fd);
}

static bool is_inside(const struct module *module, size_t offset, size_t size)
{
    return offset <= module->file_size && size <= module->file_size - offset;
}

/* The table of all symbols, or else of those that are exported; NULL: neither. */
static const ElfW(Shdr) * find_table(const struct module *module)
{
    const ElfW(Ehdr) *head = module->file;
    const ElfW(Shdr) * sections, *found = NULL;

    if (memcmp(head->e_ident, ELFMAG, SELFMAG) != 0 || head->e_shentsize != sizeof(*sections) ||
        !is_inside(module, head->e_shoff, head->e_shnum * sizeof(*sections)))
        return NULL;
    sections = (const void *)((const char *)module->file + head->e_shoff);
    for (unsigned i = 0; i < head->e_shnum; i++) {
        const ElfW(Shdr) *section = &sections[i];
        if (section->sh_type != SHT_SYMTAB && (section->sh_type != SHT_DYNSYM || found))
            continue;
        if (section->sh_link < head->e_shnum &&
            is_inside(module, section->sh_offset, section->sh_size) &&
            is_inside(module, sections[section->sh_link].sh_offset,
                      sections[section->sh_link].sh_size))
            found = section;
    }
    return found;
}

static int by_start(const void *a, const void *b)
{
    uintptr_t left = ((const struct symbol *)a)->start, right = ((const struct symbol *)b)->start;

    return (left > right) - (left < right);
}

static void take_symbols(struct module *module, const ElfW(Shdr) * table)
{
    const ElfW(Ehdr) *head = module->file;
    const char *file = module->file;
    const ElfW(Shdr) *names =
        (const ElfW(Shdr) *)(const void *)(file + head->e_shoff) + table->sh_link;
    const ElfW(Sym) *entries = (const void *)(file + table->sh_offset);
    size_t count = table->sh_size / sizeof(*entries);

    module->symbols = ty_zalloc(count * sizeof(*module->symbols));
    for (size_t i = 0; i < count; i++) {
        const ElfW(Sym) *entry = &entries[i];
        int type = ELF64_ST_TYPE(entry->st_info); /* the same in ELF32 */
        if ((type != STT_FUNC && type != STT_GNU_IFUNC) || !entry->st_value ||
            entry->st_name >= names->sh_size)
            continue;
        module->symbols[module->count++] =
            (struct symbol){.start = module->base + entry->st_value,
                            .size = entry->st_size,
                            .name = file + names->sh_offset + entry->st_name};
    }
    qsort(module->symbols, module->count, sizeof(*module->symbols), by_start);
}

static void read_module(struct module *module)
{
    const ElfW(Shdr) * table;

    module->is_read = true;
    map_file(module);
    if (module->file && (table = find_table(module)))
        take_symbols(module, table);
}

/* ---- looking up */

/* The last symbol that begins at or before the address; NULL if that ends before it. */
static const struct symbol *find_symbol(const struct module *module, uintptr_t address)
{
    size_t low = 0, high = module->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (module->symbols[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = low; i > 0 && i + 4 > low; i--) { /* aliases may have no size */
        const struct symbol *symbol = &module->symbols[i - 1];
        if (address < symbol->start + symbol->size)
            return symbol;
    }
    return NULL;
}

size_t ty_symbols_name(struct ty_symbols *symbols, uintptr_t address, char out[TY_SYMBOL_MAX])
{
    struct module *module = symbols->modules, *end = module + symbols->count;
    const struct symbol *symbol;
    const char *file;

    while (module < end && (address < module->first || address >= module->last))
        module++;
    if (module == end)
        return 0;
    if (!module->is_read)
        read_module(module);
    if ((symbol = find_symbol(module, address))) {
        size_t len = strcspn(symbol->name, ".");
        snprintf(out, TY_SYMBOL_MAX, "%.*s", (int)(len ? len : strlen(symbol->name)), symbol->name);
    } else {
        file = strrchr(module->path, '/');
        snprintf(out, TY_SYMBOL_MAX, "[%.50s]",
                 strcmp(module->path, "/proc/self/exe") == 0 ? "tycho"
                 : file                                      ? file + 1
                                                             : module->path);
    }
    return strlen(out);
}
