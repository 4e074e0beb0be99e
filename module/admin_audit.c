#include "module/admin_audit.h"

#include "base/rv.h"
#include "module/session.h"
#include "tokens/custody.h"

CK_RV admin_audit_public_key(CK_SESSION_HANDLE session,
                             unsigned char ret_public[ED25519_PUBLIC_LEN])
{
    struct session_view view;

    TRY(session_look(session, &view));
    return session_look_end(&view, custody_audit_public_key(view.slot->custody, ret_public));
}

static CK_RV verify(struct custody *custody, const struct audit_verification *verification,
                    struct audit_verdict *ret_verdict)
{
    unsigned char public_key[1][ED25519_PUBLIC_LEN];
    _cleanup_(secret_clear) struct secret mac_key = {NULL, 0};
    struct audit_verification own = *verification;

    TRY(custody_audit_public_key(custody, public_key[0]));
    TRY(custody_audit_mac_key(custody, &mac_key));
    own.public_keys = public_key;
    own.public_key_count = 1;
    own.mac_key = &mac_key;
    return audit_verify(&own, ret_verdict);
}

CK_RV admin_audit_verify(CK_SESSION_HANDLE session, const struct audit_verification *verification,
                         struct audit_verdict *ret_verdict)
{
    struct session_view view;

    TRY(session_look(session, &view));
    return session_look_end(&view, verify(view.slot->custody, verification, ret_verdict));
}
