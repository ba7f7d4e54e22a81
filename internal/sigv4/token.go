package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxToken is the longest token that is looked at, in bytes. Session tokens have
// no documented limit; real tokens are 400 bytes to 4 KB.
const MaxToken = 16 << 10

// What AWS does not document, decided here: what it refuses to one client it
// may accept from another, so the strict answer is the safe one for a test.
const (
	// MaxExpires is the longest X-Amz-Expires in seconds: a token is documented
	// to live 15 minutes, what happens to one that asks for more is not.
	MaxExpires = 900
	// MaxFutureSkew is how far ahead of our clock a signature may be dated:
	// five minutes in the general text on SigV4, none given for the caches.
	MaxFutureSkew = 5 * time.Minute
	// ActionCaseSensitive: every sample writes Action=connect in lower case.
	ActionCaseSensitive = true
	// HostCaseStrict refuses a cache name printed with capitals even where the
	// signature is that of the lower-case name (botocore signs so).
	HostCaseStrict = true
	// The canonical query is made of decoded and encoded again values. Sorting the
	// text as received gives the same for every user name that AWS allows.

	// LenientPayloadHash would accept tokens signed with UNSIGNED-PAYLOAD.
	LenientPayloadHash = false
	// RequireSlash would refuse name?Action=…, which botocore prints.
	RequireSlash = false
)

// A Target is what a token must have been made for.
type Target struct {
	Service    string // "elasticache" or "memorydb"
	Region     string
	Cache      string // in lower case
	Serverless bool
	// LenientResourceType accepts tokens whose ResourceType does not fit the
	// kind of cache. AWS documents it for serverless caches only by example.
	LenientResourceType bool
	// MaxTTL shortens the life of tokens; zero means 15 minutes.
	MaxTTL time.Duration
}

// Claims are what a token says of itself. They are true only if Verify returned
// no error with them.
type Claims struct {
	Cache        string
	User         string
	ResourceType string // "" or "ServerlessCache"
	AccessKey    string
	Service      string
	Region       string
	Signed       time.Time
	Expires      time.Time // by X-Amz-Expires
	SessionToken bool      // whether there is one
}

// Verify checks that token is a sign-in of user to the target, signed by one of
// keys and valid at now. The claims are filled in as far as the check came; the
// error is a *Refusal that names the first check that failed.
func (t Target) Verify(token, user string, keys Keys, now time.Time) (Claims, error) {
	p, refusal := parseToken(token)
	if refusal != nil {
		return Claims{}, refusal
	}
	claims := p.claims()
	if refusal := t.verify(p, &claims, user, keys, now); refusal != nil {
		return claims, refusal
	}
	return claims, nil
}

func (t Target) verify(p *presigned, c *Claims, user string, keys Keys, now time.Time) *Refusal {
	var key Key
	for _, check := range []func() *Refusal{
		p.checkForm,
		func() *Refusal { return t.checkTarget(p, user) },
		func() *Refusal { return p.readScope(c) },
		func() *Refusal { return t.checkScope(c) },
		p.checkScopeDate,
		func() *Refusal { return p.readTimes(c) },
		func() *Refusal { return t.checkTimes(c, now) },
		func() *Refusal {
			var found bool
			key, found = keys(c.AccessKey)
			return checkKey(key, found, p.value[securityToken], p.has[securityToken], now)
		},
		func() *Refusal { return t.checkSignature(p, key.Secret) },
	} {
		if refusal := check(); refusal != nil {
			return refusal
		}
	}
	return nil
}

