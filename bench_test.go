package rediam_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/rediam/rediam"
)

// BenchmarkSign and BenchmarkSDKPresign are to be compared: the first does all
// that a Token call does with credentials that the SDK caches, as those of an
// aws.Config are; the second only the SDK's presigning.
func BenchmarkSign(b *testing.B) { sign(b, aws.NewCredentialsCache(exampleRole)) }

// BenchmarkSignUncached asks the provider itself, in a goroutine that can be left
// behind if it does not answer.
func BenchmarkSignUncached(b *testing.B) { sign(b, exampleRole) }

func sign(b *testing.B, credentials aws.CredentialsProvider) {
	signer := &rediam.Signer{Cache: "demo-cache-01", User: "iam-user-01", Region: "us-east-1", Credentials: credentials}
	for b.Loop() {
		if _, err := signer.Token(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSDKPresign(b *testing.B) {
	signer := v4.NewSigner()
	keys := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", SessionToken: exampleSession}
	for b.Loop() {
		request, err := http.NewRequest(http.MethodGet, "http://demo-cache-01/?Action=connect&User=iam-user-01&X-Amz-Expires=900", nil)
		if err != nil {
			b.Fatal(err)
		}
		_, _, err = signer.PresignHTTP(b.Context(), keys, request, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "elasticache", "us-east-1", time.Now())
		if err != nil {
			b.Fatal(err)
		}
	}
}
