#include "tests/attacks/knowledge.h"

#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "tests/attacks/mechanisms.h"

#define SECRETS_MAX 12
#define STRINGS_MAX 4096
#define WINDOW 8
#define GHASH_LEN 16
#define SHORT_LEN 8

struct known {
    unsigned char bytes[FACT_LEN_MAX];
    size_t len;
};

static struct protected_value {
    const char *what; /* the attacker has */
    struct known value;
    bool needs_gcm; /* counts where GCM is, or may be, used with the target */
} protected_values[SECRETS_MAX];
static size_t protected_count;
static struct known payload_key;

/* Byte strings that the attacker has or computes. */
static struct known strings[STRINGS_MAX];
static size_t string_count;

static void add_string(const unsigned char *bytes, size_t len)
{
    REQUIRE(string_count < STRINGS_MAX);
    REQUIRE(len <= FACT_LEN_MAX);
    struct known *string = &strings[string_count++];

    string->len = len;
    memcpy(string->bytes, bytes, len);
}

/* AES with a key of 32 bytes. The length that came out; 0: it cannot be. */
static size_t aes(const char *name, bool encrypts, const struct known *key, struct view in,
                  unsigned char ret_out[FACT_LEN_MAX])
{
    static const unsigned char counter[16] = ATTACK_IV "\0\0\0\2";
    static const unsigned char zeros[16];
    static EVP_CIPHER_CTX *context;
    unsigned char out[FACT_LEN_MAX + 32];
    const unsigned char *iv = strcmp(name, "AES-256-CTR") == 0   ? counter
                              : strcmp(name, "AES-256-CBC") == 0 ? zeros
                                                                 : NULL;
    int len = 0;

    if (context == NULL)
        context = EVP_CIPHER_CTX_new();
    REQUIRE(context != NULL && EVP_CIPHER_CTX_reset(context) == 1);
    EVP_CIPHER_CTX_set_flags(context, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    if (EVP_CipherInit_ex2(context, EVP_get_cipherbyname(name), key->bytes, iv, encrypts, NULL) !=
            1 ||
        EVP_CIPHER_CTX_set_padding(context, 0) != 1 ||
        EVP_CipherUpdate(context, out, &len, in.bytes, (int) in.len) != 1 || len <= 0)
        return 0;
    size_t fits = (size_t) len < FACT_LEN_MAX ? (size_t) len : FACT_LEN_MAX;
    memcpy(ret_out, out, fits);
    return fits;
}

static void protect(const char *what, const void *bytes, size_t len)
{
    REQUIRE(protected_count < SECRETS_MAX);
    struct protected_value *made = &protected_values[protected_count++];

    *made = (struct protected_value){.what = what, .value.len = len};
    memcpy(made->value.bytes, bytes, len);
}

static void protect_aes(const char *what, const char *name, const struct known *key, size_t len)
{
    static const unsigned char zeros[32];
    unsigned char out[FACT_LEN_MAX];

    REQUIRE(aes(name, true, key, (struct view){zeros, len}, out) == len);
    protect(what, out, len);
}

static void protect_hmac(const char *what, const struct known *key, struct view text)
{
    unsigned char mac[32];
    unsigned int len = sizeof(mac);

    REQUIRE(HMAC(EVP_sha256(), key->bytes, (int) key->len, text.bytes, text.len, mac, &len) !=
            NULL);
    protect(what, mac, len);
}

/* One derivation away, by the mechanisms of the search. */
static void protect_derived(const struct known *key)
{
    unsigned char constant[32];

    shape_constant(2, constant);
    protect_hmac("a subkey", key, way_text(TEXT_PURPOSE));
    protect_hmac("a key that the counter KDF derives", key, way_text(TEXT_CONTEXT));
    protect_hmac("a key that HKDF derives", key, way_text(TEXT_INFO));
    protect_hmac("a key that HKDF extracts", key, (struct view){constant, sizeof(constant)});
}

static void protect_subkey(void)
{
    payload_key = protected_values[protected_count - 4].value;
    protect_aes("GHASH's key of a subkey", "AES-256-ECB", &payload_key, GHASH_LEN);
}

void knowledge_protect(const struct world *world)
{
    const struct world_key *target = &world->keys[0];
    struct known key = {.len = target->value_len};
    unsigned char digest[32];

    protected_count = 0;
    payload_key.len = 0;
    memcpy(key.bytes, target->value, target->value_len);
    REQUIRE(EVP_Digest(key.bytes, key.len, digest, NULL, EVP_sha256(), NULL) == 1);
    protect("a digest of the key", digest, sizeof(digest));
    if ((target->flags & FLAG_BIT(FLAG_DERIVE)) != 0 && target->type == CKK_AES) {
        protect_aes("a key that ECB_ENCRYPT_DATA derives", "AES-256-ECB", &key, 32);
        protect_aes("a key that CBC_ENCRYPT_DATA derives", "AES-256-CBC", &key, 32);
    } else if ((target->flags & FLAG_BIT(FLAG_DERIVE)) != 0) {
        protect_derived(&key);
        if (world->target->has_subkeys)
            protect_subkey();
    }
    if (target->type == CKK_AES) {
        protect_aes("GHASH's key", "AES-256-ECB", &key, GHASH_LEN);
        protected_values[protected_count - 1].needs_gcm = true;
    }
}

static bool is_target_value(const struct world *world, const struct world_key *key)
{
    const struct world_key *target = &world->keys[0];

    return key->value_len == target->value_len &&
           memcmp(key->value, target->value, target->value_len) == 0;
}

/* Whoever may wrap a key may unwrap it as a key of other modes, here or elsewhere: what is wrapped
 * does not say what it is for. That is no attack on keys that stay inside. */
static bool is_for_gcm(const struct world *world)
{
    for (size_t i = 0; i < world->key_count; i++)
        if (world->keys[i].is_reimported)
            return false;
    for (size_t i = 0; i < world->key_count; i++)
        if (is_target_value(world, &world->keys[i]) && world->keys[i].allows == CKM_AES_GCM &&
            (world->keys[i].flags & (FLAG_BIT(FLAG_ENCRYPT) | FLAG_BIT(FLAG_DECRYPT))) != 0)
            return true;
    for (size_t i = 0; i < world->fact_count; i++)
        if (world->facts[i].kind == FACT_GCM &&
            is_target_value(world, &world->keys[world->facts[i].key]))
            return true;
    return false;
}

static bool contains(const struct known *string, const unsigned char *bytes, size_t len)
{
    return string->len >= len && memmem(string->bytes, string->len, bytes, len) != NULL;
}

static bool has_piece(const struct world *world, const struct known *string)
{
    const struct world_key *target = &world->keys[0];

    for (size_t at = 0; at + WINDOW <= target->value_len; at += WINDOW)
        if (contains(string, target->value + at, WINDOW))
            return true;
    return false;
}

/* Keys that the attacker knows outright, or whose value a call has given out. */
static bool has_value(const struct world_key *key, size_t first_count)
{
    if (key->is_known)
        return true;
    for (size_t i = 0; i < first_count; i++)
        if (key->value_len >= GHASH_LEN && contains(&strings[i], key->value, key->value_len))
            return true;
    return false;
}

static void open_blob(const struct known *key, const struct fact *blob)
{
    static const char *const ciphers[] = {"id-aes256-wrap", "id-aes256-wrap-pad", "AES-256-ECB",
                                          "AES-256-CBC", "AES-256-CTR"};
    unsigned char out[FACT_LEN_MAX];

    for (size_t i = 0; i < sizeof(ciphers) / sizeof(ciphers[0]); i++) {
        size_t len = aes(ciphers[i], false, key, (struct view){blob->bytes, blob->len}, out);
        if (len > 0)
            add_string(out, len);
    }
}

static void add_xor(const struct known *a, const struct known *b)
{
    unsigned char bytes[FACT_LEN_MAX];
    size_t len = a->len < b->len ? a->len : b->len;

    for (size_t i = 0; i < len; i++)
        bytes[i] = a->bytes[i] ^ b->bytes[i];
    add_string(bytes, len);
}

/* With a key stream that was used twice: two outputs, one of a known text, are the other text. */
static void combine(const struct world *world, const struct fact *blob, size_t first_count)
{
    struct known sealed = {.len = blob->len};

    memcpy(sealed.bytes, blob->bytes, blob->len);
    for (size_t i = 0; i < first_count; i++)
        add_xor(&sealed, &strings[i]);
    size_t with_one = string_count;
    for (size_t i = 0; i < world->key_count; i++) {
        struct known value = {.len = world->keys[i].value_len};
        if (!has_value(&world->keys[i], first_count))
            continue;
        memcpy(value.bytes, world->keys[i].value, value.len);
        if (value.len == 32)
            open_blob(&value, blob);
        for (size_t j = with_one - first_count; j < with_one; j++)
            add_xor(&strings[j], &value);
    }
}

static void compute(const struct world *world)
{
    string_count = 0;
    for (size_t i = 0; i < world->fact_count; i++)
        if (world->facts[i].kind != FACT_CHECK_VALUE)
            add_string(world->facts[i].bytes, world->facts[i].len);
    size_t first_count = string_count;
    for (size_t i = 0; i < world->fact_count; i++)
        if (world->facts[i].kind == FACT_BLOB)
            combine(world, &world->facts[i], first_count);
}

/* A check value of a GCM key is part of GHASH's key. */
static bool tells_part(const struct world *world, const struct protected_value *value)
{
    for (size_t i = 0; i < world->fact_count; i++)
        if (world->facts[i].kind == FACT_CHECK_VALUE && value->value.len == GHASH_LEN &&
            memcmp(world->facts[i].bytes, value->value.bytes, world->facts[i].len) == 0)
            return true;
    return false;
}

static bool is_out(const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < string_count; i++)
        if (contains(&strings[i], bytes, len))
            return true;
    return false;
}

