package awsapi

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sample has a member of every kind.
type sample struct {
	Name    string `aws:",required"`
	Note    *string
	On      *bool
	Count   *int
	Tags    []sampleTag `aws:"Tags.Tag"`
	UserIds []string
	Ids     []string `aws:"Id,flat"`
	Mode    *struct {
		Type      string
		Passwords []string
	}
	At time.Time
}

type sampleTag struct{ Key, Value string }

func form(t *testing.T, text string) url.Values {
	t.Helper()
	f, err := url.ParseQuery(text)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestParametersBecomeMembers(t *testing.T) {
	var got sample
	err := decodeForm(form(t, "Action=X&Version=1&Name=a&Note=&On=true&Count=0&Tags.Tag.1.Key=k&Tags.Tag.1.Value=v&Tags.Tag.2.Key=l&UserIds.member.1=u&Id.1=x&Id.2=y&Mode.Type=iam&Mode.Passwords.member.1=p"), &got)
	if err != nil {
		t.Fatal(err)
	}
	empty, yes, zero := "", true, 0
	want := sample{Name: "a", Note: &empty, On: &yes, Count: &zero, Tags: []sampleTag{{"k", "v"}, {"l", ""}}, UserIds: []string{"u"}, Ids: []string{"x", "y"}, Mode: got.Mode}
	if !reflect.DeepEqual(got, want) || got.Mode == nil || got.Mode.Type != "iam" || !reflect.DeepEqual(got.Mode.Passwords, []string{"p"}) {
		t.Errorf("decoded %+v", got)
	}
	got = sample{}
	if err := decodeForm(form(t, "Name=a&UserIds="), &got); err != nil || got.UserIds == nil || len(got.UserIds) != 0 || got.Tags != nil || got.Mode != nil {
		t.Errorf("decoded %+v, %v: an empty list is there, one that is not given is not", got, err)
	}
}

func TestParametersThatNobodyReadsAreRefusedByName(t *testing.T) {
	many := "Name=a"
	for i := range maxElements + 1 {
		many += fmt.Sprintf("&UserIds.member.%d=u", i+1)
	}
	for text, want := range map[string]string{
		"Name=a&Colour=red":          `"Colour"`,
		"Name=a&UserIds.member.2=u":  `"UserIds.member.2"`, // there is no first
		"Name=a&UserIds.member.01=u": `"UserIds.member.01"`,
		"Name=a&Mode.Colour=red":     `"Mode.Colour"`,
		"Name=a&Name=b":              "stands twice",
		"Note=a":                     "must contain the parameter Name",
		"Name=a&On=perhaps":          "On must be true or false",
		"Name=a&Count=1e3":           "Count must be a number",
		"Name=a&Count=99999999999":   "Count must be a number",
		"Name=a&Tags.Tag.1=k":        `"Tags.Tag.1"`,
		many:                         "more than 1000 elements",
	} {
		var got sample
		if err := decodeForm(form(t, text), &got); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60s: %v, want …%s…", text, err, want)
		}
	}
}

func TestMembersBecomeXML(t *testing.T) {
	no := false
	out := sample{Name: "<a>", On: &no, Tags: []sampleTag{{"k", ""}}, UserIds: []string{}, Ids: []string{"x", "y"}, At: time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)}
	var b bytes.Buffer
	e := xml.NewEncoder(&b)
	if err := encodeElement(e, "R", reflect.ValueOf(out)); err != nil {
		t.Fatal(err)
	}
	e.Flush()
	want := `<R><Name>&lt;a&gt;</Name><On>false</On><Tags><Tag><Key>k</Key></Tag></Tags><UserIds></UserIds><Id>x</Id><Id>y</Id><At>2026-01-02T03:04:05.006Z</At></R>`
	if b.String() != want {
		t.Errorf("%s\nwant %s", b.String(), want)
	}
}

// Every member of every operation is of a kind that can be read and written.
func TestEveryOperationHasMembersThatCanBeDecoded(t *testing.T) {
	for name, s := range services {
		for action, o := range s.operations {
			if err := decodeForm(url.Values{}, reflect.New(o.input).Interface()); err != nil && !strings.Contains(err.Error(), "must contain the parameter") {
				t.Errorf("%s:%s: %v", name, action, err)
			}
		}
	}
}
