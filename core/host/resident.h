/* How much memory this process has in use, as the kernel counts it. */
#pragma once

#include <stdint.h>

/* 0 if the kernel does not say. */
uint64_t ty_resident_bytes(void);
