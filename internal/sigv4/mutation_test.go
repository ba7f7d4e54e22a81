package sigv4_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rediam/rediam/internal/sigv4"
)

// A mutation changes a token anywhere, most often into nonsense.
type mutation func(*rand.Rand, string) string

// A token is never empty when it is mutated.
var mutations = []mutation{
	func(r *rand.Rand, t string) string { // flip a bit
		i := r.IntN(len(t))
		return t[:i] + string([]byte{t[i] ^ 1<<r.IntN(8)}) + t[i+1:]
	},
	func(r *rand.Rand, t string) string { // another byte
		i := r.IntN(len(t))
		return t[:i] + string([]byte{byte(r.IntN(256))}) + t[i+1:]
	},
	func(r *rand.Rand, t string) string { // another byte that tokens have
		i := r.IntN(len(t))
		return t[:i] + t[r.IntN(len(t)):][:1] + t[i+1:]
	},
	func(r *rand.Rand, t string) string { // insert
		i := r.IntN(len(t) + 1)
		return t[:i] + []string{"&", "=", "%", "%00", "%20", "+", "?", "/", "#", ";", "0", "a", "Z", ".", "@", "\x00", "\r\n", "é", "&User=root"}[r.IntN(19)] + t[i:]
	},
	func(r *rand.Rand, t string) string { // delete
		i := r.IntN(len(t))
		return t[:i] + t[min(len(t), i+1+r.IntN(4)):]
	},
	func(r *rand.Rand, t string) string { // swap neighbours
		b, i := []byte(t), r.IntN(len(t))
		j := (i + 1) % len(b)
		b[i], b[j] = b[j], b[i]
		return string(b)
	},
	func(r *rand.Rand, t string) string { return t[:r.IntN(len(t))] }, // truncate
	func(r *rand.Rand, t string) string { // repeat a stretch
		i := r.IntN(len(t))
		j := i + r.IntN(len(t)-i)
		return t[:j] + t[i:]
	},
	func(r *rand.Rand, t string) string { // another case
		i := r.IntN(len(t))
		j := min(len(t), i+1+r.IntN(8))
		return t[:i] + []func(string) string{strings.ToUpper, strings.ToLower}[r.IntN(2)](t[i:j]) + t[j:]
	},
	func(r *rand.Rand, t string) string { // write a byte as an escape
		i := r.IntN(len(t))
		return t[:i] + fmt.Sprintf([]string{"%%%02X", "%%%02x"}[r.IntN(2)], t[i]) + t[i+1:]
	},
	func(_ *rand.Rand, t string) string {
		return strings.NewReplacer("%2F", "/", "%2B", "+", "%3D", "=").Replace(t)
	},
	func(_ *rand.Rand, t string) string { return strings.NewReplacer("%2F", "%2f", "%2B", "%2b").Replace(t) },
	func(_ *rand.Rand, t string) string { return strings.Replace(t, "/?", "?", 1) },
	parameters(func(r *rand.Rand, p []string) []string { // in another order
		r.Shuffle(len(p), func(i, j int) { p[i], p[j] = p[j], p[i] })
		return p
	}),
	parameters(func(r *rand.Rand, p []string) []string { // one twice
		return slices.Insert(p, r.IntN(len(p)+1), p[r.IntN(len(p))])
	}),
	parameters(func(r *rand.Rand, p []string) []string { // one removed
		i := r.IntN(len(p))
		return slices.Delete(p, i, i+1)
	}),
	parameters(func(r *rand.Rand, p []string) []string { // two values exchanged
		i, j := r.IntN(len(p)), r.IntN(len(p))
		nameI, valueI, _ := strings.Cut(p[i], "=")
		nameJ, valueJ, _ := strings.Cut(p[j], "=")
		p[i], p[j] = nameI+"="+valueJ, nameJ+"="+valueI
		return p
	}),
	parameters(func(r *rand.Rand, p []string) []string { // a name in another case
		i := r.IntN(len(p))
		name, value, _ := strings.Cut(p[i], "=")
		p[i] = strings.ToLower(name) + "=" + value
		return p
	}),
	parameters(func(r *rand.Rand, p []string) []string { // the digits of a value changed
		i := r.IntN(len(p))
		name, value, _ := strings.Cut(p[i], "=")
		p[i] = name + "=" + strings.Map(func(c rune) rune {
			if '0' <= c && c <= '9' && r.IntN(4) == 0 {
				return '0' + rune(r.IntN(10))
			}
			return c
		}, value)
		return p
	}),
}

