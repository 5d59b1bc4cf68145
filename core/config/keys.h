/* Every key of the configuration, in one table.
 *
 * Checking, reading, `tycho config`, conf/tycho.yaml and docs/configuration.md come from here and
 * from nowhere else. Defaults and limits are written as a user would write them and go through
 * the same parser. A star stands for a name that the user chooses.
 *
 * Limits: "low..high" for numbers, durations and sizes; "a|b|c" for choices, also of the items
 * of a list; "token" for text of letters, digits, - and _; "" for none. Flags: LIVE (a reload
 * brings it into force) or RESTART; SECRET values never print.
 */
#pragma once

enum ty_config_type {
    TY_CONFIG_TEXT,
    TY_CONFIG_BOOLEAN,
    TY_CONFIG_INTEGER,
    TY_CONFIG_DURATION,
    TY_CONFIG_SIZE,
    TY_CONFIG_CHOICE,
    TY_CONFIG_LIST,
    TY_CONFIG_NETWORKS, /* a list of addresses, each perhaps with a prefix length */
    TY_CONFIG_DATABASE, /* text: where a database is */
};

enum { TY_CONFIG_LIVE = 1, TY_CONFIG_RESTART = 2, TY_CONFIG_SECRET = 4 };

/* clang-format off */
/*     section            what it is about */
#define TY_CONFIG_SECTIONS(X)                                                                      \
    X("http",             "The HTTP server.")                                                      \
    X("admin",            "The operators' listener: /livez, /readyz, /metrics.")                   \
    X("host",             "The master and its workers.")                                           \
    X("scripts",          "Where the application is and what it may do.")                          \
    X("reload",           "Generations: how new scripts take over from old ones.")                 \
    X("log",              "The log of the server and of the application.")                         \
    X("log.levels",       "Levels of single modules, such as `http: debug`.")                      \
    X("lua",              "Bounds of the Lua states.")                                             \
    X("databases",        "Databases by name; `default` is the one that tycho.db means.")          \
    X("databases.*",      "One database.")                                                         \
    X("password",         "Hashing of passwords.")                                                 \
    X("app",              "The application's own settings: any keys, read with tycho.config.")

