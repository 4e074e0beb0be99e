/* What `source = hsm` reads and waits for without a parent: URIs, wrapped keys, work in a thread
 * that may be left behind. */
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "tests/support/token_fixture.h"
#include "tokens/apart.h"
#include "tokens/hsm_blob.h"
#include "tokens/hsm_uri.h"

/* ---- URIs ---- */

#define MODULE "?module-path=/usr/lib/hsm.so"

static const struct {
    const char *text;
    const char *label;
    const char *pin_file;
} good_uris[] = {
    {"pkcs11:token=root;object=key" MODULE, "key", NULL},
    {"pkcs11:object=a%20key;type=secret-key" MODULE "&pin-source=file:/etc/pin", "a key",
     "/etc/pin"},
    {"pkcs11:serial=1;manufacturer=m;model=m;id=%01%02" MODULE "&pin-source=file:///etc/pin", NULL,
     "/etc/pin"},
    {"pkcs11:slot-id=3;object=key" MODULE "&pin-source=/etc/a%20pin", "key", "/etc/a pin"},
};

START_TEST(good_uris_are_read)
{
    struct hsm_uri uri;
    ck_assert_ptr_null(hsm_uri_fault(good_uris[_i].text));
    ck_assert_uint_eq(hsm_uri_read(good_uris[_i].text, &uri), CKR_OK);
    ck_assert_str_eq(uri.module, "/usr/lib/hsm.so");
    ck_assert_pstr_eq(uri.pin_file, good_uris[_i].pin_file);
    const CK_ATTRIBUTE *label = hsm_uri_attribute(&uri, CKA_LABEL);
    ck_assert_int_eq(label != NULL, good_uris[_i].label != NULL);
    if (label != NULL)
        ck_assert(view_equal((struct view){label->pValue, label->ulValueLen},
                             view_text(good_uris[_i].label)));
    hsm_uri_clear(&uri);
}
END_TEST

static const char *const bad_uris[] = {
    "",
    "pkcs11",
    "pkcs11:",
    "PKCS:object=key" MODULE,
    "pkcs11:object" MODULE,
    "pkcs11:object=%" MODULE,
    "pkcs11:object=%4" MODULE,
    "pkcs11:object=key;type=soup" MODULE,
    "pkcs11:object=key;x-more=1" MODULE,
    "pkcs11:object=key?pin-value=1234&module-path=/usr/lib/hsm.so",
    "pkcs11:object=key" MODULE "&pin-source=pin",
    "pkcs11:object=key" MODULE "&pin-source=%7Cprogram",
    "pkcs11:token=root" MODULE,
};

START_TEST(bad_uris_are_refused)
{
    ck_assert_ptr_nonnull(hsm_uri_fault(bad_uris[_i]));
}
END_TEST

START_TEST(a_long_id_is_refused)
{
    char text[1024] = "pkcs11:id=";
    for (int i = 0; i < 256; i++)
        strcat(text, "%01");
    strcat(text, MODULE);
    ck_assert_ptr_nonnull(hsm_uri_fault(text));
}
END_TEST

/* ---- wrapped keys ---- */

#define ID "\1\2\3"
#define IV "twelve bytes"
#define OUTPUT "what the parent made of the data key"

static const struct hsm_blob sample = {
    .mechanism = HSM_AES_GCM,
    .key_id = {(const unsigned char *) ID, 3},
    .iv = {(const unsigned char *) IV, HSM_IV_LEN},
    .ciphertext = {(const unsigned char *) OUTPUT, sizeof(OUTPUT) - 1},
};

