/*
 * A thousand keys and a stranger's hand in their store: rows and fields of rows exchanged, bits
 * flipped. Nothing is accepted, no key is another than it was, and no more than the touched ones is
 * lost.
 *
 * Whether a row is accepted is decided where it is opened (tokens/seal.h), for all kinds of stores
 * alike; there every pair of rows and every bit is tried. Through a store and a login only some of
 * them are (through the store's own interface, so that it is the same for every kind), and through
 * the module's C_* functions in test_module_damage. By day there are fewer keys in the pairs;
 * INDEXKEY_WHOLE=1 tries them all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/postgres_fixture.h"
#include "tests/support/store_hand.h"
#include "tests/support/token_fixture.h"
#include "tokens/seal.h"
#include "tokens/sealed_objects.h"

#define KEYS 1000
#define KEYS_BY_DAY 250
#define FLIPPED_ROWS 100
#define VALUE_LEN 32
#define SAMPLES_BY_DAY 60
#define SAMPLES_WHOLE 1000

static bool is_whole(void)
{
    return getenv("INDEXKEY_WHOLE") != NULL;
}

/* What goes by a login; to a server each takes longer. */
static size_t sample_count(void)
{
    if (is_whole())
        return SAMPLES_WHOLE;
    return postgres_fixture_is_here() ? SAMPLES_BY_DAY / 2 : SAMPLES_BY_DAY;
}

static size_t key_count(void)
{
    return is_whole() ? KEYS : KEYS_BY_DAY;
}

/* What each key is; rows and keys have the same numbers. */
struct key {
    struct object_id id;
    char attributes[64];
    unsigned char value[VALUE_LEN];
};

static struct key keys[KEYS];
static struct custody *custody;
static struct hand_copy copy;

static uint32_t random_state;

static size_t next_random(size_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

/* Every second key was changed once, so that versions differ. */
static void make_key(size_t number)
{
    struct key *key = &keys[number];
    struct secret value = {0};
    uint64_t version;
    ck_assert_uint_eq(sealed_objects_new_id(&key->id), CKR_OK);
    (void) snprintf(key->attributes, sizeof(key->attributes), "the attributes of key %04zu",
                    number);
    ck_assert_uint_eq(crypto_random_secret(VALUE_LEN, &value), CKR_OK);
    memcpy(key->value, value.bytes, VALUE_LEN);
    ck_assert_uint_eq(sealed_objects_create(custody, &key->id, view_text(key->attributes), &value),
                      CKR_OK);
    if (number % 2 == 1)
        ck_assert_uint_eq(
            sealed_objects_update(custody, &key->id, 1, view_text(key->attributes), &version),
            CKR_OK);
    secret_clear(&value);
}

/* In the order of the keys, which no store keeps. */
static void sort_rows(size_t count)
{
    ck_assert_uint_eq(copy.row_count, count);
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        while (memcmp(&copy.rows[at].id, &keys[i].id, sizeof(keys[i].id)) != 0)
            ck_assert_uint_lt(++at, count);
        struct hand_row row = copy.rows[at];
        copy.rows[at] = copy.rows[i];
        copy.rows[i] = row;
    }
}

static void make_keys(int store, size_t count)
{
    random_state = 8;
    custody = fixture_token(postgres_fixture_or(fixture_store(store)), "login = ambient\n");
    fixture_login_user(custody);
    for (size_t i = 0; i < count; i++)
        make_key(i);
    hand_take(custody->store, &copy);
    sort_rows(count);
    fixture_forget_log();
}

static void drop_keys(void)
{
    hand_copy_clear(&copy);
    custody_close(&custody);
}

static struct store_row row_of(const struct hand_row *row)
{
    return (struct store_row){
        .id = row->id,
        .version = row->version,
        .attributes = blob_view(&row->attributes),
        .value = blob_view(&row->value),
    };
}

/* What was found out about damaged rows. */
struct tally {
    unsigned long tried;
    unsigned long accepted; /* attributes and value both open */
    unsigned long wrong;    /* something opens that is not this key's */
};

static void assert_clean(const struct tally *tally, const char *what)
{
    printf("%s: %lu tried, %lu accepted, %lu wrong\n", what, tally->tried, tally->accepted,
           tally->wrong);
    ck_assert_uint_gt(tally->tried, 0);
    ck_assert_uint_eq(tally->accepted, 0);
    ck_assert_uint_eq(tally->wrong, 0);
}

