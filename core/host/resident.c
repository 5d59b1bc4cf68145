#include "host/resident.h"

#include <stdio.h>
#include <unistd.h>

/* The second number of statm. */
uint64_t ty_resident_bytes(int pid)
{
    unsigned long pages = 0;
    char path[64];
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/statm", pid);
    file = pid ? fopen(path, "re") : NULL;
    if (!file)
        return 0;
    if (fscanf(file, "%*u %lu", &pages) != 1)
        pages = 0;
    fclose(file);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
