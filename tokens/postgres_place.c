#include "tokens/postgres_place.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cause.h"

#define SCHEMA_DEFAULT "indexkey"
#define SCHEMA_PARAMETER "schema="
#define REMEDY "write it as postgresql://USER@HOST:PORT/DATABASE?schema=NAME"

/* What a URI may say otherwise. A server that went away without a word is noticed within seconds,
 * and of several hosts the one that takes writes is used. */
static const struct {
    const char *keyword;
    const char *value;
} defaults[] = {
    {"connect_timeout", "2"},
    {"tcp_user_timeout", "5000"},
    {"keepalives_idle", "5"},
    {"keepalives_interval", "2"},
    {"keepalives_count", "3"},
    {"fallback_application_name", "indexkey"},
    {"target_session_attrs", "read-write"},
};

#define DEFAULT_COUNT (sizeof(defaults) / sizeof(defaults[0]))

static bool schema_is_valid(const char *name, size_t len)
{
    if (len == 0 || len > POSTGRES_SCHEMA_MAX || (name[0] >= '0' && name[0] <= '9'))
        return false;
    for (size_t i = 0; i < len; i++) {
        bool is_letter = name[i] >= 'a' && name[i] <= 'z';
        if (!is_letter && !(name[i] >= '0' && name[i] <= '9') && name[i] != '_')
            return false;
    }
    return strncmp(name, "pg_", 3) != 0;
}

/* Takes our own parameter out of the URI, which libpq would refuse. */
static CK_RV take_schema(char *uri, struct postgres_place *place)
{
    memcpy(place->schema, SCHEMA_DEFAULT, sizeof(SCHEMA_DEFAULT));
    char *at = strchr(uri, '?');
    while (at != NULL && strncmp(at + 1, SCHEMA_PARAMETER, strlen(SCHEMA_PARAMETER)) != 0)
        at = strchr(at + 1, '&');
    if (at == NULL)
        return CKR_OK;
    const char *value = at + 1 + strlen(SCHEMA_PARAMETER);
    size_t len = strcspn(value, "&");
    if (!schema_is_valid(value, len))
        return FAIL_CAUSE(
            INDEXKEY_CAUSE_CONFIG,
            "store postgresql: the schema is not 1 to %d of a-z 0-9 _, beginning with "
            "a letter or _ but not pg_; " REMEDY,
            POSTGRES_SCHEMA_MAX);
    memcpy(place->schema, value, len);
    place->schema[len] = '\0';
    const char *rest = value + len;
    /* The first of the others takes its place behind the question mark. */
    char *to = *rest == '&' ? at + 1 : at;
    rest += *rest == '&' ? 1 : 0;
    (void) memmove(to, rest, strlen(rest) + 1);
    return CKR_OK;
}

static const char *option_of(const PQconninfoOption *options, const char *keyword)
{
    for (; options != NULL && options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0)
            return options->val;
    }
    return NULL;
}

static bool host_is_local(const char *host, size_t len)
{
    static const char *const names[] = {"", "localhost", "::1"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i]) == len && memcmp(names[i], host, len) == 0)
            return true;
    }
    if (host[0] == '/' || host[0] == '@')
        return true;
    return strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") >= len;
}

/* A list of names or addresses, as libpq takes it. */
static bool hosts_are_local(const char *hosts)
{
    for (const char *at = hosts;; at++) {
        size_t len = strcspn(at, ",");
        if (!host_is_local(at, len))
            return false;
        at += len;
        if (*at == '\0')
            return true;
    }
}

static bool is_given(const char *value)
{
    return value != NULL && value[0] != '\0';
}

/* What a service file names is not looked at: it counts as another host. */
static bool is_local(const PQconninfoOption *options)
{
    const char *host = option_of(options, "host");
    const char *address = option_of(options, "hostaddr");
    PQconninfoOption *found = PQconndefaults();
    bool has_service =
        is_given(option_of(options, "service")) || is_given(option_of(found, "service"));
    if (!is_given(address))
        address = option_of(found, "hostaddr");
    if (!is_given(host) && !has_service)
        host = option_of(found, "host");
    bool is_known = found != NULL && (is_given(host) || !has_service);
    const char *hosts = is_given(address) ? address : host;
    bool local = is_known && (!is_given(hosts) || hosts_are_local(hosts));
    PQconninfoFree(found);
    return local;
}

