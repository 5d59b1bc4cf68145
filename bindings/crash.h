/* The scripts' part of a crash record (tycho/crash.h): the Lua stack that the process dies in. */
#pragma once

#include "tycho/crash.h"

struct ty_vm;

/* The state whose scripts are running, NULL between them; written by whoever runs some. */
extern struct ty_vm *volatile ty_crash_vm;

/* The engine's `crashed`. */
void ty_crash_describe(struct ty_crash_scripts *out);
