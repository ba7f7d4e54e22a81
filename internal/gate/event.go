package gate

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"time"
)

// An Event is one attempt to sign in, or one to get credentials that was refused. In JSON it has the shape of a CloudTrail
// record, with what CloudTrail has no member for under additionalEventData:
//
//	{
//	  "eventTime": "2026-01-02T03:04:05Z",
//	  "eventSource": "elasticache.amazonaws.com",
//	  "eventName": "Connect",
//	  "awsRegion": "us-east-1",
//	  "sourceIPAddress": "127.0.0.1",
//	  "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::123456789012:assumed-role/app/i-1",
//	                   "accountId": "123456789012", "accessKeyId": "ASIA…"},
//	  "requestParameters": {"cache": "demo", "user": "demo-user"},
//	  "errorCode": "expired", "errorMessage": "signed at …",
//	  "additionalEventData": {"connection": 7, "renewal": false, "policy": "…", "statement": "…"}
//	}
//
// userIdentity is there once the access key is known; errorCode and errorMessage
// only in a refusal. No member holds a secret.
type Event struct {
	Time       time.Time
	Service    string // "elasticache" or "memorydb"; "sts" where credentials were refused
	Action     string // "AssumeRole" and the like of STS; empty means Connect
	Region     string
	Cache      string
	User       string // as AUTH named it
	Source     string // IP address of the peer
	Connection uint64
	Renewal    bool // the connection was signed in before

	PrincipalType string
	Principal     string // ARN
	Account       string
	AccessKey     string

	// Reason is empty for a sign-in that was admitted; else it is a stable word
	// such as "expired" or "permission-denied", and Detail a sentence.
	Reason string
	Detail string
	// Policy and Statement decided about Connect, if it came to that.
	Policy    string
	Statement string

	answer string // what the peer is told in a refusal; empty means WRONGPASS
}

// Admitted is whether the sign-in succeeded.
func (e Event) Admitted() bool { return e.Reason == "" }

// MarshalJSON writes the event in the shape of a CloudTrail record.
func (e Event) MarshalJSON() ([]byte, error) {
	type identity struct {
		Type        string `json:"type"`
		ARN         string `json:"arn"`
		AccountID   string `json:"accountId"`
		AccessKeyID string `json:"accessKeyId"`
	}
	type parameters struct {
		Cache string `json:"cache"`
		User  string `json:"user"`
	}
	type additional struct {
		Connection uint64 `json:"connection"`
		Renewal    bool   `json:"renewal"`
		Policy     string `json:"policy,omitempty"`
		Statement  string `json:"statement,omitempty"`
	}
	record := struct {
		EventTime         time.Time  `json:"eventTime"`
		EventSource       string     `json:"eventSource"`
		EventName         string     `json:"eventName"`
		AWSRegion         string     `json:"awsRegion"`
		SourceIPAddress   string     `json:"sourceIPAddress"`
		UserIdentity      *identity  `json:"userIdentity,omitempty"`
		RequestParameters parameters `json:"requestParameters"`
		ErrorCode         string     `json:"errorCode,omitempty"`
		ErrorMessage      string     `json:"errorMessage,omitempty"`
		Additional        additional `json:"additionalEventData"`
	}{
		EventTime: e.Time.UTC().Truncate(time.Millisecond), EventSource: e.Service + ".amazonaws.com", EventName: cmp.Or(e.Action, "Connect"),
		AWSRegion: e.Region, SourceIPAddress: e.Source,
		RequestParameters: parameters{e.Cache, e.User},
		ErrorCode:         e.Reason, ErrorMessage: e.Detail,
		Additional: additional{e.Connection, e.Renewal, e.Policy, e.Statement},
	}
	if e.Principal != "" {
		record.UserIdentity = &identity{e.PrincipalType, e.Principal, e.Account, e.AccessKey}
	}
	return json.Marshal(record)
}

// LogValue gives log/slog what an operator wants to know.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("cache", e.Cache), slog.String("user", e.User), slog.String("source", e.Source), slog.Uint64("connection", e.Connection)}
	if e.Principal != "" {
		attrs = append(attrs, slog.String("principal", e.Principal))
	}
	if !e.Admitted() {
		attrs = append(attrs, slog.String("reason", e.Reason), slog.String("detail", e.Detail))
	}
	if e.Policy != "" {
		attrs = append(attrs, slog.String("policy", e.Policy), slog.String("statement", e.Statement))
	}
	return slog.GroupValue(attrs...)
}
