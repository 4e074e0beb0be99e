#include "tests/support/direct_fixture.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define FAKE_PREFIX "vault:"
#define SECTIONS_MAX 16384

struct fake_source {
    struct source base;
    struct source_ops ops;
    struct source *inner;
};

struct fake_key fake_keys[FAKE_KEYS];
_Atomic int fake_running, fake_running_most, fake_calls, fake_data_key_calls;

static void script_anew(void)
{
    memset(fake_keys, 0, sizeof(fake_keys));
    for (int i = 0; i < FAKE_KEYS; i++) {
        atomic_store(&fake_keys[i].seed, i + 1);
        atomic_store(&fake_keys[i].len, 32);
    }
    atomic_store(&fake_running_most, 0);
    atomic_store(&fake_calls, 0);
    atomic_store(&fake_data_key_calls, 0);
}

static void pause_for(int delay_ms, const atomic_bool *cancelled)
{
    for (int passed = 0; passed < delay_ms && !atomic_load(cancelled); passed += 5)
        (void) nanosleep(&(struct timespec){.tv_nsec = 5000000L}, NULL);
}

static void count_running(void)
{
    int running = atomic_fetch_add(&fake_running, 1) + 1;
    int most = atomic_load(&fake_running_most);
    while (running > most && !atomic_compare_exchange_weak(&fake_running_most, &most, running))
        ;
    atomic_fetch_add(&fake_calls, 1);
}

static CK_RV unwrap_fake(struct fake_key *key, const struct source_call *call,
                         struct secret *ret_value)
{
    atomic_fetch_add(&key->calls, 1);
    atomic_store(&key->deadline_ms, (int) (call->deadline_ms - clock_boot_ms()));
    atomic_store(&key->context_len, (int) call->context.len);
    atomic_store(&key->credential_len, (int) call->credential.len);
    enum indexkey_cause cause = (enum indexkey_cause) atomic_load(&key->cause);
    pause_for(atomic_load(&key->delay_ms), call->cancelled);
    if (atomic_load(call->cancelled))
        return FAIL_CAUSE(INDEXKEY_CAUSE_CANCELLED, "the scripted source was cancelled");
    if (cause != INDEXKEY_CAUSE_NONE)
        return FAIL_CAUSE(cause, "the scripted source fails");
    struct secret value;
    TRY(secret_new((size_t) atomic_load(&key->len), &value));
    memset(value.bytes, atomic_load(&key->seed), value.len);
    *ret_value = value;
    return CKR_OK;
}

static CK_RV fake_unwrap(struct source *source, const struct source_call *call, struct view wrapped,
                         struct secret *ret_key)
{
    struct fake_source *fake = (struct fake_source *) source;
    size_t prefix_len = strlen(FAKE_PREFIX);
    if (wrapped.len <= prefix_len || memcmp(wrapped.bytes, FAKE_PREFIX, prefix_len) != 0) {
        atomic_fetch_add(&fake_data_key_calls, 1);
        return fake->inner->ops->unwrap(fake->inner, call, wrapped, ret_key);
    }
    char digits[8] = {0};
    ck_assert_uint_lt(wrapped.len - prefix_len, sizeof(digits));
    memcpy(digits, wrapped.bytes + prefix_len, wrapped.len - prefix_len);
    count_running();
    CK_RV rv = unwrap_fake(&fake_keys[strtoul(digits, NULL, 10) % FAKE_KEYS], call, ret_key);
    atomic_fetch_sub(&fake_running, 1);
    return rv;
}

static CK_RV fake_wrap(struct source *source, const struct source_call *call,
                       const struct secret *data_key, struct blob *ret_wrapped)
{
    struct fake_source *fake = (struct fake_source *) source;
    return fake->inner->ops->wrap(fake->inner, call, data_key, ret_wrapped);
}

static void fake_close(struct source *source)
{
    struct fake_source *fake = (struct fake_source *) source;
    source_close(&fake->inner);
    free(fake);
}

static void interpose(struct custody *custody)
{
    struct fake_source *fake = calloc(1, sizeof(*fake));
    ck_assert_ptr_nonnull(fake);
    fake->ops = *custody->source->ops;
    fake->ops.wrap = fake_wrap;
    fake->ops.unwrap = fake_unwrap;
    fake->ops.close = fake_close;
    fake->base.ops = &fake->ops;
    fake->inner = custody->source;
    custody->source = &fake->base;
}

static struct conf *load(const char *key_sections)
{
    static const struct conf_key no_keys[] = {{.name = NULL}};
    static struct conf_schema schema;
    static char text[SECTIONS_MAX + 256];
    schema = (struct conf_schema){
        .module_keys = no_keys,
        .token_keys = custody_conf_keys,
        .source_keys = custody_source_keys,
        .source_names = custody_source_names(),
        .key_keys = custody_direct_key_conf_keys,
    };
    struct conf *conf = NULL;
    (void) snprintf(text, sizeof(text),
                    "[token vectors]\nstore = memory:\nsource = env\nkey_env = X\n%s\n",
                    key_sections);
    fixture_write("keys.conf", text, 0600);
    ck_assert_uint_eq(conf_load(fixture_path("keys.conf"), &schema, &conf), CKR_OK);
    return conf;
}

struct custody *direct_token(const char *more, const char *key_sections, bool may_create_threads)
{
    struct custody *custody = fixture_token("memory:", more);
    struct conf *conf = load(key_sections);
    ck_assert_uint_eq(custody_set_direct_keys(custody, conf, may_create_threads), CKR_OK);
    conf_free(&conf);
    interpose(custody);
    custody->deadline_ms = DIRECT_DEADLINE_MS;
    script_anew();
    fixture_forget_log();
    return custody;
}

const char *direct_sections(int count)
{
    static char text[SECTIONS_MAX];
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < count; i++)
        used += (size_t) snprintf(text + used, sizeof(text) - used,
                                  "[key k%d]\ntoken = vectors\nciphertext = vault:%d\n", i, i);
    return text;
}

size_t direct_good_sections(const char *key_sections)
{
    struct conf *conf = load(key_sections);
    size_t count;
    size_t good = 0;
    const struct conf_section *keys = conf_keys(conf, &count);
    for (size_t i = 0; i < count; i++)
        good += keys[i].bad ? 0 : 1;
    conf_free(&conf);
    return good;
}

struct secret direct_value(struct custody *custody, size_t index)
{
    struct custody_direct_key key;
    custody_direct_key_take(custody, index, &key);
    return key.value;
}

bool direct_is_open(struct custody *custody, size_t index)
{
    struct custody_direct_key key;
    custody_direct_key_take(custody, index, &key);
    secret_clear(&key.value);
    return key.is_open;
}

void direct_tick(struct custody *custody)
{
    atomic_store(&custody->due, 0);
    ck_assert_int_eq(custody_tick(custody), CUSTODY_SAME);
}

void direct_wrap(struct custody *custody, struct view context, struct view value,
                 struct blob *ret_wrapped)
{
    struct secret key;
    const struct source_call call = {
        .context = context,
        .deadline_ms = clock_boot_ms() + DIRECT_DEADLINE_MS,
        .cancelled = &custody->cancelled,
    };
    ck_assert_uint_eq(secret_from(value.bytes, value.len, &key), CKR_OK);
    ck_assert_uint_eq(custody->source->ops->wrap(custody->source, &call, &key, ret_wrapped),
                      CKR_OK);
    secret_clear(&key);
}
