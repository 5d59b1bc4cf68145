/* The program: a process of a running server, or a command. */
#include "tycho/cli.h"
#include "tycho/host.h"

int main(int argc, char **argv)
{
    if (ty_host_is_child())
        return ty_host_child(&ty_lua_engine);
    return ty_cli_main(argc, argv, &ty_lua_engine);
}