/* `number` is the key that the row stands for. */
static void try_row(struct keyring *held, const struct store_row *row, size_t number,
                    struct tally *tally)
{
    struct blob attributes = {0};
    struct secret value = {0};
    const struct key *key = &keys[number];
    CK_RV opened = seal_open_attributes(held, row, &attributes);
    CK_RV value_opened = seal_open_value(held, row, &value);
    ck_assert(opened == CKR_OK || opened == CKR_ENCRYPTED_DATA_INVALID);
    ck_assert(value_opened == CKR_OK || value_opened == CKR_ENCRYPTED_DATA_INVALID);
    tally->tried++;
    tally->accepted += opened == CKR_OK && value_opened == CKR_OK;
    tally->wrong +=
        opened == CKR_OK && !view_equal(blob_view(&attributes), view_text(key->attributes));
    tally->wrong += value_opened == CKR_OK &&
                    (value.len != VALUE_LEN || memcmp(value.bytes, key->value, VALUE_LEN) != 0);
    blob_clear(&attributes);
    secret_clear(&value);
}

/* What of two rows changes places. */
enum field { WHOLE_ROW, VERSION, ATTRIBUTES, VALUE, BOTH_SEALS, FIELD_COUNT };

static const char *const field_names[FIELD_COUNT] = {
    "rows", "versions", "attribute seals", "value seals", "both seals",
};

/* Row `a` with that field of row `b`. Rows that changed places are the same as exchanged ids. */
static struct store_row mixed(const struct hand_row *a, const struct hand_row *b, enum field field)
{
    struct store_row row = row_of(a);
    struct store_row other = row_of(b);
    if (field == WHOLE_ROW || field == VERSION)
        row.version = other.version;
    if (field == WHOLE_ROW || field == ATTRIBUTES || field == BOTH_SEALS)
        row.attributes = other.attributes;
    if (field == WHOLE_ROW || field == VALUE || field == BOTH_SEALS)
        row.value = other.value;
    return row;
}

static void swap_pair(struct keyring *held, size_t a, size_t b, struct tally tallies[FIELD_COUNT])
{
    for (enum field field = 0; field < FIELD_COUNT; field++) {
        if (field == VERSION && copy.rows[a].version == copy.rows[b].version)
            continue;
        struct store_row first = mixed(&copy.rows[a], &copy.rows[b], field);
        struct store_row second = mixed(&copy.rows[b], &copy.rows[a], field);
        try_row(held, &first, a, &tallies[field]);
        try_row(held, &second, b, &tallies[field]);
    }
}

START_TEST(no_swap_of_rows_or_fields_is_accepted)
{
    size_t count = key_count();
    struct tally tallies[FIELD_COUNT] = {{0}};
    struct tally untouched = {0};
    struct keyring *held = NULL;
    make_keys(0, count);
    ck_assert_uint_eq(keyring_hold(&custody->keyring, &held), CKR_OK);
    for (size_t i = 0; i < count; i++) {
        struct store_row row = row_of(&copy.rows[i]);
        try_row(held, &row, i, &untouched);
        for (size_t j = 0; j < i; j++)
            swap_pair(held, i, j, tallies);
    }
    keyring_release(&held);
    ck_assert_uint_eq(untouched.accepted, count);
    ck_assert_uint_eq(untouched.wrong, 0);
    ck_assert_uint_eq(tallies[WHOLE_ROW].tried, count * (count - 1));
    for (enum field field = 0; field < FIELD_COUNT; field++)
        assert_clean(&tallies[field], field_names[field]);
    drop_keys();
}
END_TEST

static void flip(unsigned char *bytes, size_t bit)
{
    bytes[bit / 8] ^= (unsigned char) (1u << bit % 8);
}

/* In the id, the version and both seals, one after the other. */
static void flip_each_bit(struct keyring *held, size_t number, struct tally *tally)
{
    struct hand_row *stored = &copy.rows[number];
    for (size_t bit = 0; bit < 8 * OBJECT_ID_LEN; bit++) {
        struct store_row row = row_of(stored);
        flip(row.id.bytes, bit);
        try_row(held, &row, number, tally);
    }
    for (size_t bit = 0; bit < 64; bit++) {
        struct store_row row = row_of(stored);
        row.version ^= UINT64_C(1) << bit;
        try_row(held, &row, number, tally);
    }
    struct blob *const seals[] = {&stored->attributes, &stored->value};
    for (size_t i = 0; i < COUNT_OF(seals); i++) {
        for (size_t bit = 0; bit < 8 * seals[i]->len; bit++) {
            flip(seals[i]->bytes, bit);
            struct store_row row = row_of(stored);
            try_row(held, &row, number, tally);
            flip(seals[i]->bytes, bit);
        }
    }
}

START_TEST(no_flipped_bit_is_accepted)
{
    struct tally tally = {0};
    struct keyring *held = NULL;
    make_keys(0, FLIPPED_ROWS);
    ck_assert_uint_eq(keyring_hold(&custody->keyring, &held), CKR_OK);
    for (size_t i = 0; i < FLIPPED_ROWS; i++)
        flip_each_bit(held, i, &tally);
    keyring_release(&held);
    assert_clean(&tally, "bits");
    drop_keys();
}
END_TEST

