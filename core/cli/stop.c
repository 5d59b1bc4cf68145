#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/remote.h"
#include "cli/terminal.h"

/* stop: the running server is told to end, and the command waits until it has. */

/* False: this kernel, or its rules, do not let us see. */
static bool wait_for_end(int pid)
{
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

    if (end.fd < 0)
        return errno == ESRCH; /* it has ended already */
    while (poll(&end, 1, -1) < 0 && errno == EINTR)
        ;
    close(end.fd);
    return true;
}

static void print(yyjson_val *root)
{
    int pid = (int)answer_num(root, "pid"); /* 0: an older program's answer */
    bool has_ended;

    term_progress("it finishes what it runs");
    has_ended = pid > 0 && wait_for_end(pid);
    term_progress(NULL);
    if (has_ended)
        printf("ok: pid %d has ended\n", pid);
    else
        printf("ok: it finishes what it runs\n");
}

int cli_stop(struct cli *cli)
{
    return cli_ask(cli, "{\"command\":\"stop\"}", print);
}
