package awsapi

import (
	"encoding/xml"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rediam/rediam/internal/world"
)

// The members of an operation are the fields of a struct, by their names, or as a
// tag says:
//
//	aws:"instanceId"        another name
//	aws:"Tags.Tag"          a list in which each element is a Tag, in XML and in
//	                        parameters such as Tags.Tag.1.Key; member without a tag
//	aws:"InstanceId,flat"   a list without a name of its own: InstanceId.1
//	aws:",required"         one that a request must have
//	aws:",inline"           a struct whose fields are members like those beside it
//
// Fields are strings, booleans, integers, times, structs, slices of these, and
// pointers to them: a nil pointer and a nil slice are members that are not there,
// and so is an empty string in an answer. An empty slice is an empty list.
type member struct {
	name, element  string
	flat, required bool
	inline         bool
	index          int
}

// members takes a struct apart.
func members(t reflect.Type) []member {
	var all []member
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("aws"), ",")
		m := member{name: f.Name, element: "member", index: i, flat: strings.Contains(options, "flat"), required: strings.Contains(options, "required"), inline: options == "inline"}
		if name != "" {
			m.name = name
		}
		if list, element, ok := strings.Cut(m.name, "."); ok {
			m.name, m.element = list, element
		}
		all = append(all, m)
	}
	return all
}

// prefix is what the parameters of an element of a list begin with.
func (m member) prefix(outer string) string {
	if m.flat {
		return outer + m.name
	}
	return outer + m.name + "." + m.element
}

const (
	// maxElements bounds a list in a request.
	maxElements = 1000
	// maxDots is more than the name of a parameter can have.
	maxDots = 16
)

// decodeForm fills a struct from parameters of the query protocol. Parameters that
// it has no member for are an error, as are those that stand twice.
func decodeForm(form url.Values, into any) error {
	used := map[string]bool{"Action": true, "Version": true}
	d := formDecoder{form, used, map[string]bool{}}
	for name := range form {
		for at, dots := 0, 0; dots < maxDots; dots++ {
			i := strings.IndexByte(name[at:], '.')
			if i < 0 {
				break
			}
			at += i + 1
			d.structures[name[:at]] = true
		}
	}
	if err := d.structure("", reflect.ValueOf(into).Elem()); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(form)) {
		switch {
		case len(form[name]) != 1:
			return invalid("the parameter %.64q stands twice", name)
		case !used[name]:
			return invalid("the emulator does not have the parameter %.64q of this operation", name)
		}
	}
	return nil
}

// invalid is an error about the form of a request.
func invalid(format string, args ...any) error {
	return &world.Error{Code: "ValidationError", Message: fmt.Sprintf(format, args...)}
}

type formDecoder struct {
	form       url.Values
	used       map[string]bool
	structures map[string]bool // what names begin with, up to each dot: to look at every name for each is slow
}

func (d formDecoder) structure(prefix string, v reflect.Value) error {
	for _, m := range members(v.Type()) {
		if m.inline {
			if err := d.structure(prefix, v.Field(m.index)); err != nil {
				return err
			}
			continue
		}
		given, err := d.value(prefix+m.name, m, prefix, v.Field(m.index))
		if err != nil {
			return err
		}
		if m.required && !given {
			return &world.Error{Code: "MissingParameter", Message: "The request must contain the parameter " + prefix + m.name + "."}
		}
	}
	return nil
}

// value fills one field, and tells whether the request has it.
func (d formDecoder) value(name string, m member, outer string, v reflect.Value) (given bool, err error) {
	switch v.Kind() {
	case reflect.Pointer:
		inner := reflect.New(v.Type().Elem())
		if given, err = d.value(name, m, outer, inner.Elem()); given {
			v.Set(inner)
		}
		return given, err
	case reflect.Slice:
		return d.list(name, m.prefix(outer), v)
	case reflect.Struct:
		if !d.structures[name+"."] {
			return false, nil
		}
		return true, d.structure(name+".", v)
	}
	if !d.form.Has(name) {
		return false, nil
	}
	d.used[name] = true
	return true, scalar(name, d.form.Get(name), v)
}

func (d formDecoder) list(name, prefix string, v reflect.Value) (given bool, err error) {
	if d.form.Has(name) && d.form.Get(name) == "" { // how SDKs write an empty list
		d.used[name], given = true, true
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	}
	for i := 1; ; i++ {
		at := prefix + "." + strconv.Itoa(i)
		element := reflect.New(v.Type().Elem()).Elem()
		there, err := d.value(at, member{}, "", element)
		switch {
		case err != nil:
			return true, err
		case !there:
			return given, nil
		case i > maxElements:
			return true, invalid("%s has more than %d elements", name, maxElements)
		}
		given = true
		v.Set(reflect.Append(v, element))
	}
}

func scalar(name, text string, v reflect.Value) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return invalid("%.64s must be true or false", name)
		}
		v.SetBool(b)
		return nil
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 32)
		if err != nil {
			return invalid("%.64s must be a number", name)
		}
		v.SetInt(n)
		return nil
	}
	return errors.New("there is no member of type " + v.Type().String()) // the struct of the operation is wrong
}

var timeType = reflect.TypeFor[time.Time]()

// encodeXML writes the members of a struct.
func encodeXML(e *xml.Encoder, v reflect.Value) error {
	for _, m := range members(v.Type()) {
		if err := encodeMember(e, m, v.Field(m.index)); err != nil {
			return err
		}
	}
	return nil
}

// absent is whether a field of an answer is a member that is not there.
func absent(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	case reflect.String:
		return v.Len() == 0
	}
	return v.Type() == timeType && v.IsZero()
}

func encodeMember(e *xml.Encoder, m member, v reflect.Value) error {
	switch {
	case m.inline:
		return encodeXML(e, v)
	case absent(v):
		return nil
	case v.Kind() == reflect.Pointer:
		return encodeElement(e, m.name, v.Elem())
	case v.Kind() != reflect.Slice:
		return encodeElement(e, m.name, v)
	case m.flat:
		return encodeList(e, m.name, v)
	}
	start := xml.StartElement{Name: xml.Name{Local: m.name}}
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	if err := encodeList(e, m.element, v); err != nil {
		return err
	}
	return e.EncodeToken(start.End())
}

func encodeList(e *xml.Encoder, name string, v reflect.Value) error {
	for i := range v.Len() {
		if err := encodeElement(e, name, v.Index(i)); err != nil {
			return err
		}
	}
	return nil
}

func encodeElement(e *xml.Encoder, name string, v reflect.Value) error {
	start := xml.StartElement{Name: xml.Name{Local: name}}
	switch {
	case v.Type() == timeType:
		return e.EncodeElement(v.Interface().(time.Time).UTC().Format("2006-01-02T15:04:05.000Z"), start)
	case v.Kind() != reflect.Struct:
		return e.EncodeElement(v.Interface(), start)
	}
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	if err := encodeXML(e, v); err != nil {
		return err
	}
	return e.EncodeToken(start.End())
}
