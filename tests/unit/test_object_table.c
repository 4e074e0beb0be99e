/* The table of a slot's objects and its indexes, against a list that knows what must be found. */
#include "module/object_table.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "module/place_index.h"
#include "module/slot.h"

#define MANY 100000
#define MODEL_COUNT 600
#define STEP_COUNT 20000
#define LABEL_COUNT 40

static struct slot slot = {.name = "test"};

static struct attributes attributes_of(const char *label)
{
    struct attributes attributes = {.object_class = CKO_DATA};

    ck_assert_uint_eq(attributes_set_bytes(&attributes, CKA_LABEL, view_text(label)), CKR_OK);
    return attributes;
}

static struct object *object_of(unsigned int number, const char *label)
{
    struct attributes attributes = attributes_of(label);
    struct object *object;

    ck_assert_uint_eq(object_new(&slot, &attributes, NULL, &object), CKR_OK);
    memcpy(object->id.bytes, &number, sizeof(number));
    return object;
}

static bool count_one(void *context, struct object *object)
{
    (void) object;
    ++*(size_t *) context;
    return true;
}

static size_t count_label(struct object_table *table, const char *label)
{
    size_t count = 0;

    object_table_lookup(table, INDEX_LABEL, view_text(label), count_one, &count);
    return count;
}

static bool keep_last(void *context, struct object *object)
{
    *(struct object **) context = object;
    return true;
}

static struct object *by_number(struct object_table *table, unsigned int number)
{
    struct object_id id = {{0}};
    struct object *found = NULL;

    memcpy(id.bytes, &number, sizeof(number));
    object_table_lookup(table, INDEX_UNIQUE_ID, (struct view){id.bytes, OBJECT_ID_LEN}, keep_last,
                        &found);
    return found;
}

/* What the table should hold: NULL, or the label of object i. */
struct model {
    struct object *objects[MODEL_COUNT];
    unsigned int labels[MODEL_COUNT];
    size_t counts[LABEL_COUNT];
};

static void label_text(unsigned int label, char text[16])
{
    (void) snprintf(text, 16, "label %u", label);
}

static struct object *labelled(unsigned int number, unsigned int label)
{
    char text[16];

    label_text(label, text);
    return object_of(number, text);
}

static void change_one(struct object_table *table, struct model *model, unsigned int number)
{
    struct object **object = &model->objects[number];
    unsigned int label = (unsigned int) rand() % LABEL_COUNT;

    if (*object != NULL)
        model->counts[model->labels[number]]--;
    if (*object != NULL && rand() % 2 == 0) {
        ck_assert_uint_eq(object_table_remove(table, *object), CKR_OK);
        *object = NULL;
        return;
    }
    struct object *changed = labelled(number, label);
    ck_assert_uint_eq(*object == NULL ? object_table_add(table, changed)
                                      : object_table_replace(table, *object, changed),
                      CKR_OK);
    *object = changed;
    model->labels[number] = label;
    model->counts[label]++;
}

START_TEST(every_index_follows_every_change)
{
    static struct model model;
    struct object_table *table;
    long live = mem_live();

    srand(1);
    ck_assert_uint_eq(object_table_new(&table), CKR_OK);
    for (size_t step = 0; step < STEP_COUNT; step++) {
        unsigned int number = (unsigned int) rand() % MODEL_COUNT;
        change_one(table, &model, number);
        ck_assert_ptr_eq(by_number(table, number), model.objects[number]);
        number = (unsigned int) rand() % MODEL_COUNT;
        ck_assert_ptr_eq(by_number(table, number), model.objects[number]);
        unsigned int label = (unsigned int) rand() % LABEL_COUNT;
        char text[16];
        label_text(label, text);
        ck_assert_uint_eq(count_label(table, text), model.counts[label]);
    }
    object_table_free(&table);
    ck_assert_int_eq(mem_live(), live);
}
END_TEST

static bool is_odd(void *context, struct object *object)
{
    (void) context;
    return object->id.bytes[0] % 2 == 1;
}

