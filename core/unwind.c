#define _GNU_SOURCE
#include "tycho/unwind.h"

#include <link.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "tycho/memory.h"

/* A handler must not make an address sanitizer look at what it reads. */
#define RAW __attribute__((no_sanitize("address", "thread", "undefined")))

enum { MODULES_MAX = 128, REMEMBERED_MAX = 8 };

/* How .eh_frame_hdr and .eh_frame are written by today's linkers; anything else is left alone. */
enum { PCREL_SDATA4 = 0x1b, UDATA4 = 0x03, DATAREL_SDATA4 = 0x3b };

/* DWARF's numbers of x86-64's registers. */
enum { REG_BP = 6, REG_SP = 7, REG_RETURN = 16 };

struct module {
    uintptr_t first, last;
    const uint8_t *table; /* .eh_frame_hdr */
};

struct ty_unwinder {
    uintptr_t stack_first, stack_last; /* of the thread */
    struct module modules[MODULES_MAX];
    unsigned count;
};

/* ---- what there is */

static int on_module(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct ty_unwinder *unwinder = arg;
    struct module *module = &unwinder->modules[unwinder->count];

    (void)size;
    if (unwinder->count == MODULES_MAX)
        return 1;
    *module = (struct module){0};
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        uintptr_t first = info->dlpi_addr + part->p_vaddr, last = first + part->p_memsz;
        if (part->p_type == PT_GNU_EH_FRAME)
            module->table = (const uint8_t *)first;
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        module->first = module->last && module->first < first ? module->first : first;
        module->last = module->last > last ? module->last : last;
    }
    if (module->table && module->table[0] == 1 && module->table[1] == PCREL_SDATA4 &&
        module->table[2] == UDATA4 && module->table[3] == DATAREL_SDATA4)
        unwinder->count++;
    return 0;
}

struct ty_unwinder *ty_unwinder_new(void)
{
    struct ty_unwinder *unwinder = ty_zalloc(sizeof(*unwinder));
    pthread_attr_t attributes;
    void *stack;
    size_t size;

    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        if (pthread_attr_getstack(&attributes, &stack, &size) == 0) {
            unwinder->stack_first = (uintptr_t)stack;
            unwinder->stack_last = (uintptr_t)stack + size;
        }
        pthread_attr_destroy(&attributes);
    }
    dl_iterate_phdr(on_module, unwinder);
    return unwinder;
}

void ty_unwinder_free(struct ty_unwinder *unwinder)
{
    free(unwinder);
}

#ifdef __x86_64__

/* ---- reading the tables, which the linker made: they are trusted as code is */

struct reader {
    const uint8_t *at, *end;
};

RAW static uint64_t read_fixed(struct reader *reader, unsigned size)
{
    uint64_t number = 0;

    for (unsigned i = 0; i < size && reader->at < reader->end; i++)
        number |= (uint64_t)*reader->at++ << (8 * i);
    return number;
}

RAW static uint64_t read_uleb(struct reader *reader)
{
    uint64_t number = 0;
    uint8_t byte = 0x80;

    for (unsigned shift = 0; byte & 0x80 && reader->at < reader->end; shift += 7) {
        byte = *reader->at++;
        if (shift < 64)
            number |= (uint64_t)(byte & 0x7f) << shift;
    }
    return number;
}

RAW static int64_t read_sleb(struct reader *reader)
{
    uint64_t number = 0;
    unsigned shift = 0;
    uint8_t byte = 0x80;

    for (; byte & 0x80 && reader->at < reader->end; shift += 7) {
        byte = *reader->at++;
        if (shift < 64)
            number |= (uint64_t)(byte & 0x7f) << shift;
    }
    if (shift < 64 && byte & 0x40)
        number |= ~UINT64_C(0) << shift;
    return (int64_t)number;
}

/* The description of the function that holds `pc`; NULL: there is none. */
RAW static const uint8_t *find_entry(const struct ty_unwinder *unwinder, uintptr_t pc)
{
    const struct module *module = unwinder->modules, *end = module + unwinder->count;
    struct reader reader;
    size_t low = 0, high;

    while (module < end && (pc < module->first || pc >= module->last))
        module++;
    if (module == end)
        return NULL;
    reader = (struct reader){module->table + 8, module->table + 12};
    high = read_fixed(&reader, 4);
    while (low < high) {
        size_t middle = (low + high) / 2;
        const uint8_t *row = module->table + 12 + middle * 8;
        reader = (struct reader){row, row + 4};
        uintptr_t start = (uintptr_t)module->table + (uintptr_t)(int32_t)read_fixed(&reader, 4);
        if (start <= pc)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0)
        return NULL;
    reader = (struct reader){module->table + 12 + (low - 1) * 8 + 4,
                             module->table + 12 + (low - 1) * 8 + 8};
    return module->table + (int32_t)read_fixed(&reader, 4);
}

