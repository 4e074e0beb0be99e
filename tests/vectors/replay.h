/*
 * Wycheproof vectors through C_* functions. A case runs one test of a file and tells the outcome;
 * the main program compares it with the file's `result` and counts.
 */
#pragma once

#include <jansson.h>

#include "tests/vectors/replay_token.h"

enum replay_outcome {
    REPLAY_RIGHT,    /* everything that the vector says came out */
    REPLAY_REJECTED, /* the module refused as it should refuse a bad vector */
    REPLAY_POLICY,   /* refused by a rule of ours; `rule` names it */
    REPLAY_WRONG,    /* another result, or another refusal; `detail` says which */
};

struct replay_result {
    enum replay_outcome outcome;
    const char *rule;
    char detail[120];
};

struct replay_file {
    const char *name;
    struct replay_result (*run)(const struct replay_token *token, const struct replay_file *file,
                                json_t *group, json_t *test);
    CK_MECHANISM_TYPE mechanism; /* HKDF: its hash. PBKDF2: its PRF, a CKP_ number */
    CK_MECHANISM_TYPE general;   /* for truncated MACs */
    CK_KEY_TYPE key_type;
    CK_ULONG full_len; /* bytes of the whole MAC */
};

struct replay_result replay_gcm(const struct replay_token *token, const struct replay_file *file,
                                json_t *group, json_t *test);
struct replay_result replay_cbc_pad(const struct replay_token *token,
                                    const struct replay_file *file, json_t *group, json_t *test);
struct replay_result replay_mac(const struct replay_token *token, const struct replay_file *file,
                                json_t *group, json_t *test);
struct replay_result replay_gmac(const struct replay_token *token, const struct replay_file *file,
                                 json_t *group, json_t *test);
struct replay_result replay_pbkdf2(const struct replay_token *token, const struct replay_file *file,
                                   json_t *group, json_t *test);
struct replay_result replay_hkdf(const struct replay_token *token, const struct replay_file *file,
                                 json_t *group, json_t *test);
struct replay_result replay_wrap(const struct replay_token *token, const struct replay_file *file,
                                 json_t *group, json_t *test);
