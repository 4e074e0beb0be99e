#include "tests/api/state_operations.h"

#include <string.h>

struct api states_api;
const CK_BYTE operations_key_value[OPERATIONS_KEY_LEN] = "the states test knows this key.";

static CK_BBOOL yes = CK_TRUE;
static CK_BBOOL no = CK_FALSE;
static CK_OBJECT_CLASS data_class = CKO_DATA;

#define P11 states_api.p11

static CK_RV encrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                          const struct machine_args *args)
{
    (void) args;
    return P11->C_EncryptInit(session, mechanism, key);
}

static CK_RV encrypt_once(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_Encrypt(session, args->in, args->in_len, args->out, args->out_len);
}

static CK_RV encrypt_update(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_EncryptUpdate(session, args->in, args->in_len, args->out, args->out_len);
}

static CK_RV encrypt_final(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_EncryptFinal(session, args->out, args->out_len);
}

static CK_RV decrypt_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                          const struct machine_args *args)
{
    (void) args;
    return P11->C_DecryptInit(session, mechanism, key);
}

static CK_RV decrypt_once(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_Decrypt(session, args->in, args->in_len, args->out, args->out_len);
}

static CK_RV decrypt_update(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_DecryptUpdate(session, args->in, args->in_len, args->out, args->out_len);
}

static CK_RV decrypt_final(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_DecryptFinal(session, args->out, args->out_len);
}

static CK_RV digest_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                         const struct machine_args *args)
{
    (void) key;
    (void) args;
    return P11->C_DigestInit(session, mechanism);
}

static CK_RV digest_once(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_Digest(session, args->in, args->in_len, args->out, args->out_len);
}

static CK_RV digest_update(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_DigestUpdate(session, args->in, args->in_len);
}

static CK_RV digest_final(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_DigestFinal(session, args->out, args->out_len);
}

static CK_RV sign_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                       const struct machine_args *args)
{
    (void) args;
    return P11->C_SignInit(session, mechanism, key);
}

static CK_RV sign_once(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_Sign(session, args->in, args->in_len, args->out, args->out_len);
}

static CK_RV sign_update(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_SignUpdate(session, args->in, args->in_len);
}

static CK_RV sign_final(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_SignFinal(session, args->out, args->out_len);
}

static CK_RV verify_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                         const struct machine_args *args)
{
    (void) args;
    return P11->C_VerifyInit(session, mechanism, key);
}

static CK_RV verify_once(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_Verify(session, args->in, args->in_len, args->out, *args->out_len);
}

static CK_RV verify_update(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_VerifyUpdate(session, args->in, args->in_len);
}

static CK_RV verify_final(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_VerifyFinal(session, args->out, *args->out_len);
}

static CK_RV verify_signature_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism,
                                   CK_OBJECT_HANDLE key, const struct machine_args *args)
{
    return P11->C_VerifySignatureInit(session, mechanism, key, args->out, *args->out_len);
}

static CK_RV verify_signature_once(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_VerifySignature(session, args->in, args->in_len);
}

static CK_RV verify_signature_update(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    return P11->C_VerifySignatureUpdate(session, args->in, args->in_len);
}

static CK_RV verify_signature_final(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    (void) args;
    return P11->C_VerifySignatureFinal(session);
}

/* A search takes no data: its input length says how many handles are wanted, in bytes. */
static CK_RV find_init(CK_SESSION_HANDLE session, CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key,
                       const struct machine_args *args)
{
    CK_ATTRIBUTE template = {CKA_CLASS, &data_class, sizeof(data_class)};

    (void) mechanism;
    (void) key;
    return P11->C_FindObjectsInit(session, args->out == NULL ? NULL : &template, 1);
}

static CK_RV find_update(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    CK_OBJECT_HANDLE handles[OPERATIONS_FOUND];
    CK_ULONG found = 0;
    CK_ULONG wanted = (args->in_len + sizeof(CK_OBJECT_HANDLE) - 1) / sizeof(CK_OBJECT_HANDLE);

    REQUIRE(wanted <= OPERATIONS_FOUND);
    CK_RV rv = P11->C_FindObjects(session, args->in == NULL ? NULL : handles, wanted,
                                  args->out_len == NULL ? NULL : &found);
    if (rv == CKR_OK) {
        memcpy(args->out, handles, found * sizeof(CK_OBJECT_HANDLE));
        *args->out_len = found * sizeof(CK_OBJECT_HANDLE);
    }
    return rv;
}

static CK_RV find_final(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    (void) args;
    return P11->C_FindObjectsFinal(session);
}

static CK_RV find_once(CK_SESSION_HANDLE session, const struct machine_args *args)
{
    CK_RV rv = find_update(session, args);

    return rv == CKR_OK ? P11->C_FindObjectsFinal(session) : rv;
}

