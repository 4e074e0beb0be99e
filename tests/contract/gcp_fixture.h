/*
 * For the tests of `source = gcp`: kms_fixture.h with three fakes of Google (fake_gcp.py): KMS, the
 * token endpoints ("provider"), and a metadata server without TLS ("machine"). The latter two end
 * with the test program.
 */
#pragma once

#include "tests/contract/kms_fixture.h"

#define GCP_KEY_RING_GOOD "projects/good-project/locations/europe-west3/keyRings/ring"
#define GCP_KEY_GOOD "index-keys"
#define GCP_KEY_NAME_GOOD GCP_KEY_RING_GOOD "/cryptoKeys/" GCP_KEY_GOOD

/* The command "credentials" of fake_gcp.py with these members besides url and file. */
#define GCP_ACCOUNT "\"type\": \"service_account\""
#define GCP_USER "\"type\": \"authorized_user\""
/* The subject token's file is put beside the credentials file. */
#define GCP_BY_FILE "\"type\": \"external_account\", \"subject\": \"%s\""
#define GCP_BY_URL "\"type\": \"external_account\", \"subject\": \"url\""
#define GCP_IMPERSONATES ", \"impersonates\": true"
#define GCP_ALTER(members) ", \"alter\": {" members "}"

extern struct fake_service gcp_provider;
extern struct fake_service gcp_machine;

/* Canonical contexts of a token `vectors`, of one `other`, and none. */
extern const struct view gcp_context;
extern const struct view gcp_context_other;
extern const struct view gcp_context_none;

/*
 * kms_settings for Google:
 *   credential  NULL: GCP_ACCOUNT. "": no file, and the machine's metadata server. "absent": a file
 *               that is not there, "malformed", "open" (to others). Else members as above.
 *   provider    a command to the provider (or, where there is no file, to the machine)
 *   access      "variable": the file is named by GOOGLE_APPLICATION_CREDENTIALS; "gcloud": it is
 *               gcloud's own; NULL: by credentials_file
 */
void gcp_configure(struct fake_service *fake, const struct kms_settings *settings);
struct source *gcp_open(struct fake_service *fake, const struct kms_settings *settings);

void gcp_start(struct fake_service *fake);
/* kms_reset, and the other two are as they began. */
void gcp_reset(struct fake_service *fake);
/* The text of the credentials file that was configured last; ends a test that has none. */
const char *gcp_credentials(void);
