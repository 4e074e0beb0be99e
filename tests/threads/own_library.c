/*
 * Lets tests/support/api_fixture.c find the module in the test program itself, which is linked with
 * the library that has the test hooks (clocks, allocations). The linker's --wrap leads its calls
 * here. ThreadSanitizer follows such a program better than a library that is loaded late.
 */
#include <check.h>
#include <string.h>

#include "include/cryptoki.h"

void *__wrap_dlopen(const char *path, int flags);
void *__wrap_dlsym(void *library, const char *name);

void *__wrap_dlopen(const char *path, int flags)
{
    static char self;

    (void) path;
    (void) flags;
    return &self;
}

void *__wrap_dlsym(void *library, const char *name)
{
    (void) library;
    ck_assert_str_eq(name, "C_GetInterface");
    return (void *) C_GetInterface;
}
