/*
 * A stranger's hand in a token's store, seen through the module's functions: damaged rows lose
 * their own keys alone and no key gives another result; an older copy is refused until an
 * administrator accepts it. test_row_damage tries every pair of rows and every bit, below the
 * module.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "include/indexkey.h"
#include "module/admin.h"
#include "tests/support/api_fixture.h"
#include "tests/support/postgres_fixture.h"
#include "tests/support/store_hand.h"
#include "tests/threads/crew.h"

#define KEYS_WHOLE 1000
#define KEYS_BY_DAY 100
#define SAMPLES_WHOLE 500
#define SAMPLES_BY_DAY 25
#define MAC_LEN 32

static struct api api;
static CK_BBOOL yes = CK_TRUE;
static CK_BYTE expected[KEYS_WHOLE][MAC_LEN];
static struct hand_copy copy;

static size_t how_many(size_t by_day, size_t whole)
{
    return getenv("INDEXKEY_WHOLE") != NULL ? whole : by_day;
}

static uint32_t random_state = 64;

static size_t next_random(size_t below)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % below;
}

static const char *store_location(void)
{
    static char location[160];
    snprintf(location, sizeof(location), "sqlite:%s/test.db", api.folder);
    return postgres_fixture_or(location);
}

/* Without a PIN, whose stretching takes its time. */
static void make_token(void)
{
    CK_UTF8CHAR label[33] = "test                            ";
    char lines[160] = "login = ambient\n";

    api_load(&api, postgres_fixture_or(NULL), NULL);
    snprintf(lines + strlen(lines), sizeof(lines) - strlen(lines), "anchor = file:%s/anchor\n",
             api.folder);
    OK(api.p11->C_Finalize(NULL));
    api_write_conf(&api, NULL, postgres_fixture_or(NULL), lines);
    OK(api.p11->C_Initialize(NULL));
    OK(api.p11->C_InitToken(api.slot, (CK_UTF8CHAR *) API_SO_PIN, strlen(API_SO_PIN), label));
}

static CK_RV try_login(void)
{
    OK(api.p11->C_OpenSession(api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                              &api.session));
    return api.p11->C_Login(api.session, CKU_USER, NULL, 0);
}

static CK_OBJECT_HANDLE make_key(CK_ULONG number)
{
    CK_MECHANISM mechanism = {CKM_GENERIC_SECRET_KEY_GEN, NULL, 0};
    CK_ULONG len = 32;
    CK_ATTRIBUTE template[] = {
        {CKA_TOKEN, &yes, sizeof(yes)},
        {CKA_SIGN, &yes, sizeof(yes)},
        {CKA_VALUE_LEN, &len, sizeof(len)},
        {CKA_ID, &number, sizeof(number)},
    };
    CK_OBJECT_HANDLE key;

    OK(api.p11->C_GenerateKey(api.session, &mechanism, template, 4, &key));
    return key;
}

static CK_RV sign(CK_OBJECT_HANDLE key, CK_BYTE mac[MAC_LEN])
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_ULONG len = MAC_LEN;
    CK_RV rv = api.p11->C_SignInit(api.session, &mechanism, key);

    return rv != CKR_OK ? rv : api.p11->C_Sign(api.session, (CK_BYTE *) "text", 4, mac, &len);
}

/* True when the key is there and works: then as before. */
static bool key_works(CK_ULONG number)
{
    CK_ATTRIBUTE template = {CKA_ID, &number, sizeof(number)};
    CK_OBJECT_HANDLE found[2];
    CK_ULONG count = 0;
    CK_BYTE mac[MAC_LEN];

    OK(api.p11->C_FindObjectsInit(api.session, &template, 1));
    OK(api.p11->C_FindObjects(api.session, found, 2, &count));
    OK(api.p11->C_FindObjectsFinal(api.session));
    ck_assert_uint_le(count, 1);
    if (count == 0)
        return false;
    CK_RV rv = sign(found[0], mac);
    ck_assert_msg(rv == CKR_OK || rv == CKR_DEVICE_ERROR, "0x%lx", rv);
    if (rv == CKR_OK)
        ck_assert_mem_eq(mac, expected[number], MAC_LEN);
    return rv == CKR_OK;
}

/* With the module away; damaged rows count as many keys as they are. */
enum damage {
    SWAPPED_ROWS,
    SWAPPED_ATTRIBUTES,
    SWAPPED_VALUES,
    FLIPPED_ATTRIBUTES,
    FLIPPED_VALUE,
    REMOVED,
    DAMAGE_KINDS
};

static void flip_one(struct blob *bytes)
{
    bytes->bytes[next_random(bytes->len)] ^= (unsigned char) (1u << next_random(8));
}

static void put(struct store *store, const struct hand_row *row, struct view attributes,
                struct view value)
{
    hand_put_row(store, &row->id, row->version, attributes, value);
}