/* Of a derivation base that was made from the target: what the counter KDF makes of it. */
static bool is_derived_value_out(const struct world_key *base)
{
    struct view text = way_text(TEXT_CONTEXT);
    unsigned char mac[32];
    unsigned int len = sizeof(mac);

    REQUIRE(HMAC(EVP_sha256(), base->value, (int) base->value_len, text.bytes, text.len, mac,
                 &len) != NULL);
    return is_out(mac, len);
}

/* Of keys that stand on the token. */
static const char *look_at_values(const struct world *world)
{
    for (size_t i = 0; i < world->key_count; i++) {
        const struct world_key *key = &world->keys[i];
        if (!key->of_target || key->hidden_len == 0 || key->is_data)
            continue;
        if (i > 0 && (key->flags & FLAG_BIT(FLAG_DERIVE)) != 0 && is_derived_value_out(key))
            return "a key that one made from the key derives";
        if ((key->flags & FLAG_BIT(FLAG_SENSITIVE)) != 0 && key->value_len >= GHASH_LEN &&
            is_out(key->value, key->value_len))
            return "the value of a sensitive key";
    }
    return NULL;
}

static const char *look_at_strings(const struct world *world)
{
    for (size_t i = 0; i < string_count; i++)
        if (has_piece(world, &strings[i]))
            return "the key's bytes";
    for (size_t i = 0; i < protected_count; i++) {
        const struct protected_value *value = &protected_values[i];
        bool found = tells_part(world, value) || is_out(value->value.bytes, GHASH_LEN);
        if (found && (!value->needs_gcm || is_for_gcm(world)))
            return value->what;
    }
    return NULL;
}

