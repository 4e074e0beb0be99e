/* Digests and MACs. */
#include "tests/unit/test_mechanisms.h"

#include <string.h>

#include "base/alloc.h"
#include "tests/unit/mechanism_fixture.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* The digest of "abc" (FIPS 180-4, FIPS 202 examples); HMAC of RFC 4231's first case and the same
 * with the other hashes. */
static const struct hash_case {
    CK_MECHANISM_TYPE digest, hmac, general;
    CK_KEY_TYPE key_type;
    const char *abc;
    const char *mac;
} hashes[] = {
    {CKM_SHA_1, CKM_SHA_1_HMAC, CKM_SHA_1_HMAC_GENERAL, CKK_SHA_1_HMAC,
     "a9993e364706816aba3e25717850c26c9cd0d89d", "b617318655057264e28bc0b6fb378c8ef146be00"},
    {CKM_SHA224, CKM_SHA224_HMAC, CKM_SHA224_HMAC_GENERAL, CKK_SHA224_HMAC,
     "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7",
     "896fb1128abbdf196832107cd49df33f47b4b1169912ba4f53684b22"},
    {CKM_SHA256, CKM_SHA256_HMAC, CKM_SHA256_HMAC_GENERAL, CKK_SHA256_HMAC,
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
     "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {CKM_SHA384, CKM_SHA384_HMAC, CKM_SHA384_HMAC_GENERAL, CKK_SHA384_HMAC,
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358ba"
     "eca134c825a7",
     "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af1"
     "52e8b2fa9cb6"},
    {CKM_SHA512, CKM_SHA512_HMAC, CKM_SHA512_HMAC_GENERAL, CKK_SHA512_HMAC,
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba"
     "3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
     "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b"
     "274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
    {CKM_SHA512_224, CKM_SHA512_224_HMAC, CKM_SHA512_224_HMAC_GENERAL, CKK_SHA512_224_HMAC,
     "4634270f707b6a54daae7530460842e20e37ed265ceee9a43e8924aa",
     "b244ba01307c0e7a8ccaad13b1067a4cf6b961fe0c6a20bda3d92039"},
    {CKM_SHA512_256, CKM_SHA512_256_HMAC, CKM_SHA512_256_HMAC_GENERAL, CKK_SHA512_256_HMAC,
     "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23",
     "9f9126c3d9c3c330d760425ca8a217e31feae31bfe70196ff81642b868402eab"},
    {CKM_SHA3_224, CKM_SHA3_224_HMAC, CKM_SHA3_224_HMAC_GENERAL, CKK_SHA3_224_HMAC,
     "e642824c3f8cf24ad09234ee7d3c766fc9a3a5168d0c94ad73b46fdf",
     "3b16546bbc7be2706a031dcafd56373d9884367641d8c59af3c860f7"},
    {CKM_SHA3_256, CKM_SHA3_256_HMAC, CKM_SHA3_256_HMAC_GENERAL, CKK_SHA3_256_HMAC,
     "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532",
     "ba85192310dffa96e2a3a40e69774351140bb7185e1202cdcc917589f95e16bb"},
    {CKM_SHA3_384, CKM_SHA3_384_HMAC, CKM_SHA3_384_HMAC_GENERAL, CKK_SHA3_384_HMAC,
     "ec01498288516fc926459f58e2c6ad8df9b473cb0fc08c2596da7cf0e49be4b298d88cea927ac7f539f1"
     "edf228376d25",
     "68d2dcf7fd4ddd0a2240c8a437305f61fb7334cfb5d0226e1bc27dc10a2e723a20d370b47743130e26ac"
     "7e3d532886bd"},
    {CKM_SHA3_512, CKM_SHA3_512_HMAC, CKM_SHA3_512_HMAC_GENERAL, CKK_SHA3_512_HMAC,
     "b751850b1a57168a5693cd924b6b096e08f621827444f70d884f5d0240d2712e10e116e9192af3c91a7e"
     "c57647e3934057340b4cf408d5a56592f8274eec53f0",
     "eb3fbd4b2eaab8f5c504bd3a41465aacec15770a7cabac531e482f860b5ec7ba47ccb2c6f2afce8f88d2"
     "2b6dc61380f23a668fd3888bb80537c0a0b86407689e"},
};

static const char hmac_key[] = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

START_TEST(digests_known_answers)
{
    const struct hash_case *hash = &hashes[_i];
    struct view wanted = hex(hash->abc);
    CK_MECHANISM mechanism = test_mechanism(hash->digest, NULL, 0);
    struct operation operation = test_operation(OPERATION_DIGEST, hash->digest, NULL);
    unsigned char out[64];

    /* The second round runs on the kept context. */
    for (size_t part = 0; part < 3; part++) {
        ck_assert_uint_eq(test_digest(&operation, &mechanism, bytes_of("abc", 3), part, out),
                          CKR_OK);
        ck_assert_uint_eq(operation.mechanism->digest->result_len(&operation), wanted.len);
        ck_assert_mem_eq(out, wanted.bytes, wanted.len);
    }
    operation_forget(&operation);
}
END_TEST

START_TEST(digest_starts_anew_after_an_unfinished_one)
{
    CK_MECHANISM mechanism = test_mechanism(CKM_SHA256, NULL, 0);
    struct operation operation = test_operation(OPERATION_DIGEST, CKM_SHA256, NULL);
    unsigned char out[32];

    ck_assert_uint_eq(operation.mechanism->digest->start(&operation, &mechanism), CKR_OK);
    ck_assert_uint_eq(operation.mechanism->digest->update(&operation, bytes_of("left over", 9)),
                      CKR_OK);
    operation_end(&operation);
    ck_assert_uint_eq(test_digest(&operation, &mechanism, bytes_of("abc", 3), 0, out), CKR_OK);
    ck_assert_mem_eq(out, hex(hashes[2].abc).bytes, sizeof(out));
    operation_forget(&operation);
}
END_TEST

/* Copy and original go their own ways; without memory there is no copy, and nothing leaks. */
START_TEST(digest_copies)
{
    CK_MECHANISM mechanism = test_mechanism(CKM_SHA256, NULL, 0);
    struct operation operation = test_operation(OPERATION_DIGEST, CKM_SHA256, NULL);
    const struct digest_ops *ops = operation.mechanism->digest;
    struct operation copy = operation;
    unsigned char out[32];

    ck_assert_uint_eq(ops->start(&operation, &mechanism), CKR_OK);
    ck_assert_uint_eq(ops->update(&operation, bytes_of("ab", 2)), CKR_OK);
    long live = mem_live();
    mem_fail_at(1, false);
    ck_assert_uint_eq(ops->copy(operation.state, &copy.state), CKR_HOST_MEMORY);
    mem_fail_at(0, false);
    ck_assert_int_eq(mem_live(), live);
    ck_assert_uint_eq(ops->copy(operation.state, &copy.state), CKR_OK);
    ck_assert_uint_eq(ops->update(&operation, bytes_of("x", 1)), CKR_OK);
    ck_assert_uint_eq(ops->update(&copy, bytes_of("c", 1)), CKR_OK);
    ck_assert_uint_eq(ops->finish(&copy, out), CKR_OK);
    ck_assert_mem_eq(out, hex(hashes[2].abc).bytes, sizeof(out));
    operation_forget(&copy);
    ck_assert_uint_eq(ops->finish(&operation, out), CKR_OK);
    ck_assert_mem_ne(out, hex(hashes[2].abc).bytes, sizeof(out));
    operation_forget(&operation);
}
END_TEST

START_TEST(hmacs_known_answers)
{
    const struct hash_case *hash = &hashes[_i];
    struct view wanted = hex(hash->mac);
    struct object *key = test_key_new(hash->key_type, hex(hmac_key));
    CK_MECHANISM mechanism = test_mechanism(hash->hmac, NULL, 0);
    struct operation operation = test_operation(OPERATION_SIGN, hash->hmac, key);
    unsigned char out[64];

    for (size_t part = 0; part < 4; part++) {
        ck_assert_uint_eq(test_digest(&operation, &mechanism, bytes_of("Hi There", 8), part, out),
                          CKR_OK);
        ck_assert_uint_eq(operation.mechanism->mac->result_len(&operation), wanted.len);
        ck_assert_mem_eq(out, wanted.bytes, wanted.len);
    }
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(hmac_general_cuts_and_has_a_floor)
{
    const struct hash_case *hash = &hashes[_i];
    struct view wanted = hex(hash->mac);
    struct object *key = test_key_new(CKK_GENERIC_SECRET, hex(hmac_key));
    struct operation operation = test_operation(OPERATION_VERIFY, hash->general, key);

    for (CK_MAC_GENERAL_PARAMS len = 0; len <= wanted.len + 1; len++) {
        CK_MECHANISM mechanism = test_mechanism(hash->general, &len, sizeof(len));
        unsigned char out[66];
        memset(out, 0xee, sizeof(out));
        CK_RV rv = test_digest(&operation, &mechanism, bytes_of("Hi There", 8), 0, out);
        if (len < 10 || len > wanted.len) {
            ck_assert_uint_eq(rv, CKR_MECHANISM_PARAM_INVALID);
            continue;
        }
        ck_assert_uint_eq(rv, CKR_OK);
        ck_assert_mem_eq(out, wanted.bytes, len);
        ck_assert_uint_eq(out[len], 0xee);
    }
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

static const struct cmac_case {
    const char *message;
    const char *mac;
} cmacs[] = {
    /* RFC 4493, 4. */
    {"", "bb1d6929e95937287fa37d129b756746"},
    {"6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"},
    {"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
     "dfa66747de9ae63030ca32611497c827"},
};

START_TEST(cmac_known_answers)
{
    struct object *key = test_key_new(CKK_AES, hex("2b7e151628aed2a6abf7158809cf4f3c"));
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_CMAC, NULL, 0);
    struct operation operation = test_operation(OPERATION_SIGN, CKM_AES_CMAC, key);
    unsigned char out[16];

    for (size_t i = 0; i < 2 * COUNT(cmacs); i++) {
        const struct cmac_case *now = &cmacs[i % COUNT(cmacs)];
        ck_assert_uint_eq(test_digest(&operation, &mechanism, hex(now->message), i * 7, out),
                          CKR_OK);
        ck_assert_mem_eq(out, hex(now->mac).bytes, sizeof(out));
    }
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(cmac_general_has_a_floor)
{
    struct object *key = test_key_new(CKK_AES, hex("2b7e151628aed2a6abf7158809cf4f3c"));
    struct operation operation = test_operation(OPERATION_SIGN, CKM_AES_CMAC_GENERAL, key);
    unsigned char out[16];

    for (CK_MAC_GENERAL_PARAMS len = 7; len <= 17; len++) {
        CK_MECHANISM mechanism = test_mechanism(CKM_AES_CMAC_GENERAL, &len, sizeof(len));
        CK_RV rv = test_digest(&operation, &mechanism, hex(cmacs[1].message), 0, out);
        ck_assert_uint_eq(rv, len < 8 || len > 16 ? CKR_MECHANISM_PARAM_INVALID : CKR_OK);
        if (rv == CKR_OK)
            ck_assert_mem_eq(out, hex(cmacs[1].mac).bytes, len);
    }
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(mac_starts_anew_after_an_unfinished_one)
{
    static const CK_MECHANISM_TYPE types[] = {CKM_SHA256_HMAC, CKM_SHA3_256_HMAC, CKM_AES_CMAC};
    struct object *key = test_key_new(CKK_AES, hex("2b7e151628aed2a6abf7158809cf4f3c"));
    CK_MECHANISM mechanism = test_mechanism(types[_i], NULL, 0);
    struct operation operation = test_operation(OPERATION_SIGN, types[_i], key);
    unsigned char first[64];
    unsigned char second[64];

    ck_assert_uint_eq(test_digest(&operation, &mechanism, bytes_of("abc", 3), 0, first), CKR_OK);
    ck_assert_uint_eq(operation.mechanism->mac->start(&operation, &mechanism), CKR_OK);
    ck_assert_uint_eq(operation.mechanism->mac->update(&operation, bytes_of("left", 4)), CKR_OK);
    operation_end(&operation);
    ck_assert_uint_eq(test_digest(&operation, &mechanism, bytes_of("abc", 3), 0, second), CKR_OK);
    ck_assert_mem_eq(first, second, 16);
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(wrong_parameters_are_refused)
{
    static const CK_MECHANISM_TYPE plain[] = {CKM_SHA256, CKM_SHA256_HMAC, CKM_AES_CMAC};
    struct object *key = test_key_new(CKK_AES, hex("2b7e151628aed2a6abf7158809cf4f3c"));
    CK_ULONG parameter = 16;
    unsigned char out[64];

    for (size_t i = 0; i < COUNT(plain); i++) {
        CK_MECHANISM mechanism = test_mechanism(plain[i], &parameter, sizeof(parameter));
        struct operation operation = test_operation(i == 0 ? OPERATION_DIGEST : OPERATION_SIGN,
                                                    plain[i], i == 0 ? NULL : key);
        ck_assert_uint_eq(test_digest(&operation, &mechanism, bytes_of("abc", 3), 0, out),
                          CKR_MECHANISM_PARAM_INVALID);
        operation_forget(&operation);
    }
    struct operation operation = test_operation(OPERATION_SIGN, CKM_SHA256_HMAC_GENERAL, key);
    CK_MECHANISM none = test_mechanism(CKM_SHA256_HMAC_GENERAL, NULL, sizeof(parameter));
    CK_MECHANISM small = test_mechanism(CKM_SHA256_HMAC_GENERAL, &parameter, 4);
    ck_assert_uint_eq(test_digest(&operation, &none, bytes_of("abc", 3), 0, out),
                      CKR_MECHANISM_PARAM_INVALID);
    ck_assert_uint_eq(test_digest(&operation, &small, bytes_of("abc", 3), 0, out),
                      CKR_MECHANISM_PARAM_INVALID);
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(cmac_key_sizes)
{
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_CMAC, NULL, 0);
    unsigned char out[16];

    for (size_t len = 1; len <= 33; len++) {
        unsigned char bytes[33] = {0};
        struct object *key = test_key_new(CKK_AES, bytes_of(bytes, len));
        struct operation operation = test_operation(OPERATION_SIGN, CKM_AES_CMAC, key);
        CK_RV rv = test_digest(&operation, &mechanism, bytes_of("abc", 3), 0, out);
        bool fits = len == 16 || len == 24 || len == 32;
        ck_assert_uint_eq(rv, fits ? CKR_OK : CKR_KEY_SIZE_RANGE);
        operation_forget(&operation);
        test_key_free(key);
    }
}
END_TEST

/* Wycheproof, tests 1, 287 and 356 of aes_gmac_test.json: an empty message, a long one, and an IV
 * of 16 bytes. */
static const struct {
    const char *key, *iv, *message, *tag;
} gmacs[] = {
    {"98b08a72ffde0ded4bec9d2a8db57235", "1595248735310eb710519c2b", "",
     "5118cc71501c8273a43662b981191750"},
    {"e2a72f64301e4db6e8c05c312f2cea92fb8b063eb7fec23ea4e98c46fd0484d6", "8998ac05e11c964f22090ce7",
     "c70fb43de3aff11dbcab9b6c267c4b5b35cd9c08ec6999419a6771bcc734ae8650a56a4299c2105b32be02181eaa"
     "ebe79f0747761573959d2bd71b0874de54ec2fd17bfd871acd766d5313cbffbe26ced083f5224f2777cd65ac4d2d"
     "b08f213c0f7a5bccbc19b9bd42ab64116142f4d94b09280ee584744055f81e2fef291b36ae",
     "54548320e2801dad4568329756586706"},
    {"7e4c3e47b97fa6362fe7f660d291672e66b553589e19404b5c90a2ff43846914",
     "2800c4ab25d2b562ce76a35c03542f66",
     "0ef9d4bbb9edd52c6e4d2e1df084c3da0411fbd960f9793f875bd8c1bc751c7d78c00718ce344e11a6fb1487634e"
     "dbfe52af804c65a46e918bdc6aee98bee31f0b987ade33a0976e1db266b2c133453e027bd865199817df2689ac09"
     "a759d3be195cd456528abdef2f6938f871e255d0d04e130e190b93452198c85b0e0b9fc0ce",
     "dd37b1cc99a48145416336b61d3b1f39"},
};

static CK_GCM_PARAMS gmac_params(const char *iv, CK_ULONG tag_bits)
{
    struct view bytes = hex(iv);

    return (CK_GCM_PARAMS){
        .pIv = (CK_BYTE_PTR) bytes.bytes, .ulIvLen = bytes.len, .ulTagBits = tag_bits};
}

/* Each message after one that was left unfinished, under another IV. */
START_TEST(gmac_known_answers)
{
    struct object *key = test_key_new(CKK_AES, hex(gmacs[_i].key));
    struct operation operation = test_operation(OPERATION_SIGN, CKM_AES_GMAC, key);
    const struct digest_ops *ops = operation.mechanism->mac;

    for (size_t round = 0; round < 60; round++) {
        size_t tag_len = 16 - round % 5;
        CK_GCM_PARAMS other = gmac_params("000102030405060708090a0b0c0d", 96);
        CK_GCM_PARAMS params = gmac_params(gmacs[_i].iv, 8 * tag_len);
        CK_MECHANISM before = test_mechanism(CKM_AES_GMAC, &other, sizeof(other));
        CK_MECHANISM mechanism = test_mechanism(CKM_AES_GMAC, &params, sizeof(params));
        unsigned char out[17] = {0};
        ck_assert_uint_eq(ops->start(&operation, &before), CKR_OK);
        ck_assert_uint_eq(ops->update(&operation, bytes_of("left over", 9)), CKR_OK);
        operation_end(&operation);
        ck_assert_uint_eq(test_digest(&operation, &mechanism, hex(gmacs[_i].message), round, out),
                          CKR_OK);
        ck_assert_uint_eq(ops->result_len(&operation), tag_len);
        ck_assert_mem_eq(out, hex(gmacs[_i].tag).bytes, tag_len);
        ck_assert_uint_eq(out[tag_len], 0);
    }
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(gmac_takes_a_bare_iv)
{
    struct object *key = test_key_new(CKK_AES, hex(gmacs[1].key));
    struct operation operation = test_operation(OPERATION_SIGN, CKM_AES_GMAC, key);
    struct view iv = hex(gmacs[1].iv);
    CK_MECHANISM mechanism = test_mechanism(CKM_AES_GMAC, (void *) iv.bytes, iv.len);
    unsigned char out[16];

    ck_assert_uint_eq(test_digest(&operation, &mechanism, hex(gmacs[1].message), 0, out), CKR_OK);
    ck_assert_mem_eq(out, hex(gmacs[1].tag).bytes, sizeof(out));
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

START_TEST(gmac_refuses_wrong_parameters)
{
    struct object *key = test_key_new(CKK_AES, hex(gmacs[0].key));
    struct operation operation = test_operation(OPERATION_SIGN, CKM_AES_GMAC, key);
    const struct digest_ops *ops = operation.mechanism->mac;
    CK_GCM_PARAMS bad[5];
    CK_BYTE bytes[64] = {0};

    for (size_t i = 0; i < COUNT(bad); i++)
        bad[i] = gmac_params(gmacs[0].iv, 128);
    bad[0].pAAD = bytes;
    bad[0].ulAADLen = 1;
    bad[1].ulTagBits = 88;
    bad[2].ulIvLen = 0;
    bad[3].pIv = NULL;
    bad[4].ulTagBits = 16;
    for (size_t i = 0; i < COUNT(bad); i++) {
        CK_MECHANISM mechanism = test_mechanism(CKM_AES_GMAC, &bad[i], sizeof(bad[i]));
        ck_assert_uint_eq(ops->start(&operation, &mechanism), CKR_MECHANISM_PARAM_INVALID);
    }
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        CK_MECHANISM mechanism = test_mechanism(CKM_AES_GMAC, len == 12 ? NULL : bytes, len);
        ck_assert_uint_eq(ops->start(&operation, &mechanism), CKR_MECHANISM_PARAM_INVALID);
    }
    operation_forget(&operation);
    test_key_free(key);
}
END_TEST

TCase *mechanism_mac_tests(void)
{
    TCase *tests = tcase_create("digests and MACs");

    tcase_add_checked_fixture(tests, mechanism_setup, mechanism_teardown);
    tcase_add_loop_test(tests, digests_known_answers, 0, COUNT(hashes));
    tcase_add_test(tests, digest_starts_anew_after_an_unfinished_one);
    tcase_add_test(tests, digest_copies);
    tcase_add_loop_test(tests, hmacs_known_answers, 0, COUNT(hashes));
    tcase_add_loop_test(tests, hmac_general_cuts_and_has_a_floor, 0, COUNT(hashes));
    tcase_add_test(tests, cmac_known_answers);
    tcase_add_test(tests, cmac_general_has_a_floor);
    tcase_add_loop_test(tests, mac_starts_anew_after_an_unfinished_one, 0, 3);
    tcase_add_test(tests, wrong_parameters_are_refused);
    tcase_add_test(tests, cmac_key_sizes);
    tcase_add_loop_test(tests, gmac_known_answers, 0, COUNT(gmacs));
    tcase_add_test(tests, gmac_takes_a_bare_iv);
    tcase_add_test(tests, gmac_refuses_wrong_parameters);
    return tests;
}
