#include "tests/differential/parameters.h"

#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const CK_MECHANISM_TYPE hkdf_hashes[] = {CKM_SHA_1, CKM_SHA256, CKM_SHA384, CKM_SHA512};
static const CK_MECHANISM_TYPE prfs[] = {CKM_SHA_1_HMAC, CKM_SHA256_HMAC, CKM_SHA384_HMAC,
                                         CKM_SHA512_HMAC};

static void make_gcm(struct prng *prng, struct parameters *p)
{
    static const CK_ULONG tags[] = {96, 104, 112, 120, 128, 128, 128};

    p->iv_len = prng_percent(prng, 80) ? 12 : 1 + prng_below(prng, IV_MAX);
    p->extra_len = prng_percent(prng, 50) ? 0 : prng_below(prng, 40);
    p->number = tags[prng_below(prng, COUNT(tags))];
}

static void make_kdf(const struct spec *spec, struct prng *prng, struct parameters *p)
{
    static const CK_ULONG widths[] = {8, 16, 24, 32};

    p->hash = spec->key_type == CKK_AES ? CKM_AES_CMAC : prfs[prng_below(prng, COUNT(prfs))];
    p->number = widths[prng_below(prng, COUNT(widths))];
    p->with_length = prng_percent(prng, 40);
    p->iv_len = spec->shape == SHAPE_FEEDBACK && prng_percent(prng, 50) ? IV_MAX : 0;
}

static void make_hkdf(struct prng *prng, struct parameters *p)
{
    p->hash = hkdf_hashes[prng_below(prng, COUNT(hkdf_hashes))];
    p->extract = prng_percent(prng, 80);
    p->expand = !p->extract || prng_percent(prng, 85);
    p->with_salt = prng_percent(prng, 60);
    p->salt_len = 1 + prng_below(prng, EXTRA_MAX);
}

void parameters_make(const struct spec *spec, struct prng *prng, struct parameters *ret)
{
    memset(ret, 0, sizeof(*ret));
    prng_bytes(prng, ret->iv, sizeof(ret->iv));
    prng_bytes(prng, ret->extra, sizeof(ret->extra));
    prng_bytes(prng, ret->salt, sizeof(ret->salt));
    ret->extra_len = 1 + prng_below(prng, EXTRA_MAX);
    switch (spec->shape) {
    case SHAPE_MAC_LEN:
        ret->number = 10 + prng_below(prng, spec->len - 9);
        break;
    case SHAPE_IV:
        ret->iv_len = IV_MAX;
        break;
    case SHAPE_CTR:
        ret->number = prng_percent(prng, 60) ? 128 : 32;
        break;
    case SHAPE_GCM:
        make_gcm(prng, ret);
        break;
    case SHAPE_ECB_DATA:
    case SHAPE_CBC_DATA:
        ret->iv_len = IV_MAX;
        ret->extra_len = 16 + 16 * prng_below(prng, EXTRA_MAX / 16);
        break;
    case SHAPE_HKDF:
        make_hkdf(prng, ret);
        break;
    case SHAPE_STRING: /* XOR does not shorten the base key */
        if (spec->type == CKM_XOR_BASE_AND_DATA && prng_percent(prng, 90))
            ret->extra_len = EXTRA_MAX;
        break;
    case SHAPE_COUNTER:
    case SHAPE_FEEDBACK:
    case SHAPE_PIPELINE:
        make_kdf(spec, prng, ret);
        break;
    default:
        break;
    }
}

static const char *spoil_gcm(struct prng *prng, struct parameters *p)
{
    switch (prng_below(prng, 3)) {
    case 0:
        p->iv_len = 0;
        return "no IV";
    case 1:
        p->number = 129 + prng_below(prng, 100);
        return "tag bits too many";
    default:
        p->number = 8 * prng_below(prng, 12);
        return "tag bits too few";
    }
}

