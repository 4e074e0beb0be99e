/* The suites of test_mechanisms, a file each. */
#pragma once

#include <check.h>

TCase *mechanism_table_tests(void);
TCase *mechanism_mac_tests(void);
TCase *mechanism_gcm_tests(void);
TCase *mechanism_cbc_tests(void);
TCase *mechanism_modes_tests(void);
TCase *mechanism_sp800_108_tests(void);
TCase *mechanism_hkdf_tests(void);
TCase *mechanism_wrap_tests(void);
TCase *mechanism_kdf_modes_tests(void);
TCase *mechanism_simple_kdf_tests(void);