// parameters is a mutation of the list behind the question mark.
func parameters(change func(*rand.Rand, []string) []string) mutation {
	return func(r *rand.Rand, t string) string {
		host, query, _ := strings.Cut(t, "?")
		return host + "?" + strings.Join(change(r, strings.Split(query, "&")), "&")
	}
}

func TestOfTenThousandMutationsOnlyTheSameRequestIsAdmitted(t *testing.T) {
	s := laboratory()
	r := rand.New(rand.NewPCG(2022, 2385))
	var originals []string
	for _, k := range []accessKey{s.long, s.temporary, s.other} {
		recipe := s.recipe(false)
		recipe.signWith(k)
		originals = append(originals, recipe.token())
	}
	reasons := map[sigv4.Reason]int{}
	admitted := 0
	for n := range 10_000 {
		original := originals[n%len(originals)]
		token := original
		for range 1 + r.IntN(3) {
			if token != "" {
				token = mutations[r.IntN(len(mutations))](r, token)
			}
		}
		_, err := s.target(false).Verify(token, s.user, laboratoryKeys, s.now)
		if (err == nil) != sameRequest(token, original) {
			t.Errorf("number %d: Verify() = %v\n%q\n%q", n, err, original, token)
		}
		if err == nil {
			admitted++
			continue
		}
		var refusal *sigv4.Refusal
		if !errors.As(err, &refusal) || !slices.ContainsFunc(checkOrder, func(group []sigv4.Reason) bool { return slices.Contains(group, refusal.Reason) }) {
			t.Errorf("number %d: %v is not a refusal with a known reason", n, err)
			continue
		}
		reasons[refusal.Reason]++
		for _, secret := range []string{exampleSecret, exampleSession, original[len(original)-64:]} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the refusal holds a secret: %v", err)
			}
		}
	}
	t.Logf("admitted %d as the same request; refused %v", admitted, reasons)
	if admitted < 500 || len(reasons) < 20 {
		t.Errorf("the mutations reach too little: %d admitted, %d reasons", admitted, len(reasons))
	}
}

// A token of one scene is good nowhere else, whatever else it has in common.
func TestATokenIsGoodForItsOwnSceneOnly(t *testing.T) {
	home := laboratory()
	token := home.recipe(false).token()
	for name, change := range map[string]func(*scene, *sigv4.Target){
		"its own":         func(*scene, *sigv4.Target) {},
		"another cache":   func(_ *scene, target *sigv4.Target) { target.Cache = "demo-cache-02" },
		"another region":  func(_ *scene, target *sigv4.Target) { target.Region = "us-east-2" },
		"another service": func(_ *scene, target *sigv4.Target) { target.Service = "memorydb" },
		"a serverless":    func(_ *scene, target *sigv4.Target) { target.Serverless = true },
		"another user":    func(s *scene, _ *sigv4.Target) { s.user = "iam-user-02" },
		"a quarter later": func(s *scene, _ *sigv4.Target) { s.now = s.now.Add(15 * time.Minute) },
		"before its time": func(s *scene, _ *sigv4.Target) { s.now = s.now.Add(-6 * time.Minute) },
	} {
		s := home
		target := s.target(false)
		change(&s, &target)
		_, err := target.Verify(token, s.user, laboratoryKeys, s.now)
		if want := name == "its own"; (err == nil) != want || admissible(target, token, s.user, laboratoryKeys, s.now) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
