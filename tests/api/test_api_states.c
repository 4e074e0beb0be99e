/*
 * Every operation in every state gets every call: return value, state afterwards, output, and the
 * bytes around it (state_machine.h says how; state_rules.c holds what is expected).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "tests/api/state_dual.h"
#include "tests/api/state_operations.h"

#define TOKEN_LABEL "states                          "

/* Shared with the forked tests: the cells of each row, those of dual functions last. */
static size_t *cells;

static void open_token(void)
{
    api_load(&states_api, "memory:", "login = ambient");
    OK(states_api.p11->C_InitToken(states_api.slot, (CK_UTF8CHAR *) API_SO_PIN,
                                   sizeof(API_SO_PIN) - 1, (CK_UTF8CHAR *) TOKEN_LABEL));
    OK(states_api.p11->C_OpenSession(states_api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL,
                                     NULL, &states_api.session));
    OK(states_api.p11->C_Login(states_api.session, CKU_USER, NULL, 0));
}

static void close_token(void)
{
    api_close(&states_api);
}

START_TEST(operation)
{
    static struct machine machine;

    if (!operations_present(&operations_rows[_i]))
        return;
    machine_open(&machine, &operations_rows[_i]);
    cells[_i] = machine_run(&machine);
}
END_TEST

START_TEST(dual_function)
{
    if (dual_present())
        cells[operations_count + (size_t) _i] = dual_run((size_t) _i);
}
END_TEST

/* An IV that a size query or a too small buffer used up would be missing in the counter's row. */
START_TEST(counter_without_gaps)
{
    if (messages_present())
        messages_check_counter();
}
END_TEST

/* False when a row did not run. */
static bool print_rows(size_t count)
{
    size_t total = 0;
    bool complete = true;

    for (size_t i = 0; i < count; i++) {
        const char *name =
            i < operations_count ? operations_rows[i].name : dual_name(i - operations_count);
        if (cells[i] > 0) {
            printf("%-28s %5zu cells\n", name, cells[i]);
        } else {
            printf("%-28s DID NOT RUN\n", name);
            complete = false;
        }
        total += cells[i];
    }
    printf("%zu cells checked\n", total);
    return complete;
}

int main(void)
{
    Suite *suite = suite_create("api states");
    TCase *tests = tcase_create("states");
    SRunner *runner = srunner_create(suite);
    size_t count = operations_count + dual_count;

    cells = mmap(NULL, count * sizeof(*cells), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                 -1, 0);
    if (cells == MAP_FAILED)
        return EXIT_FAILURE;
    suite_add_tcase(suite, tests);
    tcase_add_checked_fixture(tests, open_token, close_token);
    tcase_add_loop_test(tests, operation, 0, (int) operations_count);
    tcase_add_loop_test(tests, dual_function, 0, (int) dual_count);
    tcase_add_test(tests, counter_without_gaps);
    tcase_set_timeout(tests, 240);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return print_rows(count) && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