const char *parameters_spoil(const struct spec *spec, struct prng *prng, struct parameters *ret)
{
    switch (spec->shape) {
    case SHAPE_MAC_LEN:
        ret->number = prng_percent(prng, 50) ? prng_below(prng, 8) : spec->len + 1;
        return ret->number > spec->len ? "MAC too long" : "MAC too short";
    case SHAPE_IV:
        ret->iv_len = prng_below(prng, IV_MAX);
        return "IV too short";
    case SHAPE_CTR:
        ret->number = prng_percent(prng, 50) ? 0 : 129;
        return "counter bits";
    case SHAPE_GCM:
        return spoil_gcm(prng, ret);
    case SHAPE_ECB_DATA:
    case SHAPE_CBC_DATA:
        ret->extra_len = prng_below(prng, 2) * 17;
        return ret->extra_len == 0 ? "no data" : "data no blocks";
    case SHAPE_HKDF:
        ret->extract = ret->expand = false;
        return "neither extract nor expand";
    case SHAPE_COUNTER:
        ret->number = 33 + prng_below(prng, 40);
        return "counter width";
    default:
        return "";
    }
}

static CK_ULONG add_data(struct mechanism_room *room, CK_ULONG count, CK_PRF_DATA_PARAM param)
{
    room->data[count] = param;
    return count + 1;
}

/* [counter] [bytes] [length]; the modes with feedback have their own first item before them. */
static CK_ULONG fill_data(const struct spec *spec, const struct parameters *p,
                          struct mechanism_room *room)
{
    CK_ULONG count = 0;

    room->counter = (CK_SP800_108_COUNTER_FORMAT){CK_FALSE, p->number};
    room->length =
        (CK_SP800_108_DKM_LENGTH_FORMAT){CK_SP800_108_DKM_LENGTH_SUM_OF_KEYS, CK_FALSE, 32};
    if (spec->shape == SHAPE_COUNTER) {
        count = add_data(room, count,
                         (CK_PRF_DATA_PARAM){CK_SP800_108_ITERATION_VARIABLE, &room->counter,
                                             sizeof(room->counter)});
    } else {
        count =
            add_data(room, count, (CK_PRF_DATA_PARAM){CK_SP800_108_ITERATION_VARIABLE, NULL, 0});
        if (p->with_salt)
            count = add_data(
                room, count,
                (CK_PRF_DATA_PARAM){CK_SP800_108_COUNTER, &room->counter, sizeof(room->counter)});
    }
    count = add_data(room, count,
                     (CK_PRF_DATA_PARAM){CK_SP800_108_BYTE_ARRAY, (void *) p->extra, p->extra_len});
    if (p->with_length)
        count = add_data(
            room, count,
            (CK_PRF_DATA_PARAM){CK_SP800_108_DKM_LENGTH, &room->length, sizeof(room->length)});
    return count;
}

static CK_ULONG fill_kdf(const struct spec *spec, const struct parameters *p,
                         struct mechanism_room *room)
{
    CK_ULONG count = fill_data(spec, p, room);

    if (spec->shape == SHAPE_FEEDBACK) {
        room->u.feedback = (CK_SP800_108_FEEDBACK_KDF_PARAMS){
            .prfType = p->hash,
            .ulNumberOfDataParams = count,
            .pDataParams = room->data,
            .ulIVLen = p->iv_len,
            .pIV = p->iv_len == 0 ? NULL : (CK_BYTE *) p->iv,
        };
        return sizeof(room->u.feedback);
    }
    room->u.kdf = (CK_SP800_108_KDF_PARAMS){
        .prfType = p->hash, .ulNumberOfDataParams = count, .pDataParams = room->data};
    return sizeof(room->u.kdf);
}