// Inspect says what a token claims and everything that is wrong with it that
// shows without knowing the cache, the user and the keys.
func Inspect(token string, now time.Time) (Claims, []*Refusal) {
	p, refusal := parseToken(token)
	if refusal != nil {
		return Claims{}, []*Refusal{refusal}
	}
	claims := p.claims()
	found := []*Refusal{p.checkForm(), p.checkHostCase(), p.checkResourceType(), p.readScope(&claims)}
	if p.scope != (scope{}) {
		found = append(found, p.checkScopeDate())
	}
	if r := p.readTimes(&claims); r != nil {
		found = append(found, r)
	} else {
		found = append(found, Target{}.checkTimes(&claims, now))
	}
	if _, r := p.readSignature(); r != nil {
		found = append(found, r)
	}
	return claims, slices.DeleteFunc(found, func(r *Refusal) bool { return r == nil })
}

// The parameters of a token, by name.
const (
	action = iota
	userName
	resourceType
	amzAlgorithm
	amzCredential
	amzDate
	amzExpires
	signedHeaders
	securityToken
	amzSignature
	parameterCount
)

var parameterNames = [parameterCount]string{"Action", "User", "ResourceType", "X-Amz-Algorithm", "X-Amz-Credential",
	"X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Security-Token", "X-Amz-Signature"}

// presigned is a token taken apart, nothing of it believed.
type presigned struct {
	host  string
	value [parameterCount]string // decoded
	has   [parameterCount]bool
	scope scope // set by readScope
}

// parseToken takes a token apart: size, characters, URL form, and each known
// parameter exactly once. Duplicates are looked for without regard to case,
// since a verifier that folds case would otherwise see another value than the
// one that was signed (CVE-2022-2385 in aws-iam-authenticator).
func parseToken(token string) (*presigned, *Refusal) {
	if len(token) > MaxToken {
		return nil, refuse(TooLong, "%d bytes; the limit is %d", len(token), MaxToken)
	}
	for i := range len(token) {
		if token[i] <= ' ' || token[i] > '~' {
			return nil, refuse(NotPrintable, "byte %d is a blank, a control character or not ASCII; was the token cut or wrapped?", i)
		}
	}
	host, query, found := strings.Cut(token, "?")
	if strings.Contains(host, "://") {
		return nil, refuse(SchemeLeftOn, "the token begins with a URL scheme, which must be taken off")
	}
	if !found {
		return nil, refuse(NotAToken, "there is no '?': is it a password, or cut by the shell?")
	}
	if strings.ContainsAny(query, "?#") || strings.ContainsAny(host, "#@") {
		return nil, refuse(NotAToken, "a token has one '?', no '#' and no '@' before it")
	}
	host, slash := strings.CutSuffix(host, "/")
	if strings.Contains(host, "/") || host == "" || RequireSlash && !slash {
		return nil, refuse(NotAToken, "it must begin with the cache name and /?")
	}
	p := &presigned{host: host}
	if r := p.readParameters(query); r != nil {
		return nil, r
	}
	return p, nil
}

func (p *presigned) readParameters(query string) *Refusal {
	for pair := range strings.SplitSeq(query, "&") {
		rawName, rawValue, _ := strings.Cut(pair, "=")
		name, err1 := url.PathUnescape(rawName)
		value, err2 := url.PathUnescape(rawValue)
		if err1 != nil || err2 != nil {
			return refuse(BadEncoding, "a parameter is not percent-encoded as it should be")
		}
		i := parameterIndex(name)
		switch {
		case i < 0:
			return refuse(UnknownParameter, "a parameter that tokens do not have; they have %s", strings.Join(parameterNames[:], ", "))
		case p.has[i]:
			return refuse(DuplicateParameter, "%s stands twice", parameterNames[i])
		case name != parameterNames[i]:
			return p.misspelt(i, query)
		}
		p.has[i], p.value[i] = true, value
	}
	for i, name := range parameterNames {
		if !p.has[i] && i != resourceType && i != securityToken {
			return refuse(MissingParameter, "%s is missing; was the token cut at an '&' by the shell?", name)
		}
	}
	return nil
}