static void add(struct postgres_place *place, size_t *count, const char *keyword, const char *value)
{
    place->keywords[*count] = keyword;
    place->values[*count] = value;
    ++*count;
}

/* A later one of a keyword stands. */
static CK_RV collect(struct postgres_place *place)
{
    size_t count = 0;
    for (const PQconninfoOption *option = place->options; option->keyword != NULL; option++)
        count++;
    place->keywords = mem_calloc(count + POSTGRES_PLACE_ADDED, sizeof(*place->keywords));
    place->values = mem_calloc(count + POSTGRES_PLACE_ADDED, sizeof(*place->values));
    if (place->keywords == NULL || place->values == NULL)
        return FAIL(CKR_HOST_MEMORY, "store %s: no memory for it", place->name);
    count = 0;
    for (size_t i = 0; i < DEFAULT_COUNT; i++)
        add(place, &count, defaults[i].keyword, defaults[i].value);
    for (const PQconninfoOption *option = place->options; option->keyword != NULL; option++) {
        if (option->val != NULL)
            add(place, &count, option->keyword, option->val);
    }
    add(place, &count, "client_encoding", "UTF8");
    /* Kerberos' encryption would come before TLS, and nobody has looked at whom it proves. */
    add(place, &count, "gssencmode", "disable");
    if (!is_local(place->options))
        add(place, &count, "sslmode", "verify-full");
    return CKR_OK;
}

static CK_RV check_tls(const struct postgres_place *place)
{
    const char *mode = option_of(place->options, "sslmode");
    if (!is_given(mode) || strcmp(mode, "verify-full") == 0 || is_local(place->options))
        return CKR_OK;
    return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                      "store %s: a server on another host is proved by its certificate; remove "
                      "sslmode or set it to verify-full, with sslrootcert=FILE for its authority",
                      place->name);
}

static CK_RV set_name(struct postgres_place *place)
{
    const char *host = option_of(place->options, "host");
    const char *port = option_of(place->options, "port");
    const char *database = option_of(place->options, "dbname");
    if (!is_given(host))
        host = option_of(place->options, "hostaddr");
    place->name = mem_format("postgresql://%s%s%s/%s?schema=%s", is_given(host) ? host : "",
                             is_given(port) ? ":" : "", is_given(port) ? port : "",
                             is_given(database) ? database : "", place->schema);
    return place->name != NULL ? CKR_OK : FAIL(CKR_HOST_MEMORY, "store postgresql: no memory");
}

CK_RV postgres_place_new(const char *rest, struct postgres_place **ret_place)
{
    _cleanup_(postgres_place_free) struct postgres_place *place = mem_calloc(1, sizeof(*place));
    _cleanup_(mem_free_pointer) char *uri = mem_format("postgresql:%s", rest);
    if (place == NULL || uri == NULL)
        return FAIL(CKR_HOST_MEMORY, "store postgresql: no memory for it");
    TRY(take_schema(uri, place));
    /* Its message would repeat parts of the URI, a password among them. */
    if (strncmp(rest, "//", 2) == 0)
        place->options = PQconninfoParse(uri, NULL);
    if (place->options == NULL)
        return FAIL_CAUSE(INDEXKEY_CAUSE_CONFIG,
                          "store postgresql: not a URI that libpq takes; " REMEDY
                          ", with reserved characters as %%XX");
    TRY(set_name(place));
    TRY(check_tls(place));
    TRY(collect(place));
    *ret_place = TAKE(place);
    return CKR_OK;
}

void postgres_place_free(struct postgres_place **place)
{
    struct postgres_place *freed = *place;
    if (freed == NULL)
        return;
    PQconninfoFree(freed->options);
    mem_free(freed->keywords);
    mem_free(freed->values);
    mem_free(freed->name);
    mem_free(freed);
    *place = NULL;
}
