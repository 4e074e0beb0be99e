#include "tokens/hsm_uri.h"

#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"

#define SCHEME "pkcs11:"
#define FILE_SCHEME "file:"
#define FILE_AUTHORITY "file://"

static void free_uri(P11KitUri **uri)
{
    if (*uri != NULL)
        p11_kit_uri_free(*uri);
}

/* "file:/etc/pin", "file:///etc/pin" or "/etc/pin". NULL for anything else: another host, a program
 * to run. */
static const char *path_of_pin(const char *source)
{
    if (strncmp(source, FILE_AUTHORITY, strlen(FILE_AUTHORITY)) == 0)
        source += strlen(FILE_AUTHORITY);
    else if (strncmp(source, FILE_SCHEME, strlen(FILE_SCHEME)) == 0)
        source += strlen(FILE_SCHEME);
    return source[0] == '/' ? source : NULL;
}

static bool is_module_name(const char *name)
{
    return *name != '\0' && strchr(name, '/') == NULL && strcmp(name, "..") != 0;
}

static const char *module_fault(P11KitUri *uri)
{
    const char *path = p11_kit_uri_get_module_path(uri);
    const char *name = p11_kit_uri_get_module_name(uri);
    if (path == NULL && name == NULL)
        return "a pkcs11: URI with the parent's module: ?module-path=/PATH/OF/MODULE.so";
    if (path != NULL && path[0] != '/')
        return "a pkcs11: URI with an absolute module-path";
    if (name != NULL && !is_module_name(name))
        return "a pkcs11: URI whose module-name is a name, without a path";
    return NULL;
}

static const char *key_fault(P11KitUri *uri)
{
    CK_ATTRIBUTE_PTR label = p11_kit_uri_get_attribute(uri, CKA_LABEL);
    CK_ATTRIBUTE_PTR id = p11_kit_uri_get_attribute(uri, CKA_ID);
    if ((label == NULL || label->ulValueLen == 0) && (id == NULL || id->ulValueLen == 0))
        return "a pkcs11: URI of a key, with object= or id=";
    if (id != NULL && id->ulValueLen > HSM_ID_LEN_MAX)
        return "a pkcs11: URI with an id of at most 255 bytes";
    return NULL;
}

static const char *parsed_fault(P11KitUri *uri)
{
    const char *source = p11_kit_uri_get_pin_source(uri);
    if (p11_kit_uri_any_unrecognized(uri))
        return "a pkcs11: URI with attributes of RFC 7512 only";
    if (source != NULL && path_of_pin(source) == NULL)
        return "a pkcs11: URI whose pin-source is a file: file:/PATH";
    const char *fault = module_fault(uri);
    return fault != NULL ? fault : key_fault(uri);
}

const char *hsm_uri_fault(const char *text)
{
    if (strncmp(text, SCHEME, strlen(SCHEME)) != 0)
        return "a pkcs11: URI (RFC 7512)";
    /* Before it is parsed, which would copy the PIN. */
    if (strstr(text, "pin-value") != NULL)
        return "a pkcs11: URI without pin-value: keep the PIN in a file, named by pin-source";
    _cleanup_(free_uri) P11KitUri *uri = p11_kit_uri_new();
    if (uri == NULL || p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri) != P11_KIT_URI_OK)
        return "a pkcs11: URI (RFC 7512) that can be parsed";
    return parsed_fault(uri);
}

static bool is_folder(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool is_there(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

/* RFC 7512, 2.3: module-name is without what the system puts around it. */
static char *module_by_name(const char *folder, const char *name)
{
    char *path = mem_format("%s/lib%s.so", folder, name);
    if (path == NULL || is_there(path))
        return path;
    mem_free(path);
    return mem_format("%s/%s.so", folder, name);
}

static char *module_of(P11KitUri *uri)
{
    const char *path = p11_kit_uri_get_module_path(uri);
    const char *name = p11_kit_uri_get_module_name(uri);
    if (name != NULL && (path == NULL || is_folder(path)))
        return module_by_name(path == NULL ? P11_KIT_MODULE_FOLDER : path, name);
    return mem_strdup(path);
}

CK_RV hsm_uri_read(const char *text, struct hsm_uri *ret_uri)
{
    _cleanup_(hsm_uri_clear) struct hsm_uri uri = {.parsed = p11_kit_uri_new()};
    if (uri.parsed == NULL ||
        p11_kit_uri_parse(text, P11_KIT_URI_FOR_ANY, uri.parsed) != P11_KIT_URI_OK)
        return CKR_HOST_MEMORY;
    const char *source = p11_kit_uri_get_pin_source(uri.parsed);
    uri.module = module_of(uri.parsed);
    uri.pin_file = source == NULL ? NULL : mem_strdup(path_of_pin(source));
    if (uri.module == NULL || (source != NULL && uri.pin_file == NULL))
        return CKR_HOST_MEMORY;
    *ret_uri = uri;
    uri = (struct hsm_uri){.parsed = NULL};
    return CKR_OK;
}

void hsm_uri_clear(struct hsm_uri *uri)
{
    free_uri(&uri->parsed);
    mem_free(uri->module);
    mem_free(uri->pin_file);
    *uri = (struct hsm_uri){.parsed = NULL};
}

const CK_ATTRIBUTE *hsm_uri_attribute(const struct hsm_uri *uri, CK_ATTRIBUTE_TYPE type)
{
    return p11_kit_uri_get_attribute(uri->parsed, type);
}
