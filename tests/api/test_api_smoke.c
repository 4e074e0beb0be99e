/* The main road through the C_* functions: initialise, make an index key, use a subkey, restart. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/api_fixture.h"

static const char *const stores[] = {"memory:", NULL};

static CK_ULONG encrypt(struct api *api, CK_OBJECT_HANDLE key, CK_BYTE *iv, CK_BYTE *out,
                        CK_ULONG out_size)
{
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_BYTE text[] = "an embedding";
    CK_ULONG len = out_size;

    OK(api->p11->C_GenerateRandom(api->session, iv, 12));
    OK(api->p11->C_EncryptInit(api->session, &mechanism, key));
    OK(api->p11->C_Encrypt(api->session, text, sizeof(text), out, &len));
    return len;
}

static void decrypt(struct api *api, CK_OBJECT_HANDLE key, CK_BYTE *iv, CK_BYTE *in, CK_ULONG len)
{
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_BYTE out[64];
    CK_ULONG out_len = sizeof(out);

    OK(api->p11->C_DecryptInit(api->session, &mechanism, key));
    OK(api->p11->C_Decrypt(api->session, in, len, out, &out_len));
    ck_assert_str_eq((const char *) out, "an embedding");
}

START_TEST(main_road)
{
    struct api api;
    CK_BYTE iv[12];
    CK_BYTE sealed[64];

    api_open(&api, stores[_i], NULL);
    api_make_index_key(&api, "packages", 1);
    CK_ULONG len = encrypt(&api, api_find(&api, "packages/payload"), iv, sealed, sizeof(sealed));
    ck_assert_uint_eq(len, sizeof("an embedding") + 16);
    decrypt(&api, api_find(&api, "packages/payload"), iv, sealed, len);
    if (stores[_i] == NULL) {
        api_restart(&api);
        decrypt(&api, api_find(&api, "packages/payload"), iv, sealed, len);
    }
    sealed[len - 1] ^= 1;
    CK_GCM_PARAMS params = {.pIv = iv, .ulIvLen = 12, .ulTagBits = 128};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_BYTE out[64];
    CK_ULONG out_len = sizeof(out);
    OK(api.p11->C_DecryptInit(api.session, &mechanism, api_find(&api, "packages/item")));
    EXPECT(CKR_ENCRYPTED_DATA_INVALID, api.p11->C_Decrypt(api.session, sealed, len, out, &out_len));
    api_close(&api);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api smoke");
    TCase *tests = tcase_create("main road");
    SRunner *runner = srunner_create(suite);

    suite_add_tcase(suite, tests);
    tcase_add_loop_test(tests, main_road, 0, 2);
    tcase_set_timeout(tests, 60);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
