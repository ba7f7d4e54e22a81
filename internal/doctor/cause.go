package doctor

// A Cause is the stable id of what is wrong.
type Cause string

// The causes, in the order of the checks. docs/troubleshooting.md explains each.
const (
	NoCredentials      Cause = "no-credentials"
	CredentialsExpired Cause = "credentials-expired"
	CredentialsInvalid Cause = "credentials-invalid"
	ClockSkew          Cause = "clock-skew"

	Configuration  Cause = "configuration" // what Config.Validate says
	NameIsEndpoint Cause = "name-is-endpoint"

	// Of a token or configuration from elsewhere.
	StaticPassword   Cause = "static-password"
	OneArgumentAuth  Cause = "one-argument-auth"
	SchemeLeftOn     Cause = "scheme-left-on"
	TokenMangled     Cause = "token-mangled"
	TokenExpired     Cause = "token-expired"
	TokenUserDiffers Cause = "token-user-differs"
	NameHasCapitals  Cause = "name-has-capitals"

	NotResolved  Cause = "endpoint-not-resolved"
	Unreachable  Cause = "endpoint-unreachable"
	NotListening Cause = "endpoint-refuses"
	NoTLS        Cause = "no-tls"
	Untrusted    Cause = "certificate-untrusted"
	WrongHost    Cause = "certificate-for-another-name"
	Silent       Cause = "endpoint-silent"
	Throttled    Cause = "throttled"
	Unavailable  Cause = "unavailable"

	WrongRegion         Cause = "wrong-region"
	WrongService        Cause = "wrong-service"
	NameUnknown         Cause = "name-unknown"
	ResourceTypeMissing Cause = "resource-type-missing"
	ResourceTypeExtra   Cause = "resource-type-extra"
	UserUnknown         Cause = "user-unknown"
	UserIDDiffers       Cause = "user-id-differs-from-name"
	UserNotIAM          Cause = "user-not-iam"
	UserNotInGroup      Cause = "user-not-in-group"
	UserOff             Cause = "user-off"
	WrongPrincipal      Cause = "wrong-principal"
	PolicyLacksCache    Cause = "policy-lacks-cache"
	PolicyLacksUser     Cause = "policy-lacks-user"

	// NotPermitted is the class of what the wire cannot tell apart, where the account
	// may not be read.
	NotPermitted Cause = "not-permitted-or-not-in-group"
	// Unexplained is a refusal though everything that could be read is in order.
	Unexplained Cause = "refused-unexplained"
)

// causes are all of them, in the order of their importance where several are found.
var causes = []Cause{NoCredentials, CredentialsExpired, CredentialsInvalid, ClockSkew,
	Configuration, NameIsEndpoint,
	StaticPassword, OneArgumentAuth, SchemeLeftOn, TokenMangled, TokenExpired, TokenUserDiffers, NameHasCapitals,
	NotResolved, Unreachable, NotListening, NoTLS, Untrusted, WrongHost, Silent, Throttled, Unavailable,
	WrongRegion, WrongService, NameUnknown, ResourceTypeMissing, ResourceTypeExtra,
	UserUnknown, UserIDDiffers, UserNotIAM, UserNotInGroup, UserOff,
	WrongPrincipal, PolicyLacksCache, PolicyLacksUser, NotPermitted, Unexplained}

// Causes are all there are.
func Causes() []Cause { return causes }