/* Quadratic work would take minutes. */
START_TEST(many_objects_may_have_one_label)
{
    struct object_table *table;

    ck_assert_uint_eq(object_table_new(&table), CKR_OK);
    for (unsigned int i = 0; i < MANY; i++)
        ck_assert_uint_eq(object_table_add(table, object_of(i, "the same")), CKR_OK);
    ck_assert_uint_eq(count_label(table, "the same"), MANY);
    object_table_remove_matching(table, is_odd, NULL);
    ck_assert_uint_eq(count_label(table, "the same"), MANY / 2);
    ck_assert_ptr_null(by_number(table, 1));
    ck_assert_ptr_nonnull(by_number(table, MANY - 2));
    object_table_free(&table);
}
END_TEST

/* A thousand labels where there was one: the index has the room without asking. */
START_TEST(labels_may_part)
{
    struct object_table *table;
    struct object *objects[1000];

    ck_assert_uint_eq(object_table_new(&table), CKR_OK);
    for (unsigned int i = 0; i < 1000; i++) {
        objects[i] = object_of(i, "the same");
        ck_assert_uint_eq(object_table_add(table, objects[i]), CKR_OK);
    }
    for (unsigned int i = 0; i < 1000; i++) {
        struct object *changed = labelled(i, i);
        mem_fail_at(1, true);
        CK_RV rv = object_table_replace(table, objects[i], changed);
        mem_fail_at(0, false);
        ck_assert_uint_eq(rv, CKR_OK);
    }
    ck_assert_uint_eq(count_label(table, "the same"), 0);
    ck_assert_uint_eq(count_label(table, "label 999"), 1);
    object_table_free(&table);
}
END_TEST

/* Several at once; what has lost its place is left out, and given back. */
START_TEST(an_exchange_is_one_step)
{
    struct object_table *table;
    struct object *kept = object_of(1, "kept");
    struct object *gone = object_reference(object_of(2, "gone"));
    struct object_swap swaps[] = {
        {kept, object_of(1, "changed")},
        {NULL, object_of(3, "added")},
        {gone, object_of(2, "too late")},
    };

    ck_assert_uint_eq(object_table_new(&table), CKR_OK);
    ck_assert_uint_eq(object_table_add(table, kept), CKR_OK);
    ck_assert_uint_eq(object_table_add(table, gone), CKR_OK);
    ck_assert_uint_eq(object_table_remove(table, gone), CKR_OK);
    CK_OBJECT_HANDLE handle = kept->handle;
    ck_assert_uint_eq(object_table_exchange(table, swaps, 3), CKR_OK);
    ck_assert(swaps[0].fresh == NULL && swaps[1].fresh == NULL && swaps[2].fresh != NULL);
    ck_assert_uint_eq(by_number(table, 1)->handle, handle);
    ck_assert_uint_eq(count_label(table, "changed"), 1);
    ck_assert_uint_eq(count_label(table, "added"), 1);
    ck_assert_uint_eq(count_label(table, "kept"), 0);
    ck_assert_uint_eq(count_label(table, "too late"), 0);
    object_release(&swaps[2].fresh);
    object_release(&gone);
    object_table_free(&table);
}
END_TEST

/* All hashes want the last slot: what wraps round is found, and found again when others go. */
START_TEST(a_crowd_at_the_end_wraps_round)
{
    struct place places[32] = {0};
    struct place_index index;

    ck_assert_uint_eq(place_index_init(&index, INDEX_LABEL), CKR_OK);
    uint32_t end = (uint32_t) index.slot_count - 1;
    uint32_t step = (uint32_t) index.slot_count;
    for (uint32_t i = 0; i < 32; i++)
        place_index_add(&index, places, i, end + i * step);
    for (uint32_t gone = 0; gone < 32; gone++) {
        for (uint32_t i = 0; i < 32; i++)
            ck_assert_uint_eq(place_index_first(&index, end + i * step), i < gone ? NO_PLACE : i);
        place_index_remove(&index, places, gone, end + gone * step);
    }
    place_index_clear(&index);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("object table");
    TCase *tests = tcase_create("indexes");

    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, every_index_follows_every_change);
    tcase_add_test(tests, many_objects_may_have_one_label);
    tcase_add_test(tests, labels_may_part);
    tcase_add_test(tests, an_exchange_is_one_step);
    tcase_add_test(tests, a_crowd_at_the_end_wraps_round);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
