/* Names for addresses of this process's code: what a profile shows of C.
 *
 * The symbol tables of the program and its libraries are read from their files, when an address
 * in one of them is first asked for; the program's own table has static functions too, which
 * dladdr() does not know. What has been stripped is named after its file. Only reads; what is
 * loaded later with dlopen() is not seen.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct ty_symbols;

struct ty_symbols *ty_symbols_new(void);
void ty_symbols_free(struct ty_symbols *symbols);

enum { TY_SYMBOL_MAX = 64 };

/* Writes the function's name without what the compiler put behind it ("parse", not
 * "parse.constprop.0"), or "[libx.so.1]", and returns its length; 0: the address is in no file,
 * as what LuaJIT has compiled. */
size_t ty_symbols_name(struct ty_symbols *symbols, uintptr_t address, char out[TY_SYMBOL_MAX]);
