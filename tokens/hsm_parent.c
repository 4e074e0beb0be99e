#include "tokens/hsm_parent.h"

#include <dlfcn.h>
#include <p11-kit/p11-kit.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

/* The manufacturer in this module's CK_INFO: a copy of it under another path is no parent either.
 */
#define OUR_MANUFACTURER "indexkey "

CK_RV hsm_parent_new(const char *uri, struct hsm_parent **ret_parent)
{
    struct hsm_parent *parent = mem_calloc(1, sizeof(*parent));
    if (parent == NULL)
        return CKR_HOST_MEMORY;
    if (hsm_uri_read(uri, &parent->uri) != CKR_OK) {
        mem_free(parent);
        return CKR_HOST_MEMORY;
    }
    apart_turn_init(&parent->turn);
    (void) pthread_mutex_init(&parent->lock, NULL);
    atomic_init(&parent->holders, 1);
    atomic_init(&parent->was_used, false);
    *ret_parent = parent;
    return CKR_OK;
}

struct hsm_parent *hsm_parent_hold(struct hsm_parent *parent)
{
    atomic_fetch_add(&parent->holders, 1);
    return parent;
}

void hsm_parent_release(struct hsm_parent *parent)
{
    if (atomic_fetch_sub(&parent->holders, 1) > 1)
        return;
    if (parent->functions != NULL) {
        (void) p11_kit_module_finalize(parent->functions);
        p11_kit_module_release(parent->functions);
    }
    hsm_uri_clear(&parent->uri);
    (void) pthread_mutex_destroy(&parent->lock);
    apart_turn_clear(&parent->turn);
    mem_free(parent);
}

/* ---- who it is ---- */

/* The library that has this function or datum; NULL when none has. */
static const void *library_of(const void *address)
{
    Dl_info info;
    return address != NULL && dladdr(address, &info) != 0 ? info.dli_fbase : NULL;
}

/* A module that is ourselves would be asked for what it is asking for; p11-kit's proxy, which is
 * libp11-kit itself, has us among its modules. */
static CK_RV check_library(void *library, struct hsm_fault *fault)
{
    static const char own[] = "";
    const void *entry = library_of(dlsym(library, "C_GetFunctionList"));
    if (entry == NULL) {
        (void) snprintf(fault->detail, sizeof(fault->detail), "it has no C_GetFunctionList");
        return hsm_fault_set(fault, HSM_NOT_LOADED);
    }
    if (entry == library_of(own))
        return hsm_fault_set(fault, HSM_IS_OURSELVES);
    if (entry == library_of(dlsym(library, "p11_kit_modules_load")))
        return hsm_fault_set(fault, HSM_IS_PROXY);
    return CKR_OK;
}

static CK_RV fail_load(struct hsm_fault *fault, const char *why)
{
    (void) snprintf(fault->detail, sizeof(fault->detail), "%s", why == NULL ? "no reason" : why);
    return hsm_fault_set(fault, HSM_NOT_LOADED);
}

static void close_library(void **library)
{
    if (*library != NULL)
        (void) dlclose(*library);
}

static CK_RV load_locked(struct hsm_parent *parent, struct hsm_fault *fault,
                         CK_FUNCTION_LIST **ret_functions)
{
    fault->step = HSM_LOAD;
    _cleanup_(close_library) void *library = dlopen(parent->uri.module, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL)
        return fail_load(fault, dlerror());
    TRY(check_library(library, fault));
    /* Not P11_KIT_MODULE_UNMANAGED: such a module is initialised without locks. */
    CK_FUNCTION_LIST *functions = p11_kit_module_load(parent->uri.module, 0);
    if (functions == NULL)
        return fail_load(fault, p11_kit_message());
    *ret_functions = functions;
    return CKR_OK;
}

static CK_RV initialize_locked(CK_FUNCTION_LIST *functions, struct hsm_fault *fault)
{
    CK_INFO info = {.flags = 0};
    fault->step = HSM_INITIALIZE;
    /* CKR_CRYPTOKI_ALREADY_INITIALIZED is OK to p11-kit, which then will not finalise it. */
    CK_RV rv = p11_kit_module_initialize(functions);
    if (rv != CKR_OK)
        return hsm_fault_refused(fault, rv);
    rv = functions->C_GetInfo(&info);
    if (rv != CKR_OK)
        hsm_fault_refused(fault, rv);
    else if (memcmp(info.manufacturerID, OUR_MANUFACTURER, strlen(OUR_MANUFACTURER)) == 0)
        hsm_fault_set(fault, HSM_IS_OURSELVES);
    else
        return CKR_OK;
    (void) p11_kit_module_finalize(functions);
    return CKR_FUNCTION_FAILED;
}

static CK_RV start_locked(struct hsm_parent *parent, struct hsm_fault *fault)
{
    CK_FUNCTION_LIST *functions = NULL;
    TRY(load_locked(parent, fault, &functions));
    CK_RV rv = initialize_locked(functions, fault);
    if (rv != CKR_OK) {
        p11_kit_module_release(functions);
        return rv;
    }
    parent->functions = functions;
    parent->generation++;
    return CKR_OK;
}

CK_RV hsm_parent_use(struct hsm_parent *parent, struct hsm_fault *fault,
                     CK_FUNCTION_LIST **ret_functions, unsigned int *ret_generation)
{
    (void) pthread_mutex_lock(&parent->lock);
    CK_RV rv = parent->functions != NULL ? CKR_OK : start_locked(parent, fault);
    *ret_functions = parent->functions;
    *ret_generation = parent->generation;
    (void) pthread_mutex_unlock(&parent->lock);
    return rv;
}

void hsm_parent_restart(struct hsm_parent *parent, unsigned int generation)
{
    (void) pthread_mutex_lock(&parent->lock);
    /* The functions stay: other threads may be calling them. */
    if (parent->generation == generation) {
        (void) p11_kit_module_finalize(parent->functions);
        (void) p11_kit_module_initialize(parent->functions);
        parent->generation++;
    }
    (void) pthread_mutex_unlock(&parent->lock);
}