/* Where the caller's registers are, at one instruction. */
struct rule {
    unsigned cfa_register;
    int64_t cfa_offset;
    bool saves_bp;
    int64_t bp_offset; /* from the CFA */
};

struct program {
    uintptr_t at, pc; /* the instruction that is described; the one that is wanted */
    uint64_t code_factor;
    int64_t data_factor;
    struct rule rule, first, remembered[REMEMBERED_MAX];
    unsigned depth;
};

RAW static void save_register(struct program *p, uint64_t reg, int64_t offset)
{
    if (reg != REG_BP)
        return;
    p->rule.saves_bp = true;
    p->rule.bp_offset = offset;
}

RAW static void restore_register(struct program *p, uint64_t reg)
{
    if (reg != REG_BP)
        return;
    p->rule.saves_bp = p->first.saves_bp;
    p->rule.bp_offset = p->first.bp_offset;
}

/* Instructions about the frame's address; false: not one that we follow. */
RAW static bool run_cfa(struct program *p, struct reader *reader, uint8_t code)
{
    switch (code) {
    case 0x0c: /* def_cfa */
        p->rule.cfa_register = (unsigned)read_uleb(reader);
        p->rule.cfa_offset = (int64_t)read_uleb(reader);
        return true;
    case 0x0d: /* def_cfa_register */
        p->rule.cfa_register = (unsigned)read_uleb(reader);
        return true;
    case 0x0e: /* def_cfa_offset */
        p->rule.cfa_offset = (int64_t)read_uleb(reader);
        return true;
    case 0x12: /* def_cfa_sf */
        p->rule.cfa_register = (unsigned)read_uleb(reader);
        p->rule.cfa_offset = read_sleb(reader) * p->data_factor;
        return true;
    case 0x13: /* def_cfa_offset_sf */
        p->rule.cfa_offset = read_sleb(reader) * p->data_factor;
        return true;
    default:
        return false;
    }
}

/* Instructions about saved registers, and the rest; false: not one that we follow. */
RAW static bool run_extended(struct program *p, struct reader *reader, uint8_t code)
{
    uint64_t reg;

    switch (code) {
    case 0x00: /* nop */
        return true;
    case 0x02: /* advance_loc1, 2, 4 */
    case 0x03:
    case 0x04:
        p->at += read_fixed(reader, 1U << (code - 2)) * p->code_factor;
        return true;
    case 0x05: /* offset_extended */
        reg = read_uleb(reader);
        save_register(p, reg, (int64_t)read_uleb(reader) * p->data_factor);
        return true;
    case 0x06: /* restore_extended */
        restore_register(p, read_uleb(reader));
        return true;
    case 0x07: /* undefined: nobody called it */
        return read_uleb(reader) != REG_RETURN;
    case 0x08: /* same_value */
    case 0x2e: /* GNU_args_size */
        read_uleb(reader);
        return true;
    case 0x0a: /* remember_state */
        if (p->depth == REMEMBERED_MAX)
            return false;
        p->remembered[p->depth++] = p->rule;
        return true;
    case 0x0b: /* restore_state */
        if (p->depth == 0)
            return false;
        p->rule = p->remembered[--p->depth];
        return true;
    case 0x11: /* offset_extended_sf */
        reg = read_uleb(reader);
        save_register(p, reg, read_sleb(reader) * p->data_factor);
        return true;
    default:
        return run_cfa(p, reader, code);
    }
}

/* Follows the instructions until they pass the one that is wanted. */
RAW static bool run_program(struct program *p, struct reader reader)
{
    while (reader.at < reader.end) {
        uint8_t code = *reader.at++, operand = code & 0x3f;
        switch (code & 0xc0) {
        case 0x40:
            p->at += operand * p->code_factor;
            break;
        case 0x80:
            save_register(p, operand, (int64_t)read_uleb(&reader) * p->data_factor);
            break;
        case 0xc0:
            restore_register(p, operand);
            break;
        default:
            if (!run_extended(p, &reader, code))
                return false;
        }
        if (p->at > p->pc)
            return true;
    }
    return true;
}

