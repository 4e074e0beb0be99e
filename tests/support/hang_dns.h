/*
 * A resolver that a test can make hang: getaddrinfo, before the C library's in the order of
 * symbols.
 *
 * Linked into a test program (with export_dynamic where the module comes by dlopen), or built as a
 * library for LD_PRELOAD. Names that end in ".hang" never have an answer; in ".absent", none; in
 * ".here", 127.0.0.1. All others go to the C library.
 */
#pragma once

/* Calls that are waiting for an answer that never comes. */
int hang_dns_waiting(void);
