/* The command line: what was asked for, and who does it.
 *
 * One table (core/cli/commands.c) has every command with its arguments, options, text and
 * examples; parsing, `help`, completion and docs/cli.md come from it. Commands that change or
 * look at a running server talk to its control socket; the others work in this process.
 *
 * Exit codes: 0 done; 1 what was checked or asked for failed; 2 wrong usage; 3 the server cannot be
 * reached. Errors go to standard error. Output is for people, or JSON with --json.
 */
#pragma once

#include "tycho/buffer.h"
#include "tycho/engine.h"

enum { TY_EXIT_DONE, TY_EXIT_FAILED, TY_EXIT_USAGE, TY_EXIT_UNREACHABLE };

/* Runs what the arguments ask for and returns the exit code. */
int ty_cli_main(int argc, char **argv, const struct ty_engine *engine);

/* All commands and options as Markdown, for docs/cli.md. */
void ty_cli_reference(struct ty_buf *out);
