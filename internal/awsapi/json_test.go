package awsapi

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

// object has a member of every kind that requests have.
type object struct {
	Name    string `aws:",required"`
	Note    *string
	On      *bool
	Off     bool
	Count   *int
	Tags    []sampleTag `aws:"Tags.Tag"`
	UserIds []string
	Mode    *struct {
		Type      string
		Passwords []string
	}
	resultsPage `aws:",inline"`
}

func TestAnObjectBecomesMembers(t *testing.T) {
	var got object
	err := decodeJSON([]byte(` {"Name":"a","Note":"","On":true,"Off":false,"Count":-0,"Tags":[{"Key":"k","Value":"v"},{"Key":"é\u00e9\ud83d\ude00"}],"UserIds":[],
		"Mode":{"Type":"iam","Passwords":["p"]},"MaxResults":7,"NextToken":null}
	`), &got)
	if err != nil {
		t.Fatal(err)
	}
	empty, yes, zero, seven := "", true, 0, 7
	want := object{Name: "a", Note: &empty, On: &yes, Count: &zero, Tags: []sampleTag{{"k", "v"}, {"éé😀", ""}}, UserIds: []string{}, Mode: got.Mode, resultsPage: resultsPage{MaxResults: &seven}}
	if !reflect.DeepEqual(got, want) || got.Mode == nil || got.Mode.Type != "iam" || !reflect.DeepEqual(got.Mode.Passwords, []string{"p"}) {
		t.Errorf("decoded %+v", got)
	}
	got = object{}
	if err := decodeJSON([]byte(`{"Name":"a","Tags":null,"Mode":null,"On":null}`), &got); err != nil || !reflect.DeepEqual(got, object{Name: "a"}) {
		t.Errorf("decoded %+v, %v: what is null is not there", got, err)
	}
}

func TestBodiesThatDoNotFitAreRefused(t *testing.T) {
	const unreadable, invalid = "SerializationException: ", "ValidationError: "
	elements := func(n int) string {
		return `{"Name":"a","UserIds":[` + strings.TrimSuffix(strings.Repeat(`"u",`, n), ",") + `]}`
	}
	for body, want := range map[string]string{
		``:                                unreadable + "the body is not JSON",
		`null`:                            unreadable + "the body must be an object",
		`[]`:                              unreadable + "the body must be an object",
		`"Name"`:                          unreadable + "the body must be an object",
		`{"Name":"a"`:                     unreadable + "the body is not JSON",
		`{"Name":"a",}`:                   unreadable + "the body is not JSON",
		`{"Name" "a"}`:                    unreadable + "the body is not JSON",
		`{Name:"a"}`:                      unreadable + "the body is not JSON",
		`{"Name":"a"}}`:                   unreadable + "something follows the body",
		`{"Name":"a"} {}`:                 unreadable + "something follows the body",
		`{"Name":"a","Name":"b"}`:         unreadable + "Name stands twice",
		`{"Name":null,"Name":"b"}`:        unreadable + "Name stands twice",
		"{\"Name\":\"a\xff\"}":            unreadable + "the body is not UTF-8",
		`{"Name":"\ud800"}`:               unreadable + "the body is not UTF-8",
		"{\"Na\xffme\":1}":                unreadable + "the body is not UTF-8",
		`{"Name":1}`:                      unreadable + "Name must be a string",
		`{"Name":["a"]}`:                  unreadable + "Name must be a string",
		`{"On":"true"}`:                   unreadable + "On must be true or false",
		`{"Count":"1"}`:                   unreadable + "Count must be an integer",
		`{"Count":1.0}`:                   unreadable + "Count must be an integer",
		`{"Count":2147483648}`:            unreadable + "Count must be an integer",
		`{"Count":{}}`:                    unreadable + "Count must be an integer",
		`{"UserIds":"u"}`:                 unreadable + "UserIds must be a list",
		`{"UserIds":[null]}`:              unreadable + "an element of UserIds is null",
		`{"UserIds":[["u"]]}`:             unreadable + "an element of UserIds must be a string",
		`{"Mode":[]}`:                     unreadable + "Mode must be an object",
		`{"Mode":{"Passwords":[1]}}`:      unreadable + "an element of Passwords must be a string",
		`{"Mode":{"type":"iam"}}`:         invalid + `the emulator does not have the member "type"`,
		`{"name":"a"}`:                    invalid + `the emulator does not have the member "name"`,
		`{"resultsPage":{}}`:              invalid + `the emulator does not have the member "resultsPage"`,
		`{}`:                              invalid + "The request must contain the parameter Name.",
		`{"Name":null}`:                   invalid + "The request must contain the parameter Name.",
		elements(1001):                    invalid + "UserIds has more than 1000 elements",
		strings.Repeat(`[`, 1<<20):        unreadable + "the body must be an object",
		strings.Repeat(`{"Mode":`, 1<<17): invalid + `the emulator does not have the member "Mode"`,
	} {
		if err := decodeJSON([]byte(body), new(object)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.60q: %v, want %s", body, err, want)
		}
	}
	if err := decodeJSON([]byte(elements(1000)), new(object)); err != nil {
		t.Errorf("1000 elements: %v", err)
	}
	secret := `{"Mode":{"Passwords":{"a-secret":"a-secret"}}}`
	if err := decodeJSON([]byte(secret), new(object)); err == nil || strings.Contains(err.Error(), "a-secret") {
		t.Errorf("the error repeats a value: %v", err)
	}
}

func TestMembersBecomeAnObject(t *testing.T) {
	empty, no, five := "", false, 5
	got, err := json.Marshal(inJSON(reflect.ValueOf(struct {
		sample
		Inside within `aws:",inline"`
		List   []none
	}{sample{Name: "a<b", Note: &empty, On: &no, Count: &five, Tags: []sampleTag{{"k", ""}}, UserIds: []string{}, At: time.Unix(1767323045, 678e6)}, within{}, []none{{}}})))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"List":[{}],"sample":{"At":1767323045.678,"Count":5,"Name":"a\u003cb","Note":"","On":false,"Tags":[{"Key":"k"}],"UserIds":[]}}`
	if string(got) != want {
		t.Errorf("encoded %s, want %s", got, want)
	}
	if b, err := json.Marshal(inJSON(reflect.ValueOf(struct{ At time.Time }{time.Unix(4102444800, 0)}))); err != nil || string(b) != `{"At":4102444800}` {
		t.Errorf("a time is %s, %v", b, err)
	}
}

// Whatever it is, it is refused, or comes back as it went in.
func FuzzJSON(f *testing.F) {
	for _, body := range []string{`{"Name":"a","Note":"","On":true,"Count":-7,"Tags":[{"Key":"k"},{}],"UserIds":[""],"Mode":{"Type":"iam","Passwords":[]},"MaxResults":1}`,
		`{"Name":"\u0000\ud83d\ude00"}`, `{"Name":null}`, `{"Name":"a"}{}`, `{"Mode":{}}`, `[`, "\xff", `{"Name":"a","Off":1e2}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var first, second object
		if decodeJSON(body, &first) != nil || first.Name == "" { // an empty member of an answer is left out
			return
		}
		encoded, err := json.Marshal(inJSON(reflect.ValueOf(first)))
		if err != nil {
			t.Fatal(err)
		}
		if err := decodeJSON(encoded, &second); err != nil || !reflect.DeepEqual(first, second) {
			t.Errorf("%s becomes %+v, %v, was %+v", encoded, second, err, first)
		}
	})
}
