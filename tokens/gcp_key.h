/*
 * Names of Google Cloud KMS: of a key, "projects/P/locations/L/keyRings/R/cryptoKeys/K", and of its
 * versions, ".../cryptoKeyVersions/N".
 */
#pragma once

#include <stdbool.h>

#include "base/bytes.h"

#define GCP_KEY_VERSION_LEN_MAX 512

/* For the configuration: NULL when good, else how it must be. */
const char *gcp_key_project_fault(const char *project);
const char *gcp_key_location_fault(const char *location);
/* Of a key ring or a key. */
const char *gcp_key_name_fault(const char *name);

/* The name of a version of that key. */
bool gcp_key_has_version(const char *key, struct view version);
/* The name of a version of any key. */
bool gcp_key_is_version(struct view version);
