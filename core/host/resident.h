/* How much memory a process has in use, as the kernel counts it. */
#pragma once

#include <stdint.h>

/* Resident bytes; 0 if there is no such process. */
uint64_t ty_resident_bytes(int pid);
