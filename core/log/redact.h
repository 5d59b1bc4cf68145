/* Secrets out of texts that people will read.
 *
 * Names are known, secrets are not: what stands behind a name such as password, token or
 * Authorization goes, in the forms in which it usually gets into a message: query parameters and
 * DSNs (name=value), JSON ("name":"value"), headers (Name: value), authentication schemes
 * (Bearer value), and the user part of URLs. Best effort; not logging it is better.
 */
#pragma once

#include <stddef.h>

#include "tycho/buffer.h"

/* Adds `text` without the secrets that can be seen in it. */
void ty_redact(struct ty_buf *out, const char *text, size_t len);
