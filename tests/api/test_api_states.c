/*
 * Every operation in every state gets every call: return value, state afterwards, output, and the
 * bytes around it (state_machine.h says how; state_rules.c holds what is expected).
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/api/state_operations.h"

/* Rows of functions and mechanisms that the module may lack; all others must run. */
#define OPTIONAL_ROWS (TRAIT_VERIFY_SIGNATURE | TRAITS_MESSAGE)

/* Shared with the forked tests: the cells of each row. */
static size_t *cells;

static void open_token(void)
{
    api_load(&states_api, "memory:", "login = ambient");
    OK(states_api.p11->C_InitToken(states_api.slot, (CK_UTF8CHAR *) API_SO_PIN,
                                   sizeof(API_SO_PIN) - 1, (CK_UTF8CHAR *) "states                          "));
    OK(states_api.p11->C_OpenSession(states_api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
                                     NULL, &states_api.session));
    OK(states_api.p11->C_Login(states_api.session, CKU_USER, NULL, 0));
}

static void close_token(void)
{
    api_close(&states_api);
}

START_TEST(every_cell)
{
    const struct machine_row *row = &operations_rows[_i];
    static struct machine machine;

    if (!operations_present(row)) {
        printf("%-24s not served\n", row->name);
        return;
    }
    machine_open(&machine, row);
    cells[_i] = machine_run(&machine);
    printf("%-24s %5zu cells\n", row->name, cells[_i]);
    fflush(stdout);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api states");
    TCase *tests = tcase_create("states");
    SRunner *runner = srunner_create(suite);
    size_t total = 0;

    cells = mmap(NULL, operations_count * sizeof(*cells), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (cells == MAP_FAILED)
        return EXIT_FAILURE;
    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_loop_test(tests, every_cell, 0, (int) operations_count);
    tcase_set_timeout(tests, 240);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    for (size_t i = 0; i < operations_count; i++)
        total += cells[i];
    printf("%zu cells checked\n", total);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
