/*
 * The people who may approve: a PEM file of Ed25519 public keys, each below a comment line with its
 * owner's name.
 */
#pragma once

#include "base/crypto.h"

#define APPROVERS_MAX 16
#define APPROVER_NAME_LEN 64

struct approver {
    char name[APPROVER_NAME_LEN]; /* NUL-terminated */
    unsigned char key[ED25519_PUBLIC_LEN];
};

struct approvers {
    struct approver list[APPROVERS_MAX];
    size_t count;
};

/* From a file that nobody else may write. Each name and each key stands there once: one person is
 * never counted twice. CKR_FUNCTION_FAILED, logged, for anything else. */
CK_RV approvers_read(const char *path, struct approvers *ret_approvers);
/* The same from text, which `shown` names in log lines. */
CK_RV approvers_parse(const char *text, const char *shown, struct approvers *ret_approvers);
