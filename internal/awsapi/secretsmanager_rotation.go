package awsapi

import (
	"cmp"
	"crypto/rand"
	"math/big"
	"strings"

	"github.com/rediam/rediam/internal/world"
)

type rotationRules struct {
	AutomaticallyAfterDays       *int
	ScheduleExpression, Duration string
}

func rulesOf(r world.RotationRules) *rotationRules {
	rules := &rotationRules{ScheduleExpression: r.Schedule, Duration: r.Duration}
	if r.Days != 0 {
		rules.AutomaticallyAfterDays = &r.Days
	}
	if *rules == (rotationRules{}) {
		return nil
	}
	return rules
}

type rotateSecretRequest struct {
	SecretId                              string `aws:",required"`
	ClientRequestToken, RotationLambdaARN string
	RotationRules                         *rotationRules
	RotateImmediately                     *bool
}

// rotateSecret begins a rotation. Who does must be allowed to call the function, too
// (user guide, "Permissions for rotation").
func rotateSecret(c *call, in rotateSecretRequest) (out secretAnswer, err error) {
	secret, _ := c.world.StoredSecret(in.SecretId) // if it is there
	if function := cmp.Or(in.RotationLambdaARN, secret.Rotation.Function); function != "" {
		if err := c.world.AuthorizeCall(c.caller, "lambda:InvokeFunction", function, c.source); err != nil {
			return out, err
		}
	}
	r := world.RotateSecret{Token: in.ClientRequestToken, Function: in.RotationLambdaARN, Test: in.RotateImmediately != nil && !*in.RotateImmediately}
	if rules := in.RotationRules; rules != nil {
		r.Rules = &world.RotationRules{Schedule: rules.ScheduleExpression, Duration: rules.Duration}
		if days := rules.AutomaticallyAfterDays; days != nil {
			if r.Rules.Days = *days; *days == 0 {
				r.Rules.Days = -1 // which is none that there can be
			}
		}
	}
	s, err := c.world.RotateSecret(in.SecretId, r)
	if c.rotate != nil {
		c.rotate()
	}
	return answerOf(s, in.ClientRequestToken), err
}

func cancelRotateSecret(c *call, in secretRequest) (secretAnswer, error) {
	s, version, err := c.world.CancelRotation(in.SecretId)
	return answerOf(s, version), err
}

type getRandomPasswordRequest struct {
	PasswordLength                                                         *int
	ExcludeCharacters                                                      string
	ExcludeNumbers, ExcludePunctuation, ExcludeUppercase, ExcludeLowercase bool
	IncludeSpace                                                           bool
	RequireEachIncludedType                                                *bool
}

type randomPasswordAnswer struct{ RandomPassword string }

const maxRandomPassword = 4096

func getRandomPassword(_ *call, in getRandomPasswordRequest) (out randomPasswordAnswer, err error) {
	length := 32
	if in.PasswordLength != nil {
		length = *in.PasswordLength
	}
	var kinds []string
	all := ""
	for _, kind := range []struct {
		excluded   bool
		characters string
	}{
		{in.ExcludeLowercase, "abcdefghijklmnopqrstuvwxyz"},
		{in.ExcludeUppercase, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"},
		{in.ExcludeNumbers, "0123456789"},
		{in.ExcludePunctuation, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"},
		{!in.IncludeSpace, " "},
	} {
		left := strings.Map(func(r rune) rune {
			if strings.ContainsRune(in.ExcludeCharacters, r) {
				return -1
			}
			return r
		}, kind.characters)
		if !kind.excluded && left != "" {
			kinds, all = append(kinds, left), all+left
		}
	}
	switch {
	case length < 1 || length > maxRandomPassword:
		return out, secretParameter("PasswordLength must be from 1 to %d.", maxRandomPassword)
	case all == "":
		return out, secretParameter("Every character is excluded.")
	case in.RequireEachIncludedType != nil && !*in.RequireEachIncludedType:
		kinds = nil
	case length < len(kinds):
		return out, secretParameter("The password length is too short based on the required types.")
	}
	password := make([]byte, length)
	for i := range password {
		from := all
		if i < len(kinds) {
			from = kinds[i]
		}
		password[i] = from[below(len(from))]
	}
	for i := length - 1; i > 0; i-- {
		j := below(i + 1)
		password[i], password[j] = password[j], password[i]
	}
	return randomPasswordAnswer{string(password)}, nil
}

// below is a random number from 0 to n-1.
func below(n int) int {
	r, _ := rand.Int(rand.Reader, big.NewInt(int64(n))) // which does not fail
	return int(r.Int64())
}
