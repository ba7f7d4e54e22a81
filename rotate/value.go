package rotate

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// alphabet is what AUTH tokens may be made of, which users' passwords may too: those
// may have all but , " / @ (ElastiCache user guide, "Authenticating with the AUTH
// command" and "Role-Based Access Control").
const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!&#$^<>-"

func newPassword(length int) string {
	password := make([]byte, 0, length)
	for random := make([]byte, 1); len(password) < length; {
		rand.Read(random)                                             // never fails
		if n := int(random[0]); n < 256/len(alphabet)*len(alphabet) { // else some would be likelier
			password = append(password, alphabet[n%len(alphabet)])
		}
	}
	return string(password)
}

// A value is what a version of a secret holds: JSON, of which one field is the
// password, or the password alone.
type value struct {
	members  map[string]json.RawMessage // nil if it is the password alone
	field    string
	password string // empty if there is none yet
}

// parse reads a secret's value. Its errors do not quote it.
func parse(text *string, fields []string) (v value, err error) {
	if text == nil {
		return v, errors.New("the secret is binary: it must be JSON, or a text")
	}
	if !strings.ContainsAny(*text, "{\"[") { // none of which a password may have if it is an AUTH token
		v.password = *text
		return v, nil
	}
	if json.Unmarshal([]byte(*text), &v.members) != nil || v.members == nil {
		return v, errors.New("the value of the secret is neither a JSON object nor a password alone")
	}
	v.field = fields[len(fields)-1]
	for _, field := range fields {
		if raw, ok := v.members[field]; ok {
			v.field = field
			if json.Unmarshal(raw, &v.password) != nil {
				return v, fmt.Errorf("the field %s of the secret is no string", field)
			}
			break
		}
	}
	return v, nil
}

// says is a field of the JSON that is a string; empty if there is none.
func (v value) says(field string) (text string) {
	if json.Unmarshal(v.members[field], &text) != nil {
		return ""
	}
	return text
}

// with is the value with another password and nothing else changed.
func (v value) with(password string) (string, error) {
	if v.members == nil {
		return password, nil
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(password); err != nil {
		return "", err
	}
	members := map[string]json.RawMessage{}
	for name, raw := range v.members {
		members[name] = raw
	}
	members[v.field] = bytes.Clone(bytes.TrimSpace(text.Bytes()))
	text.Reset()
	err := encoder.Encode(members)
	return strings.TrimSpace(text.String()), err
}