RAW static struct reader entry_of(const uint8_t *entry)
{
    struct reader reader = {entry, entry + 4};
    uint32_t len = (uint32_t)read_fixed(&reader, 4);

    reader.end = len == UINT32_MAX ? entry + 4 : entry + 4 + len; /* 64-bit tables: none */
    return reader;
}

/* What all functions of a kind have in common. False: written in a way that we do not know. */
RAW static bool read_common(const uint8_t *entry, struct program *p, struct reader *initial)
{
    struct reader reader = entry_of(entry);
    const char *augmentation;

    read_fixed(&reader, 4); /* id */
    if (read_fixed(&reader, 1) != 1)
        return false;
    augmentation = (const char *)reader.at;
    while (reader.at < reader.end && *reader.at++)
        ;
    p->code_factor = read_uleb(&reader);
    p->data_factor = read_sleb(&reader);
    if (read_uleb(&reader) != REG_RETURN || augmentation[0] != 'z')
        return false;
    uint64_t len = read_uleb(&reader);
    *initial = (struct reader){reader.at + len, reader.end};
    for (const char *letter = augmentation + 1; *letter; letter++)
        if (*letter == 'S')
            return false; /* a signal's frame */
    return initial->at <= initial->end;
}

/* The rule at `pc`; false: unknown. */
RAW static bool find_rule(const struct ty_unwinder *unwinder, uintptr_t pc, struct rule *out)
{
    const uint8_t *entry = find_entry(unwinder, pc);
    struct program p = {.pc = pc};
    struct reader reader, initial;
    const uint8_t *field;

    if (!entry)
        return false;
    reader = entry_of(entry);
    field = reader.at;
    if (!read_common(field - read_fixed(&reader, 4), &p, &initial))
        return false;
    field = reader.at;
    p.at = (uintptr_t)field + (uintptr_t)(int32_t)read_fixed(&reader, 4);
    if (pc < p.at || pc >= p.at + read_fixed(&reader, 4))
        return false;
    uint64_t augmentation = read_uleb(&reader);
    reader.at += augmentation;
    p.pc = UINTPTR_MAX; /* the common part is for all of it */
    if (!run_program(&p, initial))
        return false;
    p.first = p.rule;
    p.pc = pc;
    if (!run_program(&p, reader))
        return false;
    *out = p.rule;
    return true;
}

/* ---- walking */

RAW static bool load(const struct ty_unwinder *unwinder, uintptr_t from, uintptr_t *out)
{
    if (from < unwinder->stack_first || from > unwinder->stack_last - sizeof(*out) ||
        from % sizeof(*out) != 0)
        return false;
    *out = *(const volatile uintptr_t *)from;
    return true;
}

struct frame {
    uintptr_t pc, sp, bp;
};

/* To the caller; `pc` is of an instruction inside of the function. */
RAW static bool step(const struct ty_unwinder *unwinder, struct frame *frame, uintptr_t pc)
{
    struct rule rule;
    uintptr_t cfa;

    if (!find_rule(unwinder, pc, &rule))
        return false;
    if (rule.cfa_register != REG_SP && rule.cfa_register != REG_BP)
        return false;
    cfa = (rule.cfa_register == REG_SP ? frame->sp : frame->bp) + (uintptr_t)rule.cfa_offset;
    if (cfa <= frame->sp || !load(unwinder, cfa - sizeof(cfa), &frame->pc))
        return false;
    if (rule.saves_bp && !load(unwinder, cfa + (uintptr_t)rule.bp_offset, &frame->bp))
        return false;
    frame->sp = cfa;
    return frame->pc != 0;
}

RAW unsigned ty_unwind(const struct ty_unwinder *unwinder, const void *context, uintptr_t *out,
                       unsigned max)
{
    const greg_t *registers = ((const ucontext_t *)context)->uc_mcontext.gregs;
    struct frame frame = {(uintptr_t)registers[REG_RIP], (uintptr_t)registers[REG_RSP],
                          (uintptr_t)registers[REG_RBP]};
    unsigned count = 0;

    if (max > 0)
        out[count++] = frame.pc;
    while (count < max && step(unwinder, &frame, frame.pc - (count > 1)))
        out[count++] = frame.pc;
    return count;
}

#else

unsigned ty_unwind(const struct ty_unwinder *unwinder, const void *context, uintptr_t *out,
                   unsigned max)
{
    (void)unwinder, (void)context, (void)out, (void)max;
#ifdef __aarch64__
    if (max > 0) {
        out[0] = (uintptr_t)((const ucontext_t *)context)->uc_mcontext.pc;
        return 1;
    }
#endif
    return 0;
}

#endif