static CK_ULONG fill_hkdf(const struct parameters *p, enum side side, struct mechanism_room *room)
{
    bool with_key = p->key[side] != CK_INVALID_HANDLE;
    bool with_data = !with_key && p->with_salt;

    room->u.hkdf = (CK_HKDF_PARAMS){
        .bExtract = p->extract,
        .bExpand = p->expand,
        .prfHashMechanism = p->hash,
        .ulSaltType = with_key    ? CKF_HKDF_SALT_KEY
                      : with_data ? CKF_HKDF_SALT_DATA
                                  : CKF_HKDF_SALT_NULL,
        .pSalt = with_data ? (CK_BYTE *) p->salt : NULL,
        .ulSaltLen = with_data ? p->salt_len : 0,
        .hSaltKey = with_key ? p->key[side] : CK_INVALID_HANDLE,
        .pInfo = (CK_BYTE *) p->extra,
        .ulInfoLen = p->expand ? p->extra_len : 0,
    };
    return sizeof(room->u.hkdf);
}

static CK_ULONG fill_gcm(const struct parameters *p, struct mechanism_room *room)
{
    room->u.gcm = (CK_GCM_PARAMS){
        .pIv = p->iv_len == 0 ? NULL : (CK_BYTE *) p->iv,
        .ulIvLen = p->iv_len,
        .ulIvBits = 8 * p->iv_len,
        .pAAD = p->extra_len == 0 ? NULL : (CK_BYTE *) p->extra,
        .ulAADLen = p->extra_len,
        .ulTagBits = p->number,
    };
    return sizeof(room->u.gcm);
}

static CK_ULONG fill_cbc_data(const struct parameters *p, struct mechanism_room *room)
{
    memcpy(room->u.cbc.iv, p->iv, sizeof(room->u.cbc.iv));
    room->u.cbc.pData = (CK_BYTE *) p->extra;
    room->u.cbc.length = p->extra_len;
    return sizeof(room->u.cbc);
}

/* What needs nothing but its own place in the union; 0: no parameter. */
static CK_ULONG fill_plain(const struct spec *spec, const struct parameters *p, enum side side,
                           struct mechanism_room *room)
{
    switch (spec->shape) {
    case SHAPE_MAC_LEN:
        room->u.mac_len = p->number;
        return sizeof(room->u.mac_len);
    case SHAPE_CTR:
        room->u.ctr.ulCounterBits = p->number;
        memcpy(room->u.ctr.cb, p->iv, sizeof(room->u.ctr.cb));
        return sizeof(room->u.ctr);
    case SHAPE_ECB_DATA:
    case SHAPE_STRING:
        room->u.string = (CK_KEY_DERIVATION_STRING_DATA){(CK_BYTE *) p->extra, p->extra_len};
        return sizeof(room->u.string);
    case SHAPE_KEY:
        room->u.key = p->key[side];
        return sizeof(room->u.key);
    default:
        return 0;
    }
}

void parameters_fill(const struct spec *spec, const struct parameters *parameters, enum side side,
                     struct mechanism_room *room)
{
    CK_ULONG len;

    memset(room, 0, sizeof(*room));
    room->mechanism.mechanism = spec->type;
    room->mechanism.pParameter = &room->u;
    switch (spec->shape) {
    case SHAPE_IV:
        room->mechanism.pParameter = (void *) parameters->iv;
        len = parameters->iv_len;
        break;
    case SHAPE_GCM:
        len = fill_gcm(parameters, room);
        break;
    case SHAPE_CBC_DATA:
        len = fill_cbc_data(parameters, room);
        break;
    case SHAPE_HKDF:
        len = fill_hkdf(parameters, side, room);
        break;
    case SHAPE_COUNTER:
    case SHAPE_FEEDBACK:
    case SHAPE_PIPELINE:
        len = fill_kdf(spec, parameters, room);
        break;
    default:
        len = fill_plain(spec, parameters, side, room);
        break;
    }
    room->mechanism.ulParameterLen = len;
    if (len == 0)
        room->mechanism.pParameter = NULL;
}
