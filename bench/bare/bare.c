/* "Hello, World!" with libuv and llhttp and nothing else: no limits, no timeouts, no routes, no
 * metrics. What its CPU time per request is, no server on these two libraries can beat. */
#include <arpa/inet.h>
#include <llhttp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

enum { READ_SIZE = 64 * 1024, OUT_SIZE = 256 * 1024 };

struct client {
    uv_tcp_t tcp;
    llhttp_t parser;
};

static char in[READ_SIZE], out[OUT_SIZE], answer[256];
static size_t out_len, answer_len;
static uint64_t answer_until;
static llhttp_settings_t settings;

/* The Date changes once a second. */
static void refresh_answer(uv_loop_t *loop)
{
    char date[64];
    time_t now = time(NULL);
    struct tm tm;

    if (uv_now(loop) < answer_until)
        return;
    answer_until = uv_now(loop) + 1000;
    strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &tm));
    answer_len = (size_t)snprintf(answer, sizeof(answer),
                                  "HTTP/1.1 200 OK\r\nDate: %s\r\nContent-Length: 13\r\n"
                                  "Content-Type: text/plain\r\n\r\nHello, World!",
                                  date);
}

static int on_complete(llhttp_t *parser)
{
    struct client *client = parser->data;

    refresh_answer(client->tcp.loop);
    if (out_len + answer_len <= sizeof(out)) {
        memcpy(out + out_len, answer, answer_len);
        out_len += answer_len;
    }
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle, (void)suggested;
    *buf = uv_buf_init(in, sizeof(in));
}

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct client *client = stream->data;

    if (nread == 0)
        return;
    out_len = 0;
    if (nread > 0 && llhttp_execute(&client->parser, buf->base, (size_t)nread) == HPE_OK) {
        uv_buf_t bytes = uv_buf_init(out, (unsigned)out_len);

        if (!out_len || uv_try_write(stream, &bytes, 1) == (int)out_len)
            return;
    }
    uv_close((uv_handle_t *)stream, on_closed);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct client *client = calloc(1, sizeof(*client));

    if (status < 0 || !client)
        exit(1);
    uv_tcp_init(server->loop, &client->tcp);
    client->tcp.data = client;
    if (uv_accept(server, (uv_stream_t *)&client->tcp) < 0) {
        uv_close((uv_handle_t *)&client->tcp, on_closed);
        return;
    }
    uv_tcp_nodelay(&client->tcp, 1);
    llhttp_init(&client->parser, HTTP_REQUEST, &settings);
    client->parser.data = client;
    uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    struct sockaddr_in address;
    uv_tcp_t server;

    signal(SIGPIPE, SIG_IGN);
    llhttp_settings_init(&settings);
    settings.on_message_complete = on_complete;
    uv_ip4_addr("127.0.0.1", argc > 1 ? (int)strtol(argv[1], NULL, 10) : 8091, &address);
    uv_tcp_init(loop, &server);
    if (uv_tcp_bind(&server, (const struct sockaddr *)&address, 0) < 0 ||
        uv_listen((uv_stream_t *)&server, 1024, on_connection) < 0) {
        fprintf(stderr, "cannot listen\n");
        return 1;
    }
    return uv_run(loop, UV_RUN_DEFAULT);
}
