#include "cli/command.h"

#include <llhttp.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <uv.h>
#include <yaml.h>
#include <yyjson.h>
#include <zlib.h>

#include "tycho/embedded.h"

#define TEXT_OF(x) #x
#define VERSION_OF(a, b, c) TEXT_OF(a) "." TEXT_OF(b) "." TEXT_OF(c)

int cli_version(struct cli *cli)
{
    const struct ty_engine *engine = cli->engine;
    const struct {
        const char *name;
        const char *version;
    } parts[] = {
        {"luajit", engine->version},
        {"libuv", uv_version_string()},
        {"llhttp", VERSION_OF(LLHTTP_VERSION_MAJOR, LLHTTP_VERSION_MINOR, LLHTTP_VERSION_PATCH)},
        {"openssl", OpenSSL_version(OPENSSL_FULL_VERSION_STRING)},
        {"sqlite", sqlite3_libversion()},
        {"yyjson", YYJSON_VERSION_STRING},
        {"libyaml", yaml_get_version_string()},
        {"zlib", zlibVersion()},
    };
    size_t count = sizeof(parts) / sizeof(*parts);

    if (cli->values[OPTION_JSON]) {
        printf("{\"tycho\":\"%s\"", ty_version);
        for (size_t i = 0; i < count; i++)
            printf(",\"%s\":\"%s\"", parts[i].name, parts[i].version);
        printf(",\"stops_endless_loops\":%s}\n", engine->stops_loops ? "true" : "false");
        return TY_EXIT_DONE;
    }
    printf("tycho    %s\n", ty_version);
    for (size_t i = 0; i < count; i++)
        printf("%-8s %s%s\n", parts[i].name, parts[i].version,
               i                     ? ""
               : engine->stops_loops ? ", with CHECKHOOK: endless loops can be stopped"
                                     : ", without CHECKHOOK: a worker in an endless loop is "
                                       "killed");
    return TY_EXIT_DONE;
}