/* How many keys are lost by it. */
static size_t do_damage(struct store *store, enum damage damage, const struct hand_row *a,
                        const struct hand_row *b)
{
    struct view attributes_a = blob_view(&a->attributes);
    struct view attributes_b = blob_view(&b->attributes);
    struct view value_a = blob_view(&a->value);
    struct view value_b = blob_view(&b->value);
    struct blob flipped = {0};

    if (damage == REMOVED) {
        hand_remove_row(store, &a->id);
        return 1;
    }
    if (damage == FLIPPED_ATTRIBUTES || damage == FLIPPED_VALUE) {
        bool in_value = damage == FLIPPED_VALUE;
        struct view from = in_value ? value_a : attributes_a;
        ck_assert_uint_eq(blob_from(from.bytes, from.len, &flipped), CKR_OK);
        flip_one(&flipped);
        put(store, a, in_value ? attributes_a : blob_view(&flipped),
            in_value ? blob_view(&flipped) : value_a);
        blob_clear(&flipped);
        return 1;
    }
    put(store, a, damage == SWAPPED_VALUES ? attributes_a : attributes_b,
        damage == SWAPPED_ATTRIBUTES ? value_a : value_b);
    put(store, b, damage == SWAPPED_VALUES ? attributes_b : attributes_a,
        damage == SWAPPED_ATTRIBUTES ? value_b : value_a);
    return 2;
}

START_TEST(damaged_rows_lose_their_own_keys_alone)
{
    size_t key_count = how_many(KEYS_BY_DAY, KEYS_WHOLE);
    size_t samples = how_many(SAMPLES_BY_DAY, SAMPLES_WHOLE);
    struct store *store = NULL;

    make_token();
    OK(try_login());
    for (CK_ULONG i = 0; i < key_count; i++)
        OK(sign(make_key(i), expected[i]));
    OK(api.p11->C_Finalize(NULL));
    OK(store_open(store_location(), &store));
    hand_take(store, &copy);
    ck_assert_uint_eq(copy.row_count, key_count);
    for (size_t i = 0; i < samples; i++) {
        size_t a = next_random(key_count);
        size_t b = (a + 1 + next_random(key_count - 1)) % key_count;
        size_t damaged =
            do_damage(store, (enum damage)(i % DAMAGE_KINDS), &copy.rows[a], &copy.rows[b]);
        size_t working = 0;
        OK(api.p11->C_Initialize(NULL));
        OK(try_login());
        for (CK_ULONG j = 0; j < key_count; j++)
            working += key_works(j);
        ck_assert_uint_eq(working, key_count - damaged);
        OK(api.p11->C_Finalize(NULL));
        put(store, &copy.rows[a], blob_view(&copy.rows[a].attributes),
            blob_view(&copy.rows[a].value));
        put(store, &copy.rows[b], blob_view(&copy.rows[b].attributes),
            blob_view(&copy.rows[b].value));
    }
    store_close(&store);
    hand_copy_clear(&copy);
    printf("%zu damages to %zu keys: no other key lost, no wrong result\n", samples, key_count);
    api_close(&api);
}
END_TEST

static CK_ULONG device_error(void)
{
    CK_SESSION_INFO info;

    OK(api.p11->C_GetSessionInfo(api.session, &info));
    return info.ulDeviceError;
}

START_TEST(an_older_copy_is_refused_until_the_so_accepts_it)
{
    struct store *store = NULL;
    struct view so_pin = view_text(API_SO_PIN);
    uint64_t generation = 0;
    CK_BYTE mac[MAC_LEN];

    make_token();
    OK(try_login());
    OK(sign(make_key(0), expected[0]));
    OK(store_open(store_location(), &store));
    hand_take(store, &copy);
    (void) make_key(1);
    OK(api.p11->C_CloseAllSessions(api.slot));
    hand_put_back(store, &copy);
    EXPECT(CKR_DEVICE_ERROR, try_login());
    ck_assert_uint_eq(device_error(), INDEXKEY_CAUSE_TAMPERED);
    char *log = api_log(&api);
    ck_assert_ptr_nonnull(strstr(log, "indexkey anchor --accept"));
    free(log);

    EXPECT(CKR_SLOT_ID_INVALID, admin_anchor_accept(99, so_pin, &generation));
    EXPECT(CKR_PIN_INCORRECT, admin_anchor_accept(api.slot, view_text("wrong"), &generation));
    ck_assert_uint_eq(generation, 0);
    OK(admin_anchor_accept(api.slot, so_pin, &generation));
    ck_assert_uint_eq(generation, 1);
    OK(api.p11->C_Login(api.session, CKU_USER, NULL, 0));
    ck_assert(key_works(0) && !key_works(1));

    /* Under a login: the next call after the tick finds nobody logged in. */
    CK_OBJECT_HANDLE key = make_key(2);
    hand_put_back(store, &copy);
    CK_RV rv = CKR_OK;
    for (int i = 0; i < 1000 && rv == CKR_OK; i++) {
        crew_sleep_ms(5);
        rv = sign(key, mac);
    }
    ck_assert_msg(rv == CKR_KEY_HANDLE_INVALID || rv == CKR_USER_NOT_LOGGED_IN, "0x%lx", rv);
    CK_SESSION_INFO info;
    OK(api.p11->C_GetSessionInfo(api.session, &info));
    ck_assert_uint_eq(info.state, CKS_RW_PUBLIC_SESSION);
    store_close(&store);
    hand_copy_clear(&copy);
    OK(api.p11->C_Finalize(NULL));
    EXPECT(CKR_CRYPTOKI_NOT_INITIALIZED, admin_anchor_accept(api.slot, so_pin, &generation));
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("module_damage");
    TCase *cases = tcase_create("module_damage");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, cases);
    tcase_set_timeout(cases, 1200);
    if (postgres_fixture_is_here())
        tcase_add_checked_fixture(cases, postgres_fixture_setup, postgres_fixture_teardown);
    tcase_add_test(cases, damaged_rows_lose_their_own_keys_alone);
    tcase_add_test(cases, an_older_copy_is_refused_until_the_so_accepts_it);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
