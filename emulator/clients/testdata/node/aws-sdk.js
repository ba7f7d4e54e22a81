// Uses the emulator with the AWS SDK for JavaScript, to which the environment says
// where it is and by whose key, and fails where something is not as on AWS:
//
//	node aws-sdk.js setUp|pages|errors
const assert = require("node:assert/strict");
const { readFileSync } = require("node:fs");
const ec2 = require("@aws-sdk/client-ec2");
const elasticache = require("@aws-sdk/client-elasticache");
const iam = require("@aws-sdk/client-iam");
const sts = require("@aws-sdk/client-sts");
const { fromInstanceMetadata, fromTemporaryCredentials } = require("@aws-sdk/credential-providers");
const { createClient } = require("redis");
const { sign } = require("./sign.js");

const EC2 = new ec2.EC2({});
const ElastiCache = new elasticache.ElastiCache({});
const IAM = new iam.IAM({});
const STS = new sts.STS({});

const { AWS_ENDPOINT_URL, AWS_REGION: region, REDIAM_CA } = process.env;
const account = "123456789012";
const policy = (statement) => JSON.stringify({ Version: "2012-10-17", Statement: [{ Effect: "Allow", ...statement }] });
const trust = policy({ Action: "sts:AssumeRole", Principal: { AWS: account, Service: "ec2.amazonaws.com" } });
const iamUser = (name) => ({ UserId: name, UserName: name, Engine: "redis", AccessString: "on ~* +@all", AuthenticationMode: { Type: "iam" } });

// advance moves the emulator's clock on by an hour, which is how long a change takes.
// Nobody tells the SDK, whose next request is signed too early.
let hours = 0;
async function advance() {
  const answer = await fetch(AWS_ENDPOINT_URL + "/_rediam/advance", { method: "POST", body: '{"by":"1h"}' });
  assert.equal(answer.status, 200);
  hours++;
}

const wantNow = (date) => assert(date instanceof Date && Math.abs(date - Date.now() - hours * 3600_000) < 600_000, String(date));

// The hour of a replication group is over when a waiter has seen twice that it is not.
let seen = 0;
ElastiCache.middlewareStack.add((next) => async (request) => {
  const answer = await next(request);
  if (/creating|deleting/.test(answer.output.ReplicationGroups?.[0]?.Status) && ++seen % 2 === 0) await advance();
  return answer;
});

const waiting = (client) => ({ client, maxWaitTime: 20, minDelay: 0.01, maxDelay: 0.02 });

// An application in all its parts, from nothing to nothing.
async function setUp() {
  const PolicyArn = await allow();
  const { PrimaryEndpoint } = await makeCache();
  const InstanceIds = [await launch()];
  const elsewhere = fromTemporaryCredentials({ params: { RoleArn: `arn:aws:iam::${account}:role/app`, RoleSessionName: "laptop", DurationSeconds: 900 } });
  await signIn(PrimaryEndpoint, fromInstanceMetadata(), InstanceIds[0]);
  await signIn(PrimaryEndpoint, elsewhere, "laptop");
  await IAM.detachRolePolicy({ RoleName: "app", PolicyArn });
  await assert.rejects(signIn(PrimaryEndpoint, elsewhere, "laptop"), /WRONGPASS/);
  await EC2.terminateInstances({ InstanceIds });
  await ec2.waitUntilInstanceTerminated(waiting(EC2), { InstanceIds });
  await removeCache();
  await IAM.removeRoleFromInstanceProfile({ InstanceProfileName: "app", RoleName: "app" });
  await IAM.deleteInstanceProfile({ InstanceProfileName: "app" });
  await IAM.deleteRole({ RoleName: "app" });
  await IAM.deletePolicy({ PolicyArn });
}