#define DRIVER(name, flag)                                                                         \
    const struct machine_driver operations_##name = {.cancel_flag = flag,                          \
                                                     .init = name##_init,                          \
                                                     .once = name##_once,                          \
                                                     .update = name##_update,                      \
                                                     .final = name##_final}
DRIVER(encrypt, CKF_ENCRYPT);
DRIVER(decrypt, CKF_DECRYPT);
DRIVER(digest, CKF_DIGEST);
DRIVER(sign, CKF_SIGN);
DRIVER(verify, CKF_VERIFY);
DRIVER(verify_signature, CKF_VERIFY);
DRIVER(find, CKF_FIND_OBJECTS);

/* Functions that are not served say so whatever they are given. */
static bool served(const struct machine_row *row, CK_SESSION_HANDLE session)
{
    CK_RV rv = CKR_OK;

    if ((row->traits & TRAIT_VERIFY_SIGNATURE) != 0)
        rv = P11->C_VerifySignatureUpdate(session, NULL, 0);
    else if ((row->traits & TRAITS_MESSAGE) != 0)
        rv = row->driver->end(session);
    return rv != CKR_FUNCTION_NOT_SUPPORTED;
}

bool operations_present(const struct machine_row *row)
{
    CK_MECHANISM_INFO info;

    if (row->flag != 0 &&
        (P11->C_GetMechanismInfo(states_api.slot, row->mechanism.mechanism, &info) != CKR_OK ||
         (info.flags & row->flag) == 0))
        return false;
    return served(row, states_api.session);
}

static CK_OBJECT_HANDLE import(CK_SESSION_HANDLE session, CK_KEY_TYPE type, bool private)
{
    CK_OBJECT_CLASS class = CKO_SECRET_KEY;
    bool aes = type == CKK_AES;
    CK_ATTRIBUTE template[] = {
        {CKA_CLASS, &class, sizeof(class)},
        {CKA_KEY_TYPE, &type, sizeof(type)},
        {CKA_VALUE, (void *) operations_key_value, sizeof(operations_key_value)},
        {CKA_PRIVATE, private ? &yes : &no, 1},
        {CKA_SENSITIVE, private ? &yes : &no, 1},
        {CKA_EXTRACTABLE, private ? &no : &yes, 1},
        {CKA_SIGN, &yes, 1},
        {CKA_VERIFY, &yes, 1},
        {CKA_ENCRYPT, aes ? &yes : &no, 1},
        {CKA_DECRYPT, aes ? &yes : &no, 1},
    };
    CK_OBJECT_HANDLE key;

    OK(P11->C_CreateObject(session, template, COUNT(template), &key));
    return key;
}

static CK_OBJECT_HANDLE make_found(CK_SESSION_HANDLE session)
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &data_class, sizeof(data_class)}, {CKA_PRIVATE, &no, 1}};
    CK_OBJECT_HANDLE object = 0;

    for (int i = 0; i < OPERATIONS_FOUND; i++)
        OK(P11->C_CreateObject(session, template, COUNT(template), &object));
    return object;
}

CK_OBJECT_HANDLE operations_make_key(const struct machine *machine)
{
    if ((machine->row->traits & TRAIT_FIND) != 0)
        return make_found(machine->other);
    if ((machine->row->traits & TRAIT_DIGEST) != 0)
        return import(machine->other, CKK_GENERIC_SECRET, false);
    return import(machine->other, machine->row->key_type, true);
}

static CK_OBJECT_HANDLE aes_key;
static CK_OBJECT_HANDLE mac_key;

void operations_open(struct machine *machine)
{
    OK(P11->C_OpenSession(states_api.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL,
                          &machine->other));
    aes_key = import(machine->other, CKK_AES, false);
    mac_key = import(machine->other, CKK_GENERIC_SECRET, false);
}

CK_RV operations_change_owner(struct machine *machine)
{
    CK_RV rv = P11->C_CloseSession(machine->other);

    operations_open(machine);
    return rv;
}

bool operations_save_states(void)
{
    CK_ULONG len = 0;

    return P11->C_GetOperationState(states_api.session, NULL, &len) != CKR_FUNCTION_NOT_SUPPORTED;
}

/* Decryption gets what encryption makes of it. */
CK_ULONG operations_make_text(struct machine *machine)
{
    CK_MECHANISM mechanism = machine->row->mechanism;
    CK_ULONG len = sizeof(machine->text);

    if ((machine->row->traits & TRAIT_MESSAGE_DECRYPT) != 0)
        return messages_make_text(machine);
    if ((machine->row->traits & TRAIT_DECRYPT) == 0) {
        memcpy(machine->text, machine->plain, machine->row->text_len);
        return machine->row->text_len;
    }
    OK(P11->C_EncryptInit(machine->other, &mechanism, machine->key));
    OK(P11->C_Encrypt(machine->other, machine->plain, machine->row->text_len, machine->text, &len));
    return len;
}

