#!/usr/bin/env python3
"""What an account's administrator does, on an emulator that `aws.sh start` has started.

    aws_admin.py FOLDER COMMAND [ARGUMENT...]

    disable-key | enable-key              the key's state
    enable-rotation
    schedule-deletion | cancel-deletion   cancelling leaves the key disabled, as AWS does
    second-key                            makes another key; prints KEY_ID= and KEY_ARN=
    move-alias                            to a new key, which may be used as the first one
    permit ARN...                         the user's and the role's policy names just these
                                          ("*" is any key, so that a missing one is NotFound)
    deny ACTION... | allow                a Deny for actions such as kms:Decrypt; takes it back
    deactivate-access-key | activate-access-key
    put-parameter NAME VALUE              a SecureString of Systems Manager
    put-secret NAME VALUE                 a secret of Secrets Manager; prints SECRET_ARN=
    delete-secret NAME                    in seven days
    session [SECONDS]                     assumes the role; prints ACCESS_KEY_ID=,
                                          SECRET_ACCESS_KEY=, SESSION_TOKEN=

It speaks to the emulator itself, past the counting proxy. `setup`, which start calls, makes the
key, its alias, the user, the role and the administrator.
"""

import json
import os
import pathlib
import shlex
import sys

import botocore.config
import botocore.session

ALIAS = "alias/index-keys"
USER = ROLE = POLICY = "index-keys"
CLIENT_ACTIONS = ["kms:GenerateDataKey", "kms:Encrypt", "kms:Decrypt", "kms:DescribeKey",
                  "kms:GetKeyRotationStatus", "kms:ReEncryptFrom", "kms:ReEncryptTo",
                  "kms:ReEncrypt"]
STORE_ACTIONS = ["ssm:GetParameter", "secretsmanager:GetSecretValue"]


def policy(effect, actions, resources):
    statement = {"Effect": effect, "Action": actions, "Resource": resources}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def print_env(**values):
    for name, value in values.items():
        print(f"{name}={shlex.quote(value)}")