START_TEST(a_wrapped_key_is_as_documented)
{
    static const char wanted[] = "IKHS\1\1\0\0\0\3" ID IV OUTPUT;
    _cleanup_(writer_clear) struct writer writer = {0};
    hsm_blob_write(&writer, &sample);
    ck_assert_uint_eq(writer.len, sizeof(wanted) - 1);
    ck_assert_mem_eq(writer.bytes, wanted, sizeof(wanted) - 1);
    struct hsm_blob blob;
    ck_assert(hsm_blob_read(writer_view(&writer), HSM_AUTO, &blob));
    ck_assert(!blob.is_bare);
    ck_assert_int_eq(blob.mechanism, HSM_AES_GCM);
    ck_assert(view_equal(blob.key_id, sample.key_id));
    ck_assert(view_equal(blob.iv, sample.iv));
    ck_assert(view_equal(blob.ciphertext, sample.ciphertext));
}
END_TEST

START_TEST(the_associated_data_tells_all_but_the_ciphertext)
{
    static const char wanted[] = "IKHS\1\1\0\0\0\3" ID "\0\0\0\4acme";
    _cleanup_(writer_clear) struct writer aad = {0};
    hsm_blob_aad(&aad, &sample, view_text("acme"));
    ck_assert_uint_eq(aad.len, sizeof(wanted) - 1);
    ck_assert_mem_eq(aad.bytes, wanted, sizeof(wanted) - 1);
    struct hsm_blob bare = {.mechanism = HSM_AES_GCM, .is_bare = true};
    _cleanup_(writer_clear) struct writer bare_aad = {0};
    hsm_blob_aad(&bare_aad, &bare, view_text("acme"));
    ck_assert(view_equal(writer_view(&bare_aad), view_text("acme")));
}
END_TEST

START_TEST(a_short_wrapped_key_is_refused)
{
    struct hsm_blob blob;
    _cleanup_(writer_clear) struct writer writer = {0};
    hsm_blob_write(&writer, &sample);
    size_t least = writer.len - sample.ciphertext.len + 1;
    for (size_t len = 0; len < least; len++) {
        /* A block of its own, so that a sanitizer sees each byte too many. */
        unsigned char *copy = mem_dup(writer.bytes, len);
        ck_assert_ptr_nonnull(copy);
        ck_assert_msg(!hsm_blob_read((struct view){copy, len}, HSM_AUTO, &blob), "%zu", len);
        mem_free(copy);
    }
    ck_assert(hsm_blob_read((struct view){writer.bytes, least}, HSM_AUTO, &blob));
}
END_TEST

static const struct {
    const char *bytes;
    size_t len;
} bad_blobs[] = {
    {"IKHS\2\1\0\0\0\0twelve bytesX", 23},  {"IKHS\1\0\0\0\0\0twelve bytesX", 23},
    {"IKHS\1\6\0\0\0\0twelve bytesX", 23},  {"IKHS\1\377\0\0\0\0twelve bytesX", 23},
    {"IKHS\1\2\0\0\1\0twelve bytesX", 23},  {"IKHS\1\2\377\377\377\377twelve bytesX", 23},
    {"IKHS\1\2\0\0\0\15twelve bytesX", 23},
};

START_TEST(a_malformed_wrapped_key_is_refused)
{
    struct hsm_blob blob;
    struct view bytes = {(const unsigned char *) bad_blobs[_i].bytes, bad_blobs[_i].len};
    ck_assert(!hsm_blob_read(bytes, HSM_AUTO, &blob));
    ck_assert(!hsm_blob_read(bytes, HSM_AES_KWP, &blob));
}
END_TEST

START_TEST(a_bare_one_is_of_the_mechanism_that_is_told)
{
    struct hsm_blob blob;
    ck_assert(!hsm_blob_read(view_text(OUTPUT), HSM_AUTO, &blob));
    ck_assert(hsm_blob_read(view_text(OUTPUT), HSM_AES_KWP, &blob));
    ck_assert(blob.is_bare);
    ck_assert_int_eq(blob.mechanism, HSM_AES_KWP);
    ck_assert(view_equal(blob.ciphertext, view_text(OUTPUT)));
    ck_assert(hsm_blob_read(view_text(IV OUTPUT), HSM_AES_GCM, &blob));
    ck_assert(view_equal(blob.iv, view_text(IV)));
    ck_assert(view_equal(blob.ciphertext, view_text(OUTPUT)));
    ck_assert(!hsm_blob_read(view_text(IV), HSM_AES_GCM, &blob));
    ck_assert(!hsm_blob_read((struct view){0}, HSM_AES_KWP, &blob));
}
END_TEST