static size_t number_of(const struct object_id *id)
{
    for (size_t i = 0; i < copy.row_count; i++) {
        if (memcmp(&keys[i].id, id, sizeof(*id)) == 0)
            return i;
    }
    return copy.row_count;
}

struct login {
    bool is_there[KEYS];
    size_t count;
};

static CK_RV note_object(void *context, const struct sealed_object *object)
{
    struct login *login = context;
    size_t number = number_of(&object->id);
    ck_assert_uint_lt(number, copy.row_count);
    ck_assert(view_equal(object->attributes, view_text(keys[number].attributes)));
    login->is_there[number] = true;
    login->count++;
    return CKR_OK;
}

/* Right, or refused: true when it is right. */
static bool value_opens(size_t number)
{
    struct secret value = {0};
    CK_RV rv = sealed_objects_value(custody, &keys[number].id, 1, &value);
    ck_assert(rv == CKR_OK || rv == CKR_DEVICE_ERROR || rv == CKR_OBJECT_HANDLE_INVALID);
    ck_assert(rv != CKR_OK ||
              (value.len == VALUE_LEN && memcmp(value.bytes, keys[number].value, VALUE_LEN) == 0));
    secret_clear(&value);
    return rv == CKR_OK;
}

/* Logs in and looks at every key: the touched ones are lost, or their values; all others are there.
 */
static void look_at_all(const size_t *touched, size_t touched_count)
{
    static struct login login;
    size_t lost = 0;
    login = (struct login){.count = 0};
    custody_logout(custody);
    fixture_forget_log();
    fixture_login_user(custody);
    ck_assert_uint_eq(sealed_objects_load(custody, note_object, &login), CKR_OK);
    for (size_t i = 0; i < copy.row_count; i++) {
        bool is_touched = false;
        for (size_t j = 0; j < touched_count; j++)
            is_touched |= touched[j] == i;
        bool works = login.is_there[i] && value_opens(i);
        ck_assert_msg(works != is_touched, "key %zu %s", i, works ? "was accepted" : "is lost");
        lost += !works;
    }
    ck_assert_uint_eq(lost, touched_count);
    ck_assert_uint_gt(fixture_log_count(), 0);
}

static void put(const struct hand_row *row)
{
    hand_put_row(custody->store, &row->id, row->version, blob_view(&row->attributes),
                 blob_view(&row->value));
}

static void put_mixed(const struct hand_row *a, const struct hand_row *b, enum field field)
{
    struct store_row row = mixed(a, b, field);
    hand_put_row(custody->store, &row.id, row.version, row.attributes, row.value);
}

START_TEST(a_login_after_a_swap_loses_the_two_alone)
{
    size_t samples = sample_count();
    size_t count = key_count();
    make_keys(_i, count);
    for (size_t i = 0; i < samples; i++) {
        /* One of either version. */
        size_t pair[2] = {2 * next_random(count / 2), 2 * next_random(count / 2) + 1};
        enum field field = (enum field)(i % FIELD_COUNT);
        put_mixed(&copy.rows[pair[0]], &copy.rows[pair[1]], field);
        put_mixed(&copy.rows[pair[1]], &copy.rows[pair[0]], field);
        look_at_all(pair, COUNT_OF(pair));
        put(&copy.rows[pair[0]]);
        put(&copy.rows[pair[1]]);
    }
    printf("%s: %zu swaps, each lost the two touched keys alone\n", custody->store->ops->scheme,
           samples);
    drop_keys();
}
END_TEST

START_TEST(a_login_after_a_flipped_bit_loses_the_one_alone)
{
    size_t samples = sample_count();
    size_t count = key_count();
    make_keys(_i, count);
    for (size_t i = 0; i < samples; i++) {
        size_t number = next_random(count);
        struct hand_row *row = &copy.rows[number];
        struct blob *seal = i % 2 == 0 ? &row->attributes : &row->value;
        size_t bit = next_random(8 * seal->len);
        flip(seal->bytes, bit);
        put(row);
        look_at_all(&number, 1);
        flip(seal->bytes, bit);
        put(row);
    }
    printf("%s: %zu bits, each lost the touched key alone\n", custody->store->ops->scheme, samples);
    drop_keys();
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("row_damage");
    tcase_set_timeout(cases, 1200);
    int store_count = postgres_fixture_is_here() ? 1 : FIXTURE_STORE_COUNT;
    if (postgres_fixture_is_here())
        tcase_add_checked_fixture(cases, postgres_fixture_setup, postgres_fixture_teardown);
    tcase_add_test(cases, no_swap_of_rows_or_fields_is_accepted);
    tcase_add_test(cases, no_flipped_bit_is_accepted);
    tcase_add_loop_test(cases, a_login_after_a_swap_loses_the_two_alone, 0, store_count);
    tcase_add_loop_test(cases, a_login_after_a_flipped_bit_loses_the_one_alone, 0, store_count);
    return fixture_run("row_damage", cases);
}