// allow makes a role that may connect, and an instance profile for it.
async function allow() {
  const arn = `arn:aws:elasticache:${region}:${account}:`;
  const PolicyDocument = policy({ Action: "elasticache:Connect", Resource: [arn + "replicationgroup:orders", arn + "user:app"] });
  const Tags = [{ Key: "team", Value: "ü + é" }];
  const { Policy } = await IAM.createPolicy({ PolicyName: "connect", Path: "/apps/", Description: "ü & <b>", PolicyDocument, Tags });
  const PolicyArn = Policy.Arn;
  const found = await iam.waitUntilPolicyExists(waiting(IAM), { PolicyArn });
  assert.deepEqual([found.reason.Policy.Description, found.reason.Policy.Tags, PolicyArn], ["ü & <b>", Tags, `arn:aws:iam::${account}:policy/apps/connect`]);
  await IAM.createRole({ RoleName: "app", AssumeRolePolicyDocument: trust });
  const { Role } = (await iam.waitUntilRoleExists(waiting(IAM), { RoleName: "app" })).reason;
  assert.equal(decodeURIComponent(Role.AssumeRolePolicyDocument), trust);
  wantNow(Role.CreateDate);
  await IAM.attachRolePolicy({ RoleName: "app", PolicyArn });
  await IAM.createInstanceProfile({ InstanceProfileName: "app" });
  await IAM.addRoleToInstanceProfile({ InstanceProfileName: "app", RoleName: "app" });
  const { InstanceProfile } = (await iam.waitUntilInstanceProfileExists(waiting(IAM), { InstanceProfileName: "app" })).reason;
  assert.equal(InstanceProfile.Roles[0].RoleId, Role.RoleId);
  return PolicyArn;
}

// makeCache makes the cache orders, its users and what else it needs.
async function makeCache() {
  const off = { UserId: "off", UserName: "default", Engine: "redis", AccessString: "off -@all", AuthenticationMode: { Type: "no-password-required" } };
  const users = [await ElastiCache.createUser(off), await ElastiCache.createUser(iamUser("app"))];
  assert.deepEqual(users.map((user) => [user.UserId, user.Status, user.Authentication.Type]), [["off", "active", "no-password"], ["app", "active", "iam"]]);
  const group = await ElastiCache.createUserGroup({ UserGroupId: "apps", Engine: "redis", UserIds: ["off", "app"] });
  assert.deepEqual([group.Status, group.UserIds, group.ReplicationGroups], ["creating", ["off", "app"], []]);
  await advance();
  await ElastiCache.createCacheSubnetGroup({ CacheSubnetGroupName: "net", CacheSubnetGroupDescription: "a net", SubnetIds: ["subnet-1"] });
  await ElastiCache.createReplicationGroup({
    ReplicationGroupId: "orders",
    ReplicationGroupDescription: "orders",
    CacheNodeType: "cache.t4g.micro",
    Engine: "redis",
    TransitEncryptionEnabled: true,
    CacheSubnetGroupName: "net",
    UserGroupIds: ["apps"],
  });
  wantNow((await ElastiCache.describeCacheClusters({ CacheClusterId: "orders-001" })).CacheClusters[0].CacheClusterCreateTime);
  const { observedResponses, reason } = await elasticache.waitUntilReplicationGroupAvailable(waiting(ElastiCache), { ReplicationGroupId: "orders" });
  assert(observedResponses["200: OK"] > 2, JSON.stringify(observedResponses));
  const [cache] = reason.ReplicationGroups;
  assert.deepEqual([cache.Status, cache.UserGroupIds, cache.TransitEncryptionEnabled, cache.ClusterEnabled], ["available", ["apps"], true, false]);
  return cache.NodeGroups[0];
}

// launch starts the machine of the application, whose role this process has then.
async function launch() {
  const { Instances } = await EC2.runInstances({ ImageId: "ami-1", MinCount: 1, MaxCount: 1, IamInstanceProfile: { Name: "app" } });
  const { reason } = await ec2.waitUntilInstanceRunning(waiting(EC2), { InstanceIds: [Instances[0].InstanceId] });
  const [instance] = reason.Reservations[0].Instances;
  assert.deepEqual([instance.State, instance.IamInstanceProfile.Arn], [{ Code: 16, Name: "running" }, `arn:aws:iam::${account}:instance-profile/app`]);
  wantNow(instance.LaunchTime);
  process.env.AWS_EC2_METADATA_SERVICE_ENDPOINT = instance.Tags.find((tag) => tag.Key === "rediam:metadata-endpoint").Value;
  return instance.InstanceId;
}

