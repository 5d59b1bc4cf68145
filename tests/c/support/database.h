/* A real database server for a test program: PostgreSQL, MariaDB, PgBouncer, started with
 * tests/support/database.sh (which says what the words are) at a free port of 127.0.0.1.
 *
 * One for a whole program (group set-up and teardown) is quick enough: it takes half a second. If
 * the program dies the server dies, and the next start of any server clears its folder away. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka.h needs the four above */
#include <arpa/inet.h>
#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DATABASE_WORDS = 8, DATABASE_TRIES = 3000 /* of 10 ms */ };

struct database {
    char folder[64];
    char port_text[8];
    int port;
    int pid;                               /* 0: not running */
    const char *kind;                      /* "postgres", "mariadb", "pgbouncer" */
    const char *words[DATABASE_WORDS + 1]; /* "max_connections=20", "password=..", NULL */
    char answer[1 << 14];                  /* of the last statement */
};

static inline int database_free_port(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool found = fd >= 0 && bind(fd, (struct sockaddr *)&at, len) == 0 &&
                 getsockname(fd, (struct sockaddr *)&at, &len) == 0;

    if (fd >= 0)
        close(fd);
    return found ? ntohs(at.sin_port) : 0;
}

/* Runs database.sh with `command`, the folder and two more arguments, or NULL; its output goes to
 * `answer`. Returns its status. */
static inline int database_do(struct database *db, const char *command, const char *one,
                              const char *two)
{
    int ends[2], status = -1;
    size_t len = 0;
    ssize_t got = 1;
    pid_t pid;

    if (pipe(ends) != 0 || (pid = fork()) < 0)
        return -1;
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execl("tests/support/database.sh", "database.sh", command, db->folder, one, two,
              (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    for (; got > 0 && len<sizeof(db->answer) - 1; len += got> 0 ? (size_t)got : 0)
        got = read(ends[0], db->answer + len, sizeof(db->answer) - 1 - len);
    db->answer[len] = '\0';
    close(ends[0]);
    waitpid(pid, &status, 0);
    return status;
}

static inline bool database_says_ready(const struct database *db)
{
    static const char *const words[] = {"ready to accept", "ready for connections", "process up"};
    char path[96], line[512];
    bool ready = false;
    FILE *log;

    snprintf(path, sizeof(path), "%s/log.%d", db->folder, db->pid);
    log = fopen(path, "r");
    while (log && !ready && fgets(line, sizeof(line), log))
        for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
            ready = ready || strstr(line, words[i]) != NULL;
    if (log)
        fclose(log);
    return ready;
}

/* Starts it (again) in its folder. Returns 0, or -1 if it does not get ready. */
static inline int database_launch(struct database *db)
{
    const char *args[DATABASE_WORDS + 5] = {"database.sh", db->kind, db->folder, db->port_text};
    const struct timespec pause = {.tv_nsec = 10000000};
    pid_t parent = getpid();

    for (int i = 0; i < DATABASE_WORDS && db->words[i]; i++)
        args[4 + i] = db->words[i];
    db->pid = fork();
    if (db->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent)
            execv("tests/support/database.sh", (char *const *)args);
        _exit(127);
    }
    for (int i = 0; db->pid > 0 && i < DATABASE_TRIES; i++) {
        if (database_says_ready(db))
            return 0;
        if (waitpid(db->pid, NULL, WNOHANG) == db->pid)
            break;
        nanosleep(&pause, NULL);
    }
    fprintf(stderr, "%s does not start: see %s\n", db->kind, db->folder);
    return -1;
}

/* Starts a server of this kind, with `words` (NULL: none) of database.sh. Returns 0 or -1. The
 * words are not copied. */
static inline int database_start(struct database *db, const char *kind, const char *const *words)
{
    static int count;

    memset(db, 0, sizeof(*db));
    db->kind = kind;
    db->port = database_free_port();
    snprintf(db->port_text, sizeof(db->port_text), "%d", db->port);
    snprintf(db->folder, sizeof(db->folder), "/tmp/tycho-servers-%u/%d.c%d", getuid(), getpid(),
             ++count);
    for (int i = 0; words && words[i] && i < DATABASE_WORDS; i++)
        db->words[i] = words[i];
    return database_launch(db);
}

static inline void database_wait(struct database *db)
{
    if (db->pid > 0)
        waitpid(db->pid, NULL, 0);
    db->pid = 0;
}

/* Asks it to end, without waiting for its clients, and waits. */
static inline void database_stop(struct database *db)
{
    if (db->pid > 0)
        kill(db->pid, strcmp(db->kind, "postgres") == 0 ? SIGINT : SIGTERM);
    database_wait(db);
}

/* Kills all its processes at once. */
static inline void database_kill(struct database *db)
{
    database_do(db, "kill", NULL, NULL);
    database_wait(db);
}

/* Kills it and removes its folder. */
static inline void database_remove(struct database *db)
{
    database_do(db, "remove", NULL, NULL);
    database_wait(db);
}

/* Runs statements past everything of ours, in the database `name`; NULL: the one that is always
 * there. Returns the rows as text, lines of "|" (MariaDB: tab) between columns, until the next
 * call; the test fails if they fail. */
static inline const char *database_sql(struct database *db, const char *name, const char *text)
{
    size_t len;

    if (!name)
        name = strcmp(db->kind, "mariadb") == 0 ? "mysql" : "postgres";
    if (database_do(db, "sql", name, text) != 0)
        fail_msg("%s: %s", text, db->answer);
    len = strlen(db->answer);
    if (len > 0 && db->answer[len - 1] == '\n')
        db->answer[len - 1] = '\0';
    return db->answer;
}