// misspelt tells a parameter in the wrong case that stands beside the right one
// from one that stands alone.
func (p *presigned) misspelt(i int, query string) *Refusal {
	if strings.Contains("&"+query, "&"+parameterNames[i]+"=") {
		return refuse(DuplicateParameter, "%s stands twice, once in another case", parameterNames[i])
	}
	return refuse(UnknownParameter, "%s is written in another case", parameterNames[i])
}

// parameterIndex finds a parameter's name in any case, or returns -1.
func parameterIndex(name string) int {
	for i, known := range parameterNames {
		if strings.EqualFold(name, known) {
			return i
		}
	}
	return -1
}

func (p *presigned) claims() Claims {
	return Claims{Cache: p.host, User: p.value[userName], ResourceType: p.value[resourceType], SessionToken: p.has[securityToken]}
}

func (p *presigned) checkForm() *Refusal {
	given := p.value[action]
	switch {
	case p.value[amzAlgorithm] != algorithm:
		return refuse(WrongAlgorithm, "X-Amz-Algorithm must be %s", algorithm)
	case given != "connect" && (ActionCaseSensitive || !strings.EqualFold(given, "connect")):
		return refuse(WrongAction, "Action must be connect")
	case p.value[signedHeaders] != "host":
		return refuse(WrongSignedHeaders, "X-Amz-SignedHeaders must be host alone")
	}
	return nil
}

func (p *presigned) checkHostCase() *Refusal {
	if p.host != strings.ToLower(p.host) {
		return refuse(CapitalsPrinted, "the cache name has capitals; AWS stores and expects it in lower case")
	}
	return nil
}

func (p *presigned) checkResourceType() *Refusal {
	if p.has[resourceType] && p.value[resourceType] != "ServerlessCache" {
		return refuse(ResourceTypeExtra, "ResourceType can only be ServerlessCache")
	}
	return nil
}

func (t Target) checkTarget(p *presigned, user string) *Refusal {
	// A name that differs in case only is refused with its signature, which
	// shows how it came about.
	switch {
	case !strings.EqualFold(p.host, t.Cache):
		return refuse(WrongCache, "the token is for cache %.64q, this is %q; sign the cache's name, not its endpoint, and no port", p.host, t.Cache)
	case p.value[userName] != user:
		return refuse(WrongUser, "the token is for user %s, AUTH names %s", shown(p.value[userName]), shown(user))
	case t.LenientResourceType:
		return p.checkResourceType()
	case t.Serverless && !p.has[resourceType]:
		return refuse(ResourceTypeNeeded, "a token for a serverless cache must have ResourceType=ServerlessCache inside the signature")
	case !t.Serverless && p.has[resourceType]:
		return refuse(ResourceTypeExtra, "ResourceType=ServerlessCache is for ElastiCache serverless caches, which %q is not", t.Cache)
	}
	return p.checkResourceType()
}

// longestShown is the longest name that a refusal repeats: shorter than a
// signature, which has 64 characters, and a session token, which has hundreds.
const longestShown = 48

// shown quotes what stands where a name should. What cannot be a name may be a
// secret in the wrong place.
func shown(name string) string {
	notInNames := func(c rune) bool { return c > 127 || !unreserved(byte(c)) && c != ':' && c != '@' && c != '*' }
	if len(name) > longestShown || strings.ContainsFunc(name, notInNames) {
		return "(not a name)"
	}
	return strconv.Quote(name)
}

func (p *presigned) readScope(c *Claims) *Refusal {
	s, ok := parseScope(p.value[amzCredential])
	if !ok {
		return refuse(BadCredential, "X-Amz-Credential must be an access key id, date, region, service and aws4_request, with slashes between")
	}
	p.scope = s
	c.AccessKey, c.Region, c.Service = s.accessKey, s.region, s.service
	return nil
}

func (t Target) checkScope(c *Claims) *Refusal {
	switch {
	case c.Service != t.Service:
		return refuse(WrongService, "signed for service %s, this is %s", shown(c.Service), t.Service)
	case c.Region != t.Region:
		return refuse(WrongRegion, "signed for region %s, this is %s", shown(c.Region), t.Region)
	}
	return nil
}

