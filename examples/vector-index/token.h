// A client of one PKCS#11 token: loads the module, logs in, finds the five keys of one index.
//
// Only C_GetFunctionList and the functions of Cryptoki 2.40 are used, and standard attributes and
// mechanisms, so that any module will do. Not for several threads.
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cryptoki.h>

#include "pin.h"

#define TOKEN_INDEX_MAX_LEN 64U
#define TOKEN_LABEL_LEN 32U

// The purpose of each key; the object's label is INDEX/PURPOSE.
enum token_key {
    TOKEN_KEY_TOKEN,    // HMAC: terms of the exact-match index
    TOKEN_KEY_CENTROID, // HMAC: list ids
    TOKEN_KEY_PAYLOAD,  // AES-GCM: embeddings and centroids
    TOKEN_KEY_ITEM,     // AES-GCM: item contents
    TOKEN_KEY_QUERY,    // HMAC: query tokens
    TOKEN_KEY_COUNT,
};

struct token_options {
    const char *module;
    const char *label;
    const char *index;
    struct pin_source pin;
};

// Each key has a session of its own: modules keep what they computed from a session's last key, and
// here two or three keys take turns at every record.
struct token {
    CK_FUNCTION_LIST_PTR calls;
    CK_SESSION_HANDLE sessions[TOKEN_KEY_COUNT];
    CK_OBJECT_HANDLE keys[TOKEN_KEY_COUNT];
    char key_labels[TOKEN_KEY_COUNT][TOKEN_INDEX_MAX_LEN + 16];
    size_t session_count;
    bool initialized;
};

// Freed by token_close, which logs out.
bool token_open(const struct token_options *options, struct token **ret_token);
void token_close(struct token *token);
void token_closep(struct token **token);
