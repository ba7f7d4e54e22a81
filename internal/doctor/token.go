package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rediam/rediam"
	"github.com/rediam/rediam/internal/sigv4"
)

// checkToken reads a token that was made elsewhere, and compares it with the target.
func (e *examination) checkToken(context.Context) result {
	token := strings.TrimRight(e.Token, "\r\n")
	e.Token = token
	if rest, ok := cutFold(token, "AUTH "); ok {
		words := strings.Fields(rest)
		if len(words) == 1 {
			return failure("AUTH with one argument", found(OneArgumentAuth, "AUTH with one argument signs in as the user default, which does not sign in with IAM", "AUTH user token: give the client the user name too"))
		}
		if len(words) == 2 {
			e.Config.Username = strings.Trim(words[0], `"'`)
		}
		e.Token = strings.Trim(words[len(words)-1], `"'`)
		token = e.Token
	}
	var all []Finding
	add := func(cause Cause, what, mend string) { all = append(all, found(cause, what, mend)) }
	for _, scheme := range []string{"http://", "https://"} {
		if rest, ok := cutFold(token, scheme); ok {
			add(SchemeLeftOn, "the token begins with "+scheme, "cut it off: signers give a URL, and what follows the scheme is the token")
			token = rest
		}
	}
	claims, refusals := sigv4.Inspect(token, time.Now())
	for _, r := range refusals {
		switch r.Reason {
		case sigv4.Expired:
			add(TokenExpired, "the token "+r.Detail, "sign one for each connection, just before AUTH; it takes microseconds")
		case sigv4.NotYetValid:
			add(ClockSkew, "the token is not valid yet: "+r.Detail, "set the clock of the machine that signs")
		case sigv4.CapitalsPrinted, sigv4.CapitalsSigned:
			add(NameHasCapitals, "the name of the cache has capitals in the token: "+r.Detail, "sign the name in lower case, as AWS stores it")
		case sigv4.ResourceTypeNeeded, sigv4.ResourceTypeExtra:
		default:
			if lower := strings.ToLower(token); !strings.Contains(lower, "action=") && !strings.Contains(lower, "x-amz-") {
				add(StaticPassword, "this is no token, but something like a password", "give AUTH a token: rediam token makes one")
				break
			}
			add(TokenMangled, "the token was changed on its way: "+string(r.Reason)+": "+r.Detail, "quote it where a shell, a URL or a template gets it: & % = ? and + must arrive as they are, without line breaks")
		}
	}
	e.claims = claims
	mangled := slices.ContainsFunc(all, func(f Finding) bool { return f.Cause == TokenMangled })
	if len(all) == 0 || claims.Cache != "" && !mangled {
		all = append(all, e.compare(claims)...)
	}
	if len(all) > 0 {
		return failure("it would be refused", all...)
	}
	return fine("for %s, user %s, in %s, until %s", claims.Cache, claims.User, claims.Region, claims.Expires.Format(time.RFC3339))
}

// compare is about the token and the target. What the target leaves open is what the
// token says.
func (e *examination) compare(claims sigv4.Claims) []Finding {
	c := &e.Config
	c.Username = cmp.Or(c.Username, claims.User)
	if claims.User != "" && !strings.EqualFold(claims.User, c.Username) {
		return []Finding{found(TokenUserDiffers, fmt.Sprintf("the token was signed for user %q, and AUTH names %q", claims.User, c.Username), "AUTH must name the user of the token")}
	}
	if strings.Contains(claims.Cache, ".") {
		return []Finding{found(NameIsEndpoint, "the token was signed for an endpoint", "sign the cache's name")}
	}
	signed := *c
	signed.CacheName, signed.Service, signed.Serverless = claims.Cache, rediam.Service(claims.Service), claims.ResourceType != ""
	signed.Region = cmp.Or(claims.Region, c.Region)
	if c.CacheName == "" {
		c.CacheName, c.Service, c.Serverless = signed.CacheName, signed.Service, signed.Serverless
	}
	c.Region = cmp.Or(c.Region, signed.Region)
	return (&examination{Doctor: &Doctor{Config: signed}}).differences(*c)
}

func cutFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}
