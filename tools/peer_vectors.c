#include "tools/peer_vectors.h"

#include "base/rv.h"

#define CHALLENGE_LEN 64
#define MAC_LEN 32
#define IV_LEN 12
#define TAG_LEN 16

static CK_RV differ(const struct vector_pair *pair)
{
    return FAIL(CKR_FUNCTION_FAILED,
                "'%s' on the other module is not the key that it is here: destroy it there",
                pair->label);
}

static CK_RV mac(const struct peer *peer, CK_OBJECT_HANDLE key, CK_BYTE *challenge,
                 CK_BYTE ret_mac[MAC_LEN])
{
    CK_MECHANISM mechanism = {CKM_SHA256_HMAC, NULL, 0};
    CK_ULONG len = MAC_LEN;
    CK_RV rv = peer->p11->C_SignInit(peer->session, &mechanism, key);

    if (rv != CKR_OK)
        return peer_failed(peer, "C_SignInit", rv);
    rv = peer->p11->C_Sign(peer->session, challenge, CHALLENGE_LEN, ret_mac, &len);
    if (rv != CKR_OK || len != MAC_LEN)
        return peer_failed(peer, "C_Sign", rv == CKR_OK ? CKR_DEVICE_ERROR : rv);
    return CKR_OK;
}

static CK_RV compare_macs(const struct vector_pair *pair, CK_BYTE *challenge)
{
    CK_BYTE ours[MAC_LEN];
    CK_BYTE theirs[MAC_LEN];

    TRY(mac(pair->from, pair->from_key, challenge, ours));
    TRY(mac(pair->to, pair->to_key, challenge, theirs));
    return secret_bytes_equal(ours, theirs, MAC_LEN) ? CKR_OK : differ(pair);
}

/* The IV is read back: some modules write their own. */
static CK_RV encrypt(const struct peer *peer, CK_OBJECT_HANDLE key, CK_BYTE *challenge,
                     CK_BYTE ret_sealed[IV_LEN + CHALLENGE_LEN + TAG_LEN])
{
    CK_GCM_PARAMS params = {
        .pIv = ret_sealed, .ulIvLen = IV_LEN, .ulIvBits = 8 * IV_LEN, .ulTagBits = 8 * TAG_LEN};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_ULONG len = CHALLENGE_LEN + TAG_LEN;

    TRY(crypto_random(ret_sealed, IV_LEN));
    CK_RV rv = peer->p11->C_EncryptInit(peer->session, &mechanism, key);
    if (rv != CKR_OK)
        return peer_failed(peer, "C_EncryptInit", rv);
    rv = peer->p11->C_Encrypt(peer->session, challenge, CHALLENGE_LEN, ret_sealed + IV_LEN, &len);
    if (rv != CKR_OK || len != CHALLENGE_LEN + TAG_LEN)
        return peer_failed(peer, "C_Encrypt", rv == CKR_OK ? CKR_DEVICE_ERROR : rv);
    return CKR_OK;
}

static CK_RV decrypt(const struct peer *peer, CK_OBJECT_HANDLE key, CK_BYTE *sealed,
                     CK_BYTE ret_plaintext[CHALLENGE_LEN + TAG_LEN])
{
    CK_GCM_PARAMS params = {
        .pIv = sealed, .ulIvLen = IV_LEN, .ulIvBits = 8 * IV_LEN, .ulTagBits = 8 * TAG_LEN};
    CK_MECHANISM mechanism = {CKM_AES_GCM, &params, sizeof(params)};
    CK_ULONG len = CHALLENGE_LEN + TAG_LEN;
    CK_RV rv = peer->p11->C_DecryptInit(peer->session, &mechanism, key);

    if (rv != CKR_OK)
        return peer_failed(peer, "C_DecryptInit", rv);
    rv = peer->p11->C_Decrypt(peer->session, sealed + IV_LEN, CHALLENGE_LEN + TAG_LEN,
                              ret_plaintext, &len);
    if (rv != CKR_OK || len != CHALLENGE_LEN)
        return peer_failed(peer, "C_Decrypt", rv == CKR_OK ? CKR_DEVICE_ERROR : rv);
    return CKR_OK;
}

/* What one seals the other opens. */
static CK_RV open_there(const struct vector_pair *pair, CK_BYTE *challenge, bool is_back)
{
    const struct peer *sealer = is_back ? pair->to : pair->from;
    const struct peer *opener = is_back ? pair->from : pair->to;
    CK_BYTE sealed[IV_LEN + CHALLENGE_LEN + TAG_LEN];
    CK_BYTE opened[CHALLENGE_LEN + TAG_LEN];

    TRY(encrypt(sealer, is_back ? pair->to_key : pair->from_key, challenge, sealed));
    if (decrypt(opener, is_back ? pair->from_key : pair->to_key, sealed, opened) != CKR_OK)
        return differ(pair);
    return secret_bytes_equal(opened, challenge, CHALLENGE_LEN) ? CKR_OK : differ(pair);
}

CK_RV vector_pair_check(const struct vector_pair *pair)
{
    CK_BYTE challenge[CHALLENGE_LEN];

    TRY(crypto_random(challenge, sizeof(challenge)));
    if (!pair->is_cipher)
        return compare_macs(pair, challenge);
    TRY(open_there(pair, challenge, false));
    return open_there(pair, challenge, true);
}
