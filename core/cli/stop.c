#include <errno.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/remote.h"
#include "cli/terminal.h"

/* stop: the running server is told to end, and the command waits until it has. */

static void wait_for_end(int pid)
{
    struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};

    if (end.fd < 0)
        return; /* it has ended already */
    while (poll(&end, 1, -1) < 0 && errno == EINTR)
        ;
    close(end.fd);
}

static void print(yyjson_val *root)
{
    int pid = (int)answer_num(root, "pid");

    if (pid <= 0) { /* an older program's answer */
        printf("ok: it finishes what it runs\n");
        return;
    }
    term_progress("it finishes what it runs");
    wait_for_end(pid);
    term_progress(NULL);
    printf("ok: pid %d has ended\n", pid);
}

int cli_stop(struct cli *cli)
{
    return cli_ask(cli, "{\"command\":\"stop\"}", print);
}