/*     key                            type      default     limits            flags    what it does */
#define TY_CONFIG_KEYS(X)                                                                          \
    X("env",                          TEXT,     "",         "",               RESTART,             \
      "The environment: conf/tycho.<env>.yaml is read over conf/tycho.yaml. Usually dev, test or " \
      "production; given by --env or TYCHO_ENV.")                                                  \
    X("workers",                      INTEGER,  "0",        "0..64",          RESTART,             \
      "Web workers; 0: one for each core.")                                                        \
                                                                                                   \
    X("http.host",                    TEXT,     "127.0.0.1", "",              RESTART,             \
      "Address to listen on; 0.0.0.0 or :: for all.")                                              \
    X("http.port",                    INTEGER,  "8080",     "0..65535",       RESTART,             \
      "Port to listen on; 0: any free one, which is printed.")                                     \
    X("http.backlog",                 INTEGER,  "4096",     "1..65535",       RESTART,             \
      "Connections that may wait to be accepted, for each worker.")                                \
    X("http.requests_max",            INTEGER,  "4096",     "1..1000000",     LIVE,                \
      "Requests that one worker answers at the same time; more wait for their turn.")              \
    X("http.queue_max",               INTEGER,  "1024",     "0..1000000",     LIVE,                \
      "Requests that may wait for their turn in one worker; above: 503 at once.")                  \
    X("http.queue_timeout",           DURATION, "1s",       "0s..10m",        LIVE,                \
      "How long a request may wait for its turn; then: 503.")                                      \
    X("http.shed_lag",                DURATION, "50ms",     "0s..10s",        LIVE,                \
      "A worker whose loop stays slower than this sheds load: late requests get 503; 0s: never.")  \
    X("http.max_connections",         INTEGER,  "10000",    "1..1000000",     LIVE,                \
      "Connections of one worker; at this number it accepts no more until one closes.")            \
    X("http.target_max",              SIZE,     "8KiB",     "64B..1MiB",      LIVE,                \
      "Longest request target; above: 414.")                                                       \
    X("http.header_max",              SIZE,     "32KiB",    "1KiB..16MiB",    LIVE,                \
      "Largest header section; above: 431.")                                                       \
    X("http.field_max",               SIZE,     "8KiB",     "64B..1MiB",      LIVE,                \
      "Largest single header field; above: 431.")                                                  \
    X("http.header_count_max",        INTEGER,  "100",      "1..10000",       LIVE,                \
      "Most header fields; above: 431.")                                                           \
    X("http.body_max",                SIZE,     "1MiB",     "0B..2GiB",       LIVE,                \
      "Largest request body unless the route says otherwise; above: 413.")                         \
    X("http.chunk_line_max",          SIZE,     "1KiB",     "16B..64KiB",     LIVE,                \
      "Longest chunk-size line of a chunked body; above: 400.")                                    \
    X("http.chunk_extension_max",     SIZE,     "8KiB",     "0B..1MiB",       LIVE,                \
      "All chunk extensions of one message together; above: 400.")                                 \
    X("http.pending_max",             SIZE,     "64KiB",    "4KiB..16MiB",    LIVE,                \
      "Pipelined bytes kept while a request is being answered; then reading stops.")               \
    X("http.send_max",                SIZE,     "256KiB",   "16KiB..64MiB",   LIVE,                \
      "Unsent bytes of an answer kept for a slow client; then the writer waits.")                  \
    X("http.send_total_max",          SIZE,     "128MiB",   "1MiB..64GiB",    LIVE,                \
      "Unsent bytes kept for all clients of one worker; above: the slowest are cut off.")          \
    X("http.header_timeout",          DURATION, "10s",      "100ms..1h",      LIVE,                \
      "For the whole header section of a request; then: 408.")                                     \
    X("http.body_timeout",            DURATION, "15s",      "100ms..1h",      LIVE,                \
      "A body slower than 1 KiB/s on average over this time: 408.")                                \
    X("http.keepalive_timeout",       DURATION, "60s",      "100ms..1d",      LIVE,                \
      "An idle connection is closed after this.")                                                  \
    X("http.send_timeout",            DURATION, "30s",      "100ms..1h",      LIVE,                \
      "A client that takes nothing of its answer for this long is cut off.")                       \
    X("http.linger_timeout",          DURATION, "2s",       "0s..1m",         LIVE,                \
      "How long the rest of a refused body is still read, so that the answer arrives.")            \
    X("http.linger_max",              SIZE,     "256KiB",   "0B..64MiB",      LIVE,                \
      "How much of it.")                                                                           \
    X("http.request_timeout",         DURATION, "30s",      "10ms..1d",       LIVE,                \
      "Deadline of a request's handler unless the route says otherwise; then: 504.")               \
    X("http.trusted_proxies",         NETWORKS, "",         "",               LIVE,                \
      "Proxies whose X-Forwarded-For is believed: addresses or networks such as 10.0.0.0/8.")      \
    X("http.server_name",             TEXT,     "",         "",               LIVE,                \
      "Value of the Server field in answers; empty: none.")                                        \
    X("http.generation_header",       TEXT,     "Tycho-Generation", "token",  LIVE,                \
      "Field of answers that names the generation of scripts that made it; empty: none.")          \
    X("http.trace_header",            BOOLEAN,  "true",     "",               LIVE,                \
      "Whether answers carry traceparent.")                                                        \
    X("http.access_log",              BOOLEAN,  "true",     "",               LIVE,                \
      "Whether each request is logged.")                                                           \
                                                                                                   \
    X("admin.host",                   TEXT,     "127.0.0.1", "",              RESTART,             \
      "Address of the operators' listener.")                                                       \
    X("admin.port",                   INTEGER,  "9180",     "0..65535",       RESTART,             \
      "Its port; 0: any free one, which is printed.")                                              \
                                                                                                   \
    X("host.socket",                  TEXT,     ".tycho/control.sock", "",    RESTART,             \
      "Control socket: how `tycho reload`, `status` and the like reach the server.")               \
    X("host.pid_file",                TEXT,     "",         "",               RESTART,             \
      "Where to write the master's process id; empty: nowhere.")                                   \
    X("host.shutdown_timeout",        DURATION, "30s",      "0s..1h",         LIVE,                \
      "How long requests in flight may take after SIGTERM.")                                       \
    X("host.start_timeout",           DURATION, "10s",      "1s..10m",        LIVE,                \
      "A worker that is not ready after this is replaced.")                                        \
    X("host.heartbeat_timeout",       DURATION, "5s",       "1s..10m",        LIVE,                \
      "A worker silent for this long is killed and replaced.")                                     \
                                                                                                   \
    X("host.upgrade_timeout",         DURATION, "30s",      "1s..10m",        LIVE,                \
      "A new program (`tycho upgrade`) that does not serve after this is given up.")               \
    X("host.worker_memory_max",       SIZE,     "0B",       "0B..1024GiB",    LIVE,                \
      "A worker with more resident memory than this finishes and is replaced; 0B: one and a half " \
      "times lua.memory_max, and at least 64MiB more than that.")                                  \
    X("host.core_dumps",              BOOLEAN,  "false",    "",               RESTART,             \
      "Whether a crash leaves a core file: it would hold secrets.")                                \
                                                                                                   \
    X("scripts.path",                 TEXT,     "scripts",  "",               RESTART,             \
      "Folder of the application: app/ and tasks/ in it.")                                         \
    X("scripts.grants",               LIST,     "",         "ffi|os.execute|io|debug|bytecode",    \
      LIVE,                                                                                        \
      "What application code may use besides the safe part of Lua.")                               \
                                                                                                   \
    X("reload.drain_timeout",         DURATION, "30s",      "0s..1d",         LIVE,                \
      "How long an old generation may finish what it runs.")                                       \
    X("reload.max_age",               DURATION, "1h",       "0s..7d",         LIVE,                \
      "How long streamed answers of an old generation may go on; see also max_alive.")             \
    X("reload.load_timeout",          DURATION, "2s",       "10ms..10m",      LIVE,                \
      "Loading scripts longer than this is stopped: they wait or loop.")                           \
    X("reload.check_timeout",         DURATION, "10s",      "10ms..1h",       LIVE,                \
      "For the application's own checks of a new generation.")                                     \
    X("reload.keep",                  INTEGER,  "5",        "1..100",         LIVE,                \
      "Generations kept for `tycho rollback`.")                                                    \
    X("reload.max_alive",             INTEGER,  "3",        "2..16",          LIVE,                \
      "Generations alive at once in a worker, draining ones included.")                            \
                                                                                                   \
    X("log.level",                    CHOICE,   "info",     "debug|info|warn|error|off", LIVE,     \
      "Least level that is written.")                                                              \
    X("log.path",                     TEXT,     "-",        "",               RESTART,             \
      "File to write to, opened again on SIGUSR1; - for standard error.")                          \
    X("log.format",                   CHOICE,   "auto",     "auto|json|pretty", RESTART,           \
      "json: one object a line; pretty: for people; auto: pretty on a terminal.")                  \
    X("log.buffer",                   SIZE,     "1MiB",     "16KiB..256MiB",  RESTART,             \
      "Records waiting for a slow disk; more are dropped and counted.")                            \
    X("log.levels.*",                 CHOICE,   NULL,       "debug|info|warn|error|off", LIVE,     \
      "Least level of one module.")                                                                \
                                                                                                   \
    X("lua.memory_max",               SIZE,     "256MiB",   "8MiB..64GiB",    LIVE,                \
      "Memory of one Lua state.")                                                                  \
    X("lua.fibers_max",               INTEGER,  "10000",    "16..1000000",    LIVE,                \
      "Fibers of one Lua state; a request above this gets 503.")                                   \
                                                                                                   \
    X("lua.slice_warn",               DURATION, "50ms",     "0s..1m",         LIVE,                \
      "A script that holds its worker's loop for longer is logged with its line; 0s: none is.")    \
    X("lua.slice_max",                DURATION, "1s",       "10ms..4s",       LIVE,                \
      "A script that holds the loop for longer is stopped: 503; a route may say otherwise.")       \
    X("lua.cpu_max",                  DURATION, "10s",      "10ms..1h",       LIVE,                \
      "Time that a request's scripts may run in all, waits not counted; then: 503.")               \
    X("lua.strikes_max",              INTEGER,  "0",        "0..1000",        LIVE,                \
      "A route stopped so often within lua.quarantine is closed for that long; 0: none is.")       \
    X("lua.quarantine",               DURATION, "60s",      "1s..1d",         LIVE,                \
      "How long a route stays closed that had to be stopped too often.")                           \
                                                                                                   \
    X("databases.*.url",              DATABASE, NULL,       "",               RESTART | SECRET,    \
      "Where it is: sqlite:FILE, postgres://USER@HOST/NAME, mysql://USER@HOST/NAME.")              \
    X("databases.*.password",         TEXT,     NULL,       "",               RESTART | SECRET,    \
      "Of the user in the URL; better here, or in a file, than in the URL.")                       \
    X("databases.*.pool_max",         INTEGER,  "20",       "1..1000",        RESTART,             \
      "Servers: connections of all workers together, at every moment.")                            \
    X("databases.*.pool_min",         INTEGER,  "0",        "0..1000",        RESTART,             \
      "Servers: connections that each worker keeps open.")                                         \
    X("databases.*.pipelines",        INTEGER,  "2",        "1..64",          RESTART,             \
      "Servers: connections of a worker that single statements share.")                            \
    X("databases.*.connect_timeout",  DURATION, "2s",       "10ms..10m",      RESTART,             \
      "Servers: how long connecting may take.")                                                    \
    X("databases.*.query_timeout",    DURATION, "5s",       "0s..24h",        RESTART,             \
      "Servers: how long a statement may take; 0s: as long as its request lives.")                 \
    X("databases.*.lifetime",         DURATION, "30m",      "1s..24h",        RESTART,             \
      "Servers: a connection that old is replaced, give or take a tenth.")                         \
    X("databases.*.idle_timeout",     DURATION, "10m",      "1s..24h",        RESTART,             \
      "Servers: a connection that nobody needed for so long is closed.")                           \
    X("databases.*.prepare",          CHOICE,   "auto",     "auto|always|never", RESTART,          \
      "PostgreSQL: prepared statements; auto: unless a pooler is in between.")                     \
    X("databases.*.replicas",         LIST,     "",         "",               RESTART,             \
      "Names of other databases that follow this one and may answer what only reads.")             \
    X("databases.*.readers",          INTEGER,  "4",        "1..64",          RESTART,             \
      "Reading connections of one worker, besides the one that writes.")                           \
    X("databases.*.busy_timeout",     DURATION, "5s",       "0s..10m",        RESTART,             \
      "How long to wait for another process that writes.")                                         \
    X("databases.*.wait_timeout",     DURATION, "1s",       "1ms..10m",       RESTART,             \
      "How long a query may wait for a connection; then: 503.")                                    \
    X("databases.*.queue_max",        INTEGER,  "1024",     "1..1000000",     RESTART,             \
      "Queries that may wait for a connection; above: 503 at once.")                               \
    X("databases.*.statements",       INTEGER,  "100",      "1..10000",       RESTART,             \
      "Prepared statements kept by each connection.")                                              \
    X("databases.*.result_max",       SIZE,     "64MiB",    "64KiB..2GiB",    RESTART,             \
      "Largest result of one query.")                                                              \
    X("databases.*.synchronous",      CHOICE,   "normal",   "normal|full",    RESTART,             \
      "full: a commit survives a power cut; normal: it survives a crash of the server.")           \
    X("databases.*.slow",             DURATION, "200ms",    "0s..1h",         RESTART,             \
      "Queries slower than this are logged; 0s: none.")                                            \
    X("databases.*.migrate",          CHOICE,   "auto",     "auto|manual",    LIVE,                \
      "auto: migrations are applied at the start; manual: by hand.")                                                \
                                                                                                   \
    X("password.cost",                INTEGER,  "12",       "4..20",          LIVE,                \
      "bcrypt's cost: each step doubles the time of a hash. Below 12 only in tests.")              \
    X("password.parallel",            INTEGER,  "2",        "1..64",          RESTART,             \
      "Hashes computed at once by one worker.")                                                    \
    X("password.queue",               INTEGER,  "64",       "0..100000",      RESTART,             \
      "Hashes that may wait; above: 503.")

/*     key                      value                      what is set before any file is read */
#define TY_CONFIG_PRESETS(X)                                                                       \
    X("databases.default.url",  "sqlite:data/tycho.db")
/* clang-format on */