static const char *look_at_facts(const struct world *world)
{
    for (size_t i = 0; i < world->fact_count; i++) {
        const struct fact *fact = &world->facts[i];
        const struct world_key *key = &world->keys[fact->key];
        if (!key->of_target || key->is_known || key->is_given)
            continue;
        if (fact->kind == FACT_READ)
            return "a readable object made from the key";
        if (fact->kind == FACT_OUTPUT && key->hidden_len > 0 && key->hidden_len < SHORT_LEN)
            return "output of a piece of the key that trying finds";
    }
    return NULL;
}

static const char *look_at_keys(const struct world *world)
{
    for (size_t i = 0; payload_key.len > 0 && i < world->key_count; i++) {
        const struct world_key *key = &world->keys[i];
        if (key->is_known && key->is_posing)
            return "a known key under a subkey's label";
        if (key->value_len == payload_key.len &&
            memcmp(key->value, payload_key.bytes, payload_key.len) == 0 &&
            (key->type != CKK_AES || key->allows != CKM_AES_GCM))
            return "a subkey as a key of another kind";
    }
    return NULL;
}

const char *knowledge_hit(const struct world *world)
{
    const char *hit = world->hit;

    if (hit == NULL)
        hit = look_at_facts(world);
    if (hit == NULL)
        hit = look_at_keys(world);
    if (hit != NULL)
        return hit;
    compute(world);
    hit = look_at_strings(world);
    return hit != NULL ? hit : look_at_values(world);
}