// signIn goes into the cache over TLS as the user app, by a session of the role app.
async function signIn({ Address, Port }, credentials, session) {
  const client = new sts.STS({ credentials });
  assert.equal((await client.getCallerIdentity({})).Arn, `arn:aws:sts::${account}:assumed-role/app/${session}`);
  const now = new Date(Date.now() + client.config.systemClockOffset);
  wantNow(now);
  const keys = await credentials();
  assert(keys.expiration > now, String(keys.expiration));
  const password = await sign({ service: "elasticache", cache: "orders", user: "app", region, credentials: keys, now });
  const redis = createClient({ username: "app", password, socket: { host: Address, port: Port, tls: true, ca: readFileSync(REDIAM_CA), reconnectStrategy: false } });
  redis.on("error", () => {}); // connect says it too
  await redis.connect();
  assert.equal(await redis.set("k", session), "OK");
  assert.equal(await redis.aclWhoAmI(), "app");
  await redis.close();
}

// removeCache undoes makeCache, in the order that AWS wants.
async function removeCache() {
  const inUse = [elasticache.InvalidUserGroupStateFault, elasticache.CacheSubnetGroupInUse];
  await assert.rejects(ElastiCache.deleteUserGroup({ UserGroupId: "apps" }), inUse[0]);
  await assert.rejects(ElastiCache.deleteCacheSubnetGroup({ CacheSubnetGroupName: "net" }), inUse[1]);
  await ElastiCache.deleteReplicationGroup({ ReplicationGroupId: "orders" });
  const { observedResponses, reason } = await elasticache.waitUntilReplicationGroupDeleted(waiting(ElastiCache), { ReplicationGroupId: "orders" });
  assert(reason instanceof elasticache.ReplicationGroupNotFoundFault && observedResponses["200: OK"] > 1, JSON.stringify(observedResponses));
  await ElastiCache.deleteCacheSubnetGroup({ CacheSubnetGroupName: "net" });
  assert.equal((await ElastiCache.deleteUserGroup({ UserGroupId: "apps" })).Status, "deleting");
  await advance();
  await ElastiCache.deleteUser({ UserId: "off" });
  await ElastiCache.deleteUser({ UserId: "app" });
  await advance();
  assert.deepEqual((await ElastiCache.describeUsers({})).Users.map((user) => user.UserId), ["default", "default.iam-user"]);
}

// Lists that are longer than a page come whole.
async function pages() {
  const make = (count, call) => Promise.all(Array.from({ length: count }, (_, i) => call("n" + i)));
  await make(25, (name) => ElastiCache.createUser(iamUser(name)));
  await make(3, (name) => ElastiCache.createServerlessCache({ ServerlessCacheName: name, Engine: "redis" }));
  await make(5, (name) => IAM.createUser({ UserName: name, Path: "/n/" }));
  await make(5, (name) => IAM.createRole({ RoleName: name, Path: "/n/", AssumeRolePolicyDocument: trust }));
  await make(5, (name) => IAM.createPolicy({ PolicyName: name, PolicyDocument: policy({ Action: "s3:*", Resource: "*" }) }));
  await make(7, (name) => EC2.runInstances({ ImageId: "ami-1", MinCount: 1, MaxCount: 1, KeyName: name }));
  for (const [paginate, client, pageSize, input, name, want] of [
    [elasticache.paginateDescribeUsers, ElastiCache, 20, {}, (page) => page.Users.map((user) => user.UserId), [20, 7]],
    [elasticache.paginateDescribeServerlessCaches, ElastiCache, 2, {}, (page) => page.ServerlessCaches.map((cache) => cache.ServerlessCacheName), [2, 1]],
    [iam.paginateListUsers, IAM, 2, { PathPrefix: "/n/" }, (page) => page.Users.map((user) => user.UserName), [2, 2, 1]],
    [iam.paginateListRoles, IAM, 2, { PathPrefix: "/n/" }, (page) => page.Roles.map((role) => role.RoleName), [2, 2, 1]],
    [iam.paginateListPolicies, IAM, 4, { Scope: "Local" }, (page) => page.Policies.map((policy) => policy.PolicyName), [4, 1]],
    [ec2.paginateDescribeInstances, EC2, 5, {}, (page) => page.Reservations.map((reservation) => reservation.Instances[0].KeyName), [5, 2]],
  ]) {
    const got = [];
    for await (const page of paginate({ client, pageSize }, input)) got.push(name(page));
    assert.deepEqual(got.map((names) => names.length), want);
    const names = got.flat().filter((name) => !name.startsWith("default")).sort();
    assert.deepEqual(names, names.map((_, i) => "n" + i).sort());
  }
}