/* ---- work in a thread that may be left behind ---- */

struct work {
    struct apart apart;
    int work_ms;
    atomic_bool *is_freed;
    bool was_inside;
};

static void run(struct apart *apart)
{
    struct work *work = (struct work *) apart;
    work->was_inside = apart_is_inside();
    (void) usleep((useconds_t) work->work_ms * 1000);
}

static void free_work(struct apart *apart)
{
    struct work *work = (struct work *) apart;
    atomic_bool *is_freed = work->is_freed;
    mem_free(work);
    atomic_store(is_freed, true);
}

static struct work *new_work(int work_ms, atomic_bool *is_freed)
{
    struct work *work = mem_calloc(1, sizeof(*work));
    ck_assert_ptr_nonnull(work);
    apart_init(&work->apart, run, free_work);
    work->work_ms = work_ms;
    work->is_freed = is_freed;
    return work;
}

START_TEST(work_that_comes_back_is_the_callers)
{
    atomic_bool is_freed = false;
    struct work *work = new_work(1, &is_freed);
    ck_assert_int_eq(apart_run(&work->apart, clock_boot_ms() + 5000, NULL), APART_DONE);
    ck_assert(work->was_inside);
    ck_assert(!apart_is_inside());
    ck_assert(!atomic_load(&is_freed));
    apart_free(&work->apart);
    ck_assert(atomic_load(&is_freed));
}
END_TEST

static void expect_left(struct work *work, int64_t deadline_ms, const atomic_bool *cancelled,
                        enum apart_end wanted, atomic_bool *is_freed)
{
    int64_t begin_ms = clock_boot_ms();
    ck_assert_int_eq(apart_run(&work->apart, begin_ms + deadline_ms, cancelled), wanted);
    ck_assert_int_lt(clock_boot_ms() - begin_ms, 150);
    ck_assert(!atomic_load(is_freed));
    while (!atomic_load(is_freed))
        (void) usleep(1000);
}

START_TEST(work_that_does_not_is_the_threads)
{
    atomic_bool is_freed = false;
    expect_left(new_work(400, &is_freed), 50, NULL, APART_TIMEOUT, &is_freed);
}
END_TEST

START_TEST(a_cancelled_wait_ends)
{
    atomic_bool is_freed = false;
    const atomic_bool cancelled = true;
    expect_left(new_work(400, &is_freed), 5000, &cancelled, APART_CANCELLED, &is_freed);
}
END_TEST

int main(void)
{
    TCase *cases = tcase_create("hsm");
    tcase_add_loop_test(cases, good_uris_are_read, 0, (int) COUNT_OF(good_uris));
    tcase_add_loop_test(cases, bad_uris_are_refused, 0, (int) COUNT_OF(bad_uris));
    tcase_add_test(cases, a_long_id_is_refused);
    tcase_add_test(cases, a_wrapped_key_is_as_documented);
    tcase_add_test(cases, the_associated_data_tells_all_but_the_ciphertext);
    tcase_add_test(cases, a_short_wrapped_key_is_refused);
    tcase_add_loop_test(cases, a_malformed_wrapped_key_is_refused, 0, (int) COUNT_OF(bad_blobs));
    tcase_add_test(cases, a_bare_one_is_of_the_mechanism_that_is_told);
    tcase_add_test(cases, work_that_comes_back_is_the_callers);
    tcase_add_test(cases, work_that_does_not_is_the_threads);
    tcase_add_test(cases, a_cancelled_wait_ends);
    return fixture_run("hsm", cases);
}
