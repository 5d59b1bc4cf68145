#define _GNU_SOURCE
#include "host/memory_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int ty_memory_file_write(const char *name, const char *data, size_t len)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    size_t done = 0;

    while (fd >= 0 && done < len) {
        ssize_t n = write(fd, data + done, len - done);
        if (n < 0 && errno != EINTR) {
            close(fd);
            return -1;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    return fd;
}

/* The file's position is shared with whoever else has it: read by offset. */
bool ty_memory_file_read(int fd, size_t max, struct ty_buf *out)
{
    struct stat st;
    size_t len;

    if (fstat(fd, &st) != 0 || st.st_size < 0 || (uint64_t)st.st_size > max)
        return false;
    len = (size_t)st.st_size;
    while (out->len < len) {
        ssize_t n = pread(fd, ty_buf_reserve(out, len - out->len), len - out->len, (off_t)out->len);
        if (n <= 0 && !(n < 0 && errno == EINTR))
            return false;
        out->len += n > 0 ? (size_t)n : 0;
    }
    return true;
}
