/*
 * Ciphertexts of direct keys in AWS's stores of parameters: Systems Manager's Parameter Store and
 * Secrets Manager.
 *
 *   ssm:NAME               a parameter's name, with :VERSION or :LABEL, or its ARN; String, or
 *                          SecureString, which Systems Manager decrypts (WithDecryption)
 *   secretsmanager:NAME    a secret's name, or its ARN; its current version, a text or bytes
 *
 * An ARN's Region is the one that is asked. Replicas of the KMS key play no part.
 */
#pragma once

#include "tokens/aws_exchange.h"

#define AWS_PARAMETER_SCHEMES "ssm: secretsmanager:"

/* read_parameter of struct source_ops: `source` is a struct aws. */
CK_RV aws_parameter_read(struct source *source, const struct source_call *call, const char *place,
                         struct secret *ret_value);
