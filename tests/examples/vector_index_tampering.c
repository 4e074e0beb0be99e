// What an attacker may do to the database or the input files, and what must come of it.

#include "vector_index_suite.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <check.h>
#include <sqlite3.h>

// A set of short byte runs, to look for half a million of them at once.
struct needles {
    size_t width;
    uint64_t *slots; // 0: empty
};

#define NEEDLE_SLOTS ((size_t) 1 << 22)

static uint64_t needle_key(const struct needles *needles, const void *bytes)
{
    uint64_t key = 0;

    memcpy(&key, bytes, needles->width);
    return key;
}

static uint64_t *needle_slot(const struct needles *needles, uint64_t key)
{
    size_t at = (size_t) (key * 0x9e3779b97f4a7c15U >> 42);

    while (needles->slots[at] != 0 && needles->slots[at] != key) {
        at = (at + 1) % NEEDLE_SLOTS;
    }
    return &needles->slots[at];
}

static void needle_add(const struct needles *needles, const void *bytes)
{
    uint64_t key = needle_key(needles, bytes);

    *needle_slot(needles, key) = key;
}

static size_t count_needles(const struct needles *needles, const char *path)
{
    size_t len = 0;
    size_t hits = 0;
    char *bytes = driver_read_file(path, &len);

    for (size_t i = 0; i + needles->width <= len; i++) {
        uint64_t key = needle_key(needles, bytes + i);

        hits += key != 0 && *needle_slot(needles, key) == key;
    }
    free(bytes);
    return hits;
}

// Six bytes: shorter names occur in random ciphertext by chance.
static void add_names(const struct needles *needles)
{
    for (size_t i = 0; i < suite_packages->count; i++) {
        if (strlen(suite_packages->names[i]) >= needles->width) {
            needle_add(needles, suite_packages->names[i]);
        }
    }
}

static void add_floats(const struct needles *needles)
{
    for (size_t i = 0; i + 1 < suite_packages->count * suite_packages->dim; i++) {
        needle_add(needles, suite_packages->values + i);
    }
}

START_TEST(test_database_holds_no_plaintext)
{
    struct needles names = {6, calloc(NEEDLE_SLOTS, sizeof(uint64_t))};
    struct needles floats = {8, calloc(NEEDLE_SLOTS, sizeof(uint64_t))};

    ck_assert(names.slots != NULL && floats.slots != NULL);
    add_names(&names);
    add_floats(&floats);
    // The search itself is checked on the plaintext first.
    ck_assert_uint_gt(count_needles(&names, driver_package_path("packages.tsv")), 1000);
    ck_assert_uint_gt(count_needles(&floats, driver_package_path("packages.fvecs")), 500000);
    ck_assert_uint_eq(count_needles(&names, driver_path("index.db")), 0);
    ck_assert_uint_eq(count_needles(&floats, driver_path("index.db")), 0);
    free(names.slots);
    free(floats.slots);
}
END_TEST

