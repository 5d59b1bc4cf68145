/* What this process uses, as the kernel counts it. */
#pragma once

#include <stdint.h>

/* 0 if the kernel does not say. */
uint64_t ty_resident_bytes(void);
/* Of all its threads, in user and in kernel mode. */
uint64_t ty_cpu_ms(void);