// Errors are of the SDK's own types where it has one.
async function errors() {
  await ElastiCache.createUser(iamUser("app"));
  await IAM.createUser({ UserName: "app" });
  await IAM.createRole({ RoleName: "app", AssumeRolePolicyDocument: trust });
  const session = { RoleArn: `arn:aws:iam::${account}:role/app`, RoleSessionName: "session" };
  const instances = { ImageId: "ami-1", MinCount: 1, MaxCount: 1 };
  const stranger = { credentials: { accessKeyId: "AKIANOBODY", secretAccessKey: "none" } };
  for (const [type, code, status, call] of [
    [elasticache.UserNotFoundFault, "UserNotFound", 404, () => ElastiCache.describeUsers({ UserId: "none" })],
    [elasticache.UserAlreadyExistsFault, "UserAlreadyExists", 400, () => ElastiCache.createUser(iamUser("app"))],
    [elasticache.DefaultUserRequired, "DefaultUserRequired", 400, () => ElastiCache.createUserGroup({ UserGroupId: "g", Engine: "redis", UserIds: ["app"] })],
    [elasticache.InvalidParameterCombinationException, "InvalidParameterCombination", 400, () => ElastiCache.createUser({ ...iamUser("b"), UserName: "c" })],
    [elasticache.InvalidParameterValueException, "InvalidParameterValue", 400, () => ElastiCache.createUser({ ...iamUser("b"), AccessString: "+none" })],
    [elasticache.ReplicationGroupNotFoundFault, "ReplicationGroupNotFoundFault", 404, () => ElastiCache.deleteReplicationGroup({ ReplicationGroupId: "none" })],
    [elasticache.ElastiCacheServiceException, "ValidationError", 400, () => ElastiCache.deleteServerlessCache({ ServerlessCacheName: "c", FinalSnapshotName: "s" })],
    [iam.NoSuchEntityException, "NoSuchEntity", 404, () => IAM.getRole({ RoleName: "none" })],
    [iam.EntityAlreadyExistsException, "EntityAlreadyExists", 409, () => IAM.createUser({ UserName: "app" })],
    [iam.MalformedPolicyDocumentException, "MalformedPolicyDocument", 400, () => IAM.createPolicy({ PolicyName: "p", PolicyDocument: "{}" })],
    [sts.MalformedPolicyDocumentException, "MalformedPolicyDocument", 400, () => STS.assumeRole({ ...session, Policy: "{" })],
    [sts.STSServiceException, "AccessDenied", 403, () => STS.assumeRole({ ...session, RoleArn: session.RoleArn + "2" })],
    [sts.STSServiceException, "InvalidClientTokenId", 403, () => new sts.STS(stranger).getCallerIdentity({})],
    [ec2.EC2ServiceException, "InvalidInstanceID.NotFound", 400, () => EC2.terminateInstances({ InstanceIds: ["i-0123456789abcdef0"] })],
    [ec2.EC2ServiceException, "DryRunOperation", 412, () => EC2.runInstances({ ...instances, DryRun: true })],
    [ec2.EC2ServiceException, "AuthFailure", 401, () => new ec2.EC2(stranger).describeInstances({})],
  ]) {
    await assert.rejects(call(), (error) => {
      const name = type.name.endsWith("ServiceException") ? code : type.name;
      assert.deepEqual([error.constructor, error.name, error.Code, error.$metadata.httpStatusCode], [type, name, code, status]);
      return error.message !== "" && error.$metadata.requestId !== undefined;
    });
  }
}

({ setUp, pages, errors })[process.argv[2]]();