CK_ULONG operations_reference(const struct machine *machine, CK_BYTE *in, CK_ULONG len,
                              CK_BYTE *out)
{
    const struct machine_driver *driver = machine->row->driver;
    CK_MECHANISM mechanism = machine->row->mechanism;
    CK_ULONG out_len = MACHINE_BYTES;
    const struct machine_args args = {in, len, out, &out_len};

    if ((machine->row->traits & TRAITS_MESSAGE_CRYPT) != 0)
        return messages_reference(machine, in, len, out);
    if ((machine->row->traits & TRAIT_MESSAGE_SIGN) != 0)
        return operations_mac(machine, in, len, out);
    OK(driver->init(machine->other, &mechanism, machine->key, &args));
    OK(driver->once(machine->other, &args));
    return out_len;
}

CK_ULONG operations_mac(const struct machine *machine, CK_BYTE *in, CK_ULONG len, CK_BYTE *out)
{
    CK_MECHANISM mechanism = machine->row->mechanism;
    CK_ULONG out_len = machine->row->once_len;

    if (machine->key_is_gone) {
        memset(out, 0, out_len);
        return out_len;
    }
    OK(P11->C_SignInit(machine->other, &mechanism, machine->key));
    OK(P11->C_Sign(machine->other, in, len, out, &out_len));
    return out_len;
}

CK_RV operations_digest_key(const struct machine *machine, bool good)
{
    return P11->C_DigestKey(machine->session, good ? machine->key : 0x7fffffffUL);
}

/* What the calls in between work with. */
static CK_BYTE other_iv[12] = "another IV";
static CK_GCM_PARAMS other_params = {.pIv = other_iv, .ulIvLen = 12, .ulTagBits = 128};
static CK_MECHANISM other_gcm = {CKM_AES_GCM, &other_params, sizeof(other_params)};
static CK_MECHANISM other_hmac = {CKM_SHA384_HMAC, NULL, 0};
static CK_MECHANISM other_sha = {CKM_SHA224, NULL, 0};
static CK_BYTE other_in[40] = "data of another operation";

/* From beginning to end; without `whole`, one call that needs a beginning. */
static CK_RV run_other(const struct machine_driver *driver, CK_SESSION_HANDLE session,
                       CK_MECHANISM *mechanism, CK_OBJECT_HANDLE key, bool whole)
{
    CK_BYTE out[128];
    CK_ULONG len = sizeof(out);
    struct machine_args args = {
        other_in, driver == &operations_find ? sizeof(CK_OBJECT_HANDLE) : sizeof(other_in), out,
        &len};

    if (!whole)
        return driver->update(session, &args);
    CK_RV rv = driver->init(session, mechanism, key, &args);
    if (rv == CKR_OK)
        rv = driver->update(session, &args);
    len = sizeof(out);
    return rv == CKR_OK ? driver->final(session, &args) : rv;
}

static const struct {
    const struct machine_driver *driver;
    unsigned int trait; /* of the rows that it would disturb */
    CK_MECHANISM *mechanism;
    CK_OBJECT_HANDLE *key;
} others[] = {
    {&operations_encrypt, TRAIT_ENCRYPT, &other_gcm, &aes_key},
    {&operations_digest, TRAIT_DIGEST, &other_sha, NULL},
    {&operations_sign, TRAIT_SIGN, &other_hmac, &mac_key},
    {&operations_find, TRAIT_FIND, NULL, NULL},
    {&operations_decrypt, TRAIT_DECRYPT, NULL, NULL},
    {&operations_verify, TRAITS_VERIFY, NULL, NULL},
};

CK_RV operations_others(const struct machine *machine)
{
    CK_RV rv = CKR_OK;

    for (size_t i = 0; i < COUNT(others) && rv == CKR_OK; i++)
        if ((machine->row->traits & others[i].trait) == 0 &&
            (others[i].mechanism != NULL || others[i].driver == &operations_find))
            rv = run_other(others[i].driver, machine->session, others[i].mechanism,
                           others[i].key == NULL ? 0 : *others[i].key, true);
    return rv;
}

CK_RV operations_others_idle(const struct machine *machine)
{
    CK_RV first = CKR_OK;

    for (size_t i = 0; i < COUNT(others); i++) {
        if ((machine->row->traits & others[i].trait) != 0)
            continue;
        CK_RV rv = run_other(others[i].driver, machine->session, NULL, 0, false);
        REQUIRE_MSG(first == CKR_OK || rv == first, "function %zu of another kind: 0x%lx", i, rv);
        first = rv;
    }
    return first;
}
