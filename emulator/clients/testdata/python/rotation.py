"""Rotates the password of an ElastiCache user, with the calls that AWS's template for
rotation functions makes, in its order, and checks what they answer.

python3 rotation.py                a function: the event is on the standard input
python3 rotation.py SECRET ARN     makes a secret of the user SECRET, has the function
                                   ARN rotate it and prints the new password
"""

import json
import os
import sys
import time

import boto3

# botocore before 1.31 does not read AWS_ENDPOINT_URL.
secrets = boto3.client("secretsmanager", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
cache = boto3.client("elasticache", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
errors = secrets.exceptions


def refused(error, message, call, **members):
    """Makes a call that must fail so."""
    try:
        call(**members)
    except error as e:
        assert message in e.response["Error"]["Message"], e
        assert e.response["ResponseMetadata"]["HTTPStatusCode"] == 400, e
        return
    raise AssertionError(f"{error.__name__} does not come")


def read(arn, stage, **version):
    got = secrets.get_secret_value(SecretId=arn, VersionStage=stage, **version)
    assert got["ARN"] == arn and stage in got["VersionStages"], got
    return json.loads(got["SecretString"])


def active_user(name):
    """The user, once nothing is under way with it."""
    while True:
        (user,) = cache.describe_users(UserId=name)["Users"]
        if user["Status"] == "active":
            return user
        assert user["Status"] == "modifying", user
        time.sleep(0.1)


def create(arn, token):
    current = read(arn, "AWSCURRENT")
    user = active_user(current["username"])
    assert user["ARN"] == current["user_arn"], user
    refused(errors.ResourceNotFoundException, f"can't find the specified secret value for VersionId: {token}",
            secrets.get_secret_value, SecretId=arn, VersionId=token, VersionStage="AWSPENDING")
    refused(errors.ResourceNotFoundException, "can't find the specified secret value", secrets.get_secret_value, SecretId=arn, VersionStage="AWSPENDING")
    made = secrets.get_random_password(ExcludeCharacters="/@\"'\\,", PasswordLength=20)["RandomPassword"]
    assert len(made) == 20 and not set(made) & set("/@\"'\\,")
    pending = {"SecretId": arn, "ClientRequestToken": token, "VersionStages": ["AWSPENDING"],
               "SecretString": json.dumps({**current, "password": made})}
    for _ in range(2):  # the second time nothing happens
        put = secrets.put_secret_value(**pending)
        assert put["VersionId"] == token and put["VersionStages"] == ["AWSPENDING"], put
    refused(errors.ResourceExistsException, f"You can't use ClientRequestToken {token}",
            secrets.put_secret_value, **{**pending, "SecretString": "{}"})


def set_password(arn, token):
    pending = read(arn, "AWSPENDING", VersionId=token)
    current = read(arn, "AWSCURRENT")
    active_user(pending["username"])
    changed = cache.modify_user(UserId=pending["username"], Passwords=[pending["password"], current["password"]])
    assert changed["Status"] == "modifying", changed
    refused(cache.exceptions.InvalidUserStateFault, "", cache.modify_user, UserId=pending["username"], Passwords=[pending["password"]])


def test(arn, token):
    pending = read(arn, "AWSPENDING", VersionId=token)
    both = {pending["password"], read(arn, "AWSCURRENT")["password"]}  # one, if this step is all there is
    assert active_user(pending["username"])["Authentication"]["PasswordCount"] == len(both)


def finish(arn, token):
    stages = secrets.describe_secret(SecretId=arn)["VersionIdsToStages"]
    (current,) = [version for version, labels in stages.items() if "AWSCURRENT" in labels]
    refused(errors.InvalidParameterException, f"currently attached to version {current}, so you must explicitly reference that version in RemoveFromVersionId.",
            secrets.update_secret_version_stage, SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token)
    moved = secrets.update_secret_version_stage(SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current)
    assert moved["ARN"] == arn, moved


def rotate(event):
    arn, token = event["SecretId"], event["ClientRequestToken"]
    described = secrets.describe_secret(SecretId=arn)
    assert described["RotationEnabled"] and described["ARN"] == arn, described
    labels = described["VersionIdsToStages"][token]
    assert labels == ["AWSPENDING"], labels
    {"createSecret": create, "setSecret": set_password, "testSecret": test, "finishSecret": finish}[event["Step"]](arn, token)


def labels(name):
    return secrets.describe_secret(SecretId=name)["VersionIdsToStages"]


def passwords(name):
    """What a new password may be."""
    made = secrets.get_random_password()["RandomPassword"]
    kinds = [str.islower, str.isupper, str.isdigit, lambda c: not c.isalnum()]
    assert len(made) == 32 and all(any(map(kind, made)) for kind in kinds)
    refused(errors.InvalidParameterException, "PasswordLength", secrets.get_random_password, PasswordLength=4097)
    bad = cache.exceptions.InvalidParameterValueException
    for wrong in (["short-by-1-letter"[:15]], ["x" * 129], ["a-password-of-it-%d" % n for n in range(3)]):
        refused(bad, "", cache.modify_user, UserId=name, Passwords=wrong)


def stages(name, function):
    """How labels move, and which rotation cannot begin."""
    first = secrets.create_secret(Name=name, SecretString="x")["VersionId"]
    pending = secrets.put_secret_value(SecretId=name, SecretString="y", VersionStages=["AWSPENDING"])["VersionId"]
    refused(errors.InvalidRequestException, "A previous rotation isn't complete.", secrets.rotate_secret, SecretId=name, RotationLambdaARN=function)
    assert labels(name) == {first: ["AWSCURRENT"], pending: ["AWSPENDING"]}, labels(name)
    secrets.update_secret_version_stage(SecretId=name, VersionStage="AWSPENDING", RemoveFromVersionId=pending)
    second = secrets.put_secret_value(SecretId=name, SecretString="z")["VersionId"]
    assert labels(name) == {first: ["AWSPREVIOUS"], second: ["AWSCURRENT"]}, labels(name)
    ids = {v["VersionId"] for v in secrets.list_secret_version_ids(SecretId=name)["Versions"]}
    every = {v["VersionId"] for v in secrets.list_secret_version_ids(SecretId=name, IncludeDeprecated=True)["Versions"]}
    assert ids == {first, second} and every == {first, second, pending}, every


def only_test(name, function):
    """A schedule without a rotation at once: testSecret alone, with a version that goes again."""
    before = labels(name)
    secrets.rotate_secret(SecretId=name, RotationLambdaARN=function, RotateImmediately=False,
                          RotationRules={"ScheduleExpression": "rate(10 days)", "Duration": "3h"})
    while labels(name) != before:
        time.sleep(0.1)
    described = secrets.describe_secret(SecretId=name)
    assert described["RotationEnabled"] and described["RotationRules"] == {"ScheduleExpression": "rate(10 days)", "Duration": "3h"}, described
    assert "LastRotatedDate" not in described, described


def drive(name, function):
    refused(errors.ResourceNotFoundException, "Secrets Manager can't find the specified secret.", secrets.describe_secret, SecretId=name)
    (user,) = cache.describe_users(UserId=name)["Users"]
    value = {"username": name, "password": os.environ["PASSWORD"], "user_arn": user["ARN"]}
    made = secrets.create_secret(Name=name, SecretString=json.dumps(value))
    refused(errors.ResourceExistsException, "already exists", secrets.create_secret, Name=name, SecretString="x")
    refused(errors.InvalidRequestException, "No Lambda rotation function ARN is associated with this secret.", secrets.rotate_secret, SecretId=name)

    passwords(name)
    stages(name + "-labels", function)
    only_test(name, function)

    rotation = secrets.rotate_secret(SecretId=name, RotationLambdaARN=function, RotationRules={"AutomaticallyAfterDays": 30})
    while "LastRotatedDate" not in (described := secrets.describe_secret(SecretId=name)):
        time.sleep(0.1)
    old, new = made["VersionId"], rotation["VersionId"]
    assert described["VersionIdsToStages"] == {old: ["AWSPREVIOUS"], new: ["AWSCURRENT"]}, described
    assert described["RotationRules"] == {"AutomaticallyAfterDays": 30} and described["RotationLambdaARN"] == function, described
    next_date = described.get("NextRotationDate")  # of which an old botocore does not know
    assert not next_date or 29 < (next_date - described["LastRotatedDate"]).total_seconds() / 86400 < 31, described
    assert read(made["ARN"], "AWSPREVIOUS", VersionId=old) == value
    refused(errors.InvalidRequestException, "You provided a VersionStage that is not associated to the provided VersionId.",
            secrets.get_secret_value, SecretId=name, VersionId=old, VersionStage="AWSCURRENT")
    refused(errors.ResourceNotFoundException, "for staging label: AWSPENDING", secrets.get_secret_value, SecretId=name, VersionStage="AWSPENDING")
    assert {v["VersionId"] for v in secrets.list_secret_version_ids(SecretId=name)["Versions"]} == {old, new}

    cancelled = secrets.cancel_rotate_secret(SecretId=name)
    assert cancelled["ARN"] == made["ARN"] and not secrets.describe_secret(SecretId=name)["RotationEnabled"]
    secrets.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    refused(errors.InvalidRequestException, "because it was marked for deletion.", secrets.get_secret_value, SecretId=name)
    secrets.restore_secret(SecretId=name)
    print(read(made["ARN"], "AWSCURRENT")["password"], end="")


if len(sys.argv) == 1:
    rotate(json.load(sys.stdin))
else:
    drive(*sys.argv[1:])
