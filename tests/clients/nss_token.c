#include "tests/clients/nss_token.h"

#include "tests/support/api_fixture.h"

static struct api api;

_Static_assert(sizeof(NSS_TOKEN_PIN) == sizeof(API_USER_PIN), "one PIN");

void nss_token_make(void)
{
    api_open(&api, NULL, NULL);
    api_make_aes_key(&api, true, NSS_TOKEN_KEY);
    OK(api.p11->C_Finalize(NULL));
}

void nss_token_remove(void)
{
    api_close(&api);
}