static void change_index(const char *path, const char *sql)
{
    sqlite3 *handle = NULL;
    char *error = NULL;

    ck_assert_int_eq(sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    ck_assert_msg(sqlite3_exec(handle, sql, NULL, NULL, &error) == SQLITE_OK, "%s", error);
    ck_assert_int_gt(sqlite3_changes(handle), 0);
    sqlite3_close(handle);
}

struct flip {
    const char *table;
    int row;
    const char *words;
};

static const struct flip flips[] = {
    {"embedding", 17, "embedding of record 17 does not open"},
    {"embedding", 0, "embedding of record 0 does not open"},
    {"centroid", 3, "centroid of list 3 does not open"},
    {"header", 0, "the header of index"},
    {"item", 0, "content of record 0 does not open"},
};

static const char *const flip_columns[] = {"nonce", "sealed"};

enum flip_place { FLIP_FIRST, FLIP_MIDDLE, FLIP_LAST, FLIP_PLACES };

static void flip_byte(const char *path, const struct flip *flip, const char *column,
                      enum flip_place place)
{
    sqlite3 *handle = NULL;
    sqlite3_blob *blob = NULL;
    unsigned char byte = 0;
    int at;

    ck_assert_int_eq(sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_blob_open(handle, "main", flip->table, column, flip->row, 1, &blob),
                     SQLITE_OK);
    at = place == FLIP_FIRST    ? 0
         : place == FLIP_MIDDLE ? sqlite3_blob_bytes(blob) / 2
                                : sqlite3_blob_bytes(blob) - 1;
    ck_assert_int_eq(sqlite3_blob_read(blob, &byte, 1, at), SQLITE_OK);
    byte ^= 1;
    ck_assert_int_eq(sqlite3_blob_write(blob, &byte, 1, at), SQLITE_OK);
    sqlite3_blob_close(blob);
    sqlite3_close(handle);
}

// A search that meets every kind of record: item 0 is found by its field.
static struct driver_result search_everything(const char *db, const char *table)
{
    if (strcmp(table, "item") == 0) {
        char field[512];

        snprintf(field, sizeof field, "section=%s", suite_packages->sections[0]);
        return driver_run("search", "--db", db, "--field", field, NULL);
    }
    return suite_search(db, "all");
}

START_TEST(test_one_flipped_byte_fails_the_search)
{
    const struct flip *flip = &flips[_i];
    const char *db = driver_path("flipped.db");
    struct driver_result result;

    for (size_t column = 0; column < 2; column++) {
        for (enum flip_place place = 0; place < FLIP_PLACES; place++) {
            suite_copy_index(db);
            flip_byte(db, flip, flip_columns[column], place);
            suite_expect_failure(search_everything(db, flip->table), flip->words);
            flip_byte(db, flip, flip_columns[column], place);
            result = search_everything(db, flip->table);
            suite_expect_ok(&result);
            driver_result_clear(&result);
        }
    }
}
END_TEST

struct alteration {
    const char *table;
    const char *sql;
    const char *words;
};

#define SWAP(table, key, a, b)                                                                     \
    "CREATE TEMP TABLE kept AS SELECT * FROM " table " WHERE " key " IN (" #a "," #b ");"          \
    "UPDATE " table " SET (nonce, sealed) = (SELECT nonce, sealed FROM kept"                       \
    " WHERE kept." key " = " #a " + " #b " - " table "." key ") WHERE " key " IN (" #a "," #b ");"

// The embeddings of two records of one list: their list tokens agree, only their numbers differ.
#define SWAP_IN_LIST                                                                               \
    "CREATE TEMP TABLE kept AS SELECT * FROM embedding WHERE list_token ="                         \
    " (SELECT list_token FROM embedding WHERE record = 7) LIMIT 2;"                                \
    "UPDATE embedding SET (nonce, sealed) = (SELECT nonce, sealed FROM kept"                       \
    " WHERE kept.record <> embedding.record) WHERE record IN (SELECT record FROM kept);"

// Two records of different lists change places, so that each list keeps its number of members.
#define SWAP_LISTS                                                                                 \
    "CREATE TEMP TABLE kept AS SELECT record, list_token FROM embedding WHERE record = 7"          \
    " UNION ALL SELECT * FROM (SELECT record, list_token FROM embedding WHERE list_token <>"       \
    " (SELECT list_token FROM embedding WHERE record = 7) LIMIT 1);"                               \
    "UPDATE embedding SET list_token = (SELECT list_token FROM kept WHERE kept.record <>"          \
    " embedding.record) WHERE record IN (SELECT record FROM kept);"

static const struct alteration alterations[] = {
    {"embedding", SWAP("embedding", "record", 5, 9), "does not open"},
    {"item", SWAP("item", "record", 0, 9), "content of record 0 does not open"},
    {"centroid", SWAP("centroid", "list", 1, 2), "centroid of list 1 does not open"},
    {"embedding",
     "UPDATE embedding SET list_token = (SELECT list_token FROM embedding AS other"
     " WHERE other.list_token <> embedding.list_token LIMIT 1) WHERE record = 7",
     "the database was altered"},
    {"embedding", SWAP_LISTS, "does not open"},
    {"embedding", SWAP_IN_LIST, "does not open"},
    {"embedding", "DELETE FROM embedding WHERE record = 7", "where its centroid tells of"},
    {"centroid", "DELETE FROM centroid WHERE list = 4", "lacks centroid of list 4"},
    {"item", "DELETE FROM item WHERE record = 0", "lacks content of record 0"},
    {"item",
     "UPDATE term SET query_token = (SELECT query_token FROM term WHERE record = 0"
     " ORDER BY rowid DESC LIMIT 1) WHERE record = 1",
     "content of record 1 is not what the token index says"},
    {"embedding", "UPDATE embedding SET sealed = x'00' WHERE record = 7", "was altered"},
    {"embedding", "UPDATE embedding SET sealed = zeroblob(900000) WHERE record = 7", "was altered"},
    {"embedding", "UPDATE embedding SET nonce = 'text of 12 b' WHERE record = 7", "was altered"},
    {"header", "UPDATE header SET salt = zeroblob(32)", "the header of index"},
    {"header", "DELETE FROM header", "lacks header"},
    {"header",
     "DROP TABLE term; DROP TABLE header; CREATE TABLE header (id); INSERT INTO header "
     "VALUES (0)",
     "no such column"},
};

START_TEST(test_altered_rows_fail_the_search)
{
    const char *db = driver_path("altered.db");

    suite_copy_index(db);
    change_index(db, alterations[_i].sql);
    suite_expect_failure(search_everything(db, alterations[_i].table), alterations[_i].words);
}
END_TEST

struct hostile {
    const char *vectors;
    size_t vectors_len;
    const char *items;
    size_t items_len;
    const char *words;
};

#define BYTES(text) text, sizeof text - 1
#define ONE "\0\0\x80\x3f"
#define DIM2 "\2\0\0\0"

static const struct hostile hostiles[] = {
    {BYTES(""), BYTES("a\tb\t1\n"), "too short"},
    {BYTES("\0\0\0\0"), BYTES("a\tb\t1\n"), "dimension 0"},
    {BYTES("\xff\xff\xff\xff" ONE), BYTES("a\tb\t1\n"), "dimension 4294967295"},
    {BYTES(DIM2 ONE), BYTES("a\tb\t1\n"), "no whole number"},
    {BYTES(DIM2 ONE ONE "\3\0\0\0" ONE ONE), BYTES("a\tb\t1\nb\tb\t1\n"), "has dimension 3"},
    {BYTES(DIM2 ONE "\0\0\xc0\x7f"), BYTES("a\tb\t1\n"), "is not a number"},
    {BYTES(DIM2 ONE "\0\0\x80\x7f"), BYTES("a\tb\t1\n"), "is not a number"},
    {BYTES(DIM2 ONE "\xff\xff\x7f\x7f"), BYTES("a\tb\t1\n"), "is not a number"},
    {BYTES(DIM2 ONE ONE), BYTES("a\0\tb\t1\n"), "byte 0x00"},
    {BYTES(DIM2 ONE ONE), BYTES("a\033[2J\tb\t1\n"), "byte 0x1b"},
    {BYTES(DIM2 ONE ONE), BYTES("a\tb\n"), "expected name, section and size"},
    {BYTES(DIM2 ONE ONE), BYTES("\tb\t1\n"), "expected name, section and size"},
    {BYTES(DIM2 ONE ONE), BYTES("a\tb\t-1\n"), "not a whole number"},
    {BYTES(DIM2 ONE ONE), BYTES("a\tb\t99999999999999999999\n"), "not a whole number"},
    {BYTES(DIM2 ONE ONE), BYTES(""), "ends after 0 items"},
    {BYTES(DIM2 ONE ONE), BYTES("a\tb\t1\nb\tb\t1\n"), "more items"},
};

START_TEST(test_hostile_input_leaves_the_old_index)
{
    const struct hostile *hostile = &hostiles[_i];
    const char *db = driver_path("kept.db");
    size_t before_len = 0;
    size_t after_len = 0;
    char *before;
    char *after;

    suite_copy_index(db);
    before = driver_read_file(db, &before_len);
    driver_write_file(driver_path("hostile.fvecs"), hostile->vectors, hostile->vectors_len);
    driver_write_file(driver_path("hostile.tsv"), hostile->items, hostile->items_len);
    suite_expect_failure(driver_run("build", "--db", db, "--vectors", driver_path("hostile.fvecs"),
                                    "--items", driver_path("hostile.tsv"), NULL),
                         hostile->words);
    after = driver_read_file(db, &after_len);
    ck_assert_uint_eq(after_len, before_len);
    ck_assert_mem_eq(after, before, before_len);
    ck_assert_uint_eq(driver_count_files("kept.db"), 1);
    free(before);
    free(after);
}
END_TEST

// Items come through a pipe, so that the build is half done for certain when the signal arrives.
static struct driver_result interrupt_build(const char *db, int number)
{
    const char *pipe = driver_path("items.pipe");
    char *items = driver_read_file(driver_package_path("packages.tsv"), NULL);
    struct driver_result result;
    FILE *to;
    pid_t child;

    ck_assert_int_eq(mkfifo(pipe, 0600), 0);
    child = driver_start_build(db, driver_package_path("packages.fvecs"), pipe);
    to = fopen(pipe, "w");
    ck_assert_ptr_nonnull(to);
    fwrite(items, 1, strlen(items) / 2, to);
    fflush(to);
    while (driver_count_files("interrupted.db") < 2) {
        usleep(1000);
    }
    kill(child, number);
    fwrite(items + strlen(items) / 2, 1, strlen(items) - strlen(items) / 2, to);
    fclose(to);
    result = driver_finish(child);
    unlink(pipe);
    free(items);
    return result;
}

START_TEST(test_interrupted_build_leaves_the_old_index)
{
    const char *db = driver_path("interrupted.db");
    struct driver_result result;

    signal(SIGPIPE, SIG_IGN);
    suite_copy_index(db);
    suite_expect_failure(interrupt_build(db, SIGTERM), "stopped by signal 15");
    ck_assert_uint_eq(driver_count_files("interrupted.db"), 1);
    result = interrupt_build(db, SIGKILL);
    ck_assert_int_eq(result.status, 1000 + SIGKILL);
    driver_result_clear(&result);
    result = suite_search(db, "1");
    suite_expect_ok(&result);
    driver_result_clear(&result);
}
END_TEST

#define COUNT(array) ((int) (sizeof(array) / sizeof(array)[0]))

void tampering_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("tampering");

    suite_set_up_case(suite, tests);
    tcase_add_test(tests, test_database_holds_no_plaintext);
    tcase_add_loop_test(tests, test_one_flipped_byte_fails_the_search, 0, COUNT(flips));
    tcase_add_loop_test(tests, test_altered_rows_fail_the_search, 0, COUNT(alterations));
    tcase_add_test(tests, test_interrupted_build_leaves_the_old_index);
    tcase_add_loop_test(tests, test_hostile_input_leaves_the_old_index, 0, COUNT(hostiles));
}