func (p *presigned) checkScopeDate() *Refusal {
	if date := p.scope.date; len(date) != len("20060102") || !strings.HasPrefix(p.value[amzDate], date) {
		return refuse(WrongScopeDate, "the date in X-Amz-Credential is not that of X-Amz-Date")
	}
	return nil
}

func (p *presigned) readTimes(c *Claims) *Refusal {
	stamp := p.value[amzDate]
	signed, err := time.Parse(dateForm, stamp)
	if err != nil || len(stamp) != len(dateForm) {
		return refuse(BadDate, "X-Amz-Date must have the form %s", dateForm)
	}
	c.Signed = signed
	seconds, err := strconv.ParseUint(p.value[amzExpires], 10, 16)
	if err != nil || seconds < 1 || seconds > MaxExpires || p.value[amzExpires][0] == '0' {
		return refuse(BadExpires, "X-Amz-Expires must be a number of seconds from 1 to %d", MaxExpires)
	}
	c.Expires = signed.Add(time.Duration(seconds) * time.Second)
	return nil
}

func (t Target) checkTimes(c *Claims, now time.Time) *Refusal {
	expires := c.Expires
	if shortened := c.Signed.Add(t.MaxTTL); t.MaxTTL > 0 && shortened.Before(expires) {
		expires = shortened
	}
	switch {
	case c.Signed.After(now.Add(MaxFutureSkew)):
		return refuse(NotYetValid, "signed at %s, more than %v ahead of this clock (%s)", stamp(c.Signed), MaxFutureSkew, stamp(now))
	case !now.Before(expires):
		return refuse(Expired, "signed at %s, expired at %s; it is %s", stamp(c.Signed), stamp(expires), stamp(now))
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// checkSignature compares the signature with that of a request made of our own
// values. Where it does not fit, the usual mistakes are tried, to name them.
func (t Target) checkSignature(p *presigned, secret string) *Refusal {
	given, refusal := p.readSignature()
	if refusal != nil {
		return refusal
	}
	signed := func(host, payloadHash string) bool {
		want := p.signature(secret, host, payloadHash)
		return hmac.Equal(want[:], given[:])
	}
	if signed(t.Cache, emptyPayloadHash) {
		if p.host != t.Cache && HostCaseStrict {
			return refuse(CapitalsPrinted, "the signature fits %q, but the name is printed with capitals", t.Cache)
		}
		return nil
	}
	switch {
	case signed(t.Cache, unsignedPayload):
		if LenientPayloadHash {
			return nil
		}
		return refuse(UnsignedPayload, "signed with the payload hash %s instead of that of an empty body", unsignedPayload)
	case p.host != t.Cache && signed(p.host, emptyPayloadHash):
		return refuse(CapitalsSigned, "the cache name was signed with capitals; sign it in lower case")
	}
	return refuse(WrongSignature, "the signature does not fit: another secret key, or the token was changed after it was signed")
}

// readSignature reads 64 lower-case hexadecimal digits.
func (p *presigned) readSignature() (sum [sha256.Size]byte, refusal *Refusal) {
	sum, ok := decodeSignature(p.value[amzSignature])
	if !ok {
		return sum, refuse(BadSignature, "X-Amz-Signature must be 64 lower-case hexadecimal digits; was the token cut?")
	}
	return sum, nil
}

// signature is what the token's own should be if it was made for host.
func (p *presigned) signature(secret, host, payloadHash string) [sha256.Size]byte {
	parameters := make([]parameter, 0, parameterCount)
	for i, name := range parameterNames {
		if p.has[i] && i != amzSignature {
			parameters = append(parameters, parameter{name, p.value[i]})
		}
	}
	request := "GET\n/\n" + canonicalQuery(parameters) + "\nhost:" + host + "\n\nhost\n" + payloadHash
	return signature(secret, p.scope, p.value[amzDate], request)
}
