/* The program: a process of a running server, or a command. */
#include <fcntl.h>
#include <unistd.h>

#include "tycho/cli.h"
#include "tycho/host.h"

/* Whatever is opened next would get the number of one that is closed, and what is said aloud would
 * be written there. */
static void fill_standard_descriptors(void)
{
    int fd;

    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    fill_standard_descriptors();
    if (ty_host_is_child())
        return ty_host_child(&ty_lua_engine);
    return ty_cli_main(argc, argv, &ty_lua_engine);
}
