/* PKCS #11 5.20: random number generation. */
#include "module/api.h"

#include "base/random_buffer.h"

/* The DRBG is seeded by the system; what a caller would add is not needed and not trusted. */
CK_RV C_SeedRandom(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pSeed, CK_ULONG ulSeedLen)
{
    struct session *session;

    TRY(session_enter(hSession, &session));
    return session_leave(session, api_bytes_are_bad(pSeed, ulSeedLen)
                                      ? CKR_ARGUMENTS_BAD
                                      : CKR_RANDOM_SEED_NOT_SUPPORTED);
}

CK_RV C_GenerateRandom(CK_SESSION_HANDLE hSession, CK_BYTE_PTR RandomData, CK_ULONG ulRandomLen)
{
    struct session *session;

    TRY(session_enter(hSession, &session));
    if (api_bytes_are_bad(RandomData, ulRandomLen))
        return session_leave(session, CKR_ARGUMENTS_BAD);
    return session_leave(session, random_buffer_read(session->place, RandomData, ulRandomLen));
}