class Account:
    """`env` is the folder's; the administrator in it signs, or the emulator's root at setup."""

    def __init__(self, folder):
        lines = (pathlib.Path(folder) / "env").read_text(encoding="utf-8").splitlines()
        self.env = {name: shlex.split(value)[0] for name, value in (x.split("=", 1) for x in lines)}
        self.kms = self.client("kms")
        self.iam = self.client("iam")
        self.sts = self.client("sts")

    def client(self, service):
        return botocore.session.Session().create_client(
            service,
            region_name=self.env["AWS_REGION"],
            endpoint_url=self.env["EMULATOR_URL"],
            aws_access_key_id=self.env.get("ADMIN_ACCESS_KEY_ID", "test"),
            aws_secret_access_key=self.env.get("ADMIN_SECRET_ACCESS_KEY", "test"),
            # No validation: a session of two seconds is what a test may want.
            config=botocore.config.Config(
                retries={"total_max_attempts": 1}, parameter_validation=False
            ),
        )

    # ---- setup ----

    def make_user(self, name, document):
        self.iam.create_user(UserName=name)
        self.iam.put_user_policy(UserName=name, PolicyName=POLICY, PolicyDocument=document)
        return self.iam.create_access_key(UserName=name)["AccessKey"]

    def make_role(self, user_arn):
        trust = json.loads(policy("Allow", "sts:AssumeRole", "*"))
        del trust["Statement"][0]["Resource"]
        trust["Statement"][0]["Principal"] = {"AWS": user_arn}
        role = self.iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps(trust))
        return role["Role"]["Arn"]

    def setup(self):
        key = self.kms.create_key(Description="index-keys")["KeyMetadata"]
        self.kms.create_alias(AliasName=ALIAS, TargetKeyId=key["KeyId"])
        administrator = self.make_user("administrator", policy("Allow", "*", "*"))
        # ministack does not resolve an alias before it asks the policy. AWS does.
        alias = key["Arn"].replace(f"key/{key['KeyId']}", ALIAS)
        user = self.make_user(USER, self.client_policy([key["Arn"], alias]))
        role = self.make_role(self.iam.get_user(UserName="administrator")["User"]["Arn"])
        self.permit(key["Arn"], alias)
        print_env(
            KEY_ID=key["KeyId"],
            KEY_ARN=key["Arn"],
            KEY_ALIAS=ALIAS,
            KEY_ALIAS_ARN=alias,
            ROLE_ARN=role,
            ACCESS_KEY_ID=user["AccessKeyId"],
            SECRET_ACCESS_KEY=user["SecretAccessKey"],
            ADMIN_ACCESS_KEY_ID=administrator["AccessKeyId"],
            ADMIN_SECRET_ACCESS_KEY=administrator["SecretAccessKey"],
        )

    # ---- the key ----

    def disable_key(self):
        self.kms.disable_key(KeyId=self.env["KEY_ID"])

    def enable_key(self):
        self.kms.enable_key(KeyId=self.env["KEY_ID"])

    def enable_rotation(self):
        self.kms.enable_key_rotation(KeyId=self.env["KEY_ID"])

    def schedule_deletion(self):
        self.kms.schedule_key_deletion(KeyId=self.env["KEY_ID"], PendingWindowInDays=7)

    def cancel_deletion(self):
        self.kms.cancel_key_deletion(KeyId=self.env["KEY_ID"])

    def second_key(self):
        key = self.kms.create_key(Description="second")["KeyMetadata"]
        print_env(KEY_ID=key["KeyId"], KEY_ARN=key["Arn"])

    def move_alias(self):
        key = self.kms.create_key(Description="next")["KeyMetadata"]
        self.kms.update_alias(AliasName=ALIAS, TargetKeyId=key["KeyId"])
        self.permit(self.env["KEY_ARN"], key["Arn"], self.env["KEY_ALIAS_ARN"])

    # ---- who may use it ----

    def client_policy(self, arns):
        """moto matches no policy that names a key, so there it is any key."""
        if self.env["EMULATOR"] == "moto":
            arns = ["*"]
        document = json.loads(policy("Allow", CLIENT_ACTIONS, arns))
        document["Statement"] += json.loads(policy("Allow", STORE_ACTIONS, "*"))["Statement"]
        return json.dumps(document)

    def put_policies(self, name, document):
        self.iam.put_user_policy(UserName=USER, PolicyName=name, PolicyDocument=document)
        self.iam.put_role_policy(RoleName=ROLE, PolicyName=name, PolicyDocument=document)

    def permit(self, *arns):
        self.put_policies(POLICY, self.client_policy(list(arns)))

    def deny(self, *actions):
        self.put_policies("deny", policy("Deny", list(actions), "*"))

    def allow(self):
        self.iam.delete_user_policy(UserName=USER, PolicyName="deny")
        self.iam.delete_role_policy(RoleName=ROLE, PolicyName="deny")

    # ---- stores of parameters ----

    def put_parameter(self, name, value):
        self.client("ssm").put_parameter(Name=name, Value=value, Type="SecureString")

    def put_secret(self, name, value):
        made = self.client("secretsmanager").create_secret(Name=name, SecretString=value)
        print_env(SECRET_ARN=made["ARN"])

    def delete_secret(self, name):
        self.client("secretsmanager").delete_secret(SecretId=name, RecoveryWindowInDays=7)

    # ---- credentials ----

    def set_access_key(self, status):
        self.iam.update_access_key(
            UserName=USER, AccessKeyId=self.env["ACCESS_KEY_ID"], Status=status
        )

    def deactivate_access_key(self):
        self.set_access_key("Inactive")

    def activate_access_key(self):
        self.set_access_key("Active")

    def session(self, seconds="900"):
        answer = self.sts.assume_role(
            RoleArn=self.env["ROLE_ARN"], RoleSessionName="test", DurationSeconds=int(seconds)
        )["Credentials"]
        print_env(
            ACCESS_KEY_ID=answer["AccessKeyId"],
            SECRET_ACCESS_KEY=answer["SecretAccessKey"],
            SESSION_TOKEN=answer["SessionToken"],
        )


COMMANDS = {
    "setup": Account.setup,
    "disable-key": Account.disable_key,
    "enable-key": Account.enable_key,
    "enable-rotation": Account.enable_rotation,
    "schedule-deletion": Account.schedule_deletion,
    "cancel-deletion": Account.cancel_deletion,
    "second-key": Account.second_key,
    "move-alias": Account.move_alias,
    "permit": Account.permit,
    "deny": Account.deny,
    "allow": Account.allow,
    "deactivate-access-key": Account.deactivate_access_key,
    "activate-access-key": Account.activate_access_key,
    "put-parameter": Account.put_parameter,
    "put-secret": Account.put_secret,
    "delete-secret": Account.delete_secret,
    "session": Account.session,
}


def forget_caller():
    """The caller's own account, endpoints and proxies are not for the emulator."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["NO_PROXY"] = "*"


def main():
    if len(sys.argv) < 3 or sys.argv[2] not in COMMANDS:
        sys.exit(__doc__)
    forget_caller()
    COMMANDS[sys.argv[2]](Account(sys.argv[1]), *sys.argv[3:])


if __name__ == "__main__":
    main()
