package awsapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rediam/rediam/internal/world"
)

// The JSON 1.1 protocol: the body is an object of the members of an operation, the
// same structs as in the query protocol (shape.go). A member that is null is not
// there, times are seconds since 1970 (Smithy, "AWS JSON 1.1 protocol").

const jsonType = "application/x-amz-json-1.1"

// jsonCodes are the error codes of JSON services where the query protocol has others.
var jsonCodes = map[string]string{
	"AccessDenied":    "AccessDeniedException",
	"ValidationError": "ValidationException",
}

// decodeJSON fills a struct from an object. What the struct has no member for is an
// error, as is what stands twice, is of another type or not whole. Nothing is nested
// deeper than the struct, and errors repeat names but no values.
func decodeJSON(body []byte, into any) error {
	d := jsonDecoder{json.NewDecoder(bytes.NewReader(body))}
	d.UseNumber()
	there, err := d.value("the body", reflect.ValueOf(into).Elem())
	if err == nil && !there {
		return unreadable("the body must be an object")
	}
	if err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return unreadable("something follows the body")
	}
	return nil
}

// unreadable is an error about a body that does not fit its operation.
func unreadable(message string) error {
	return &world.Error{Code: "SerializationException", Message: message}
}

type jsonDecoder struct{ *json.Decoder }

// token is the next one. Text that is no UTF-8, which package json would change, is
// refused.
func (d jsonDecoder) token() (json.Token, error) {
	t, err := d.Token()
	if err != nil {
		return nil, unreadable("the body is not JSON")
	}
	if text, ok := t.(string); ok && strings.ContainsRune(text, utf8.RuneError) {
		return nil, unreadable("the body is not UTF-8")
	}
	return t, nil
}

// value fills a field with the next value, and tells whether that was not null.
func (d jsonDecoder) value(name string, v reflect.Value) (given bool, err error) {
	t, err := d.token()
	if err != nil || t == nil {
		return false, err
	}
	return true, d.fill(name, t, v)
}

// fill fills a field with the value that begins with a token.
func (d jsonDecoder) fill(name string, t json.Token, v reflect.Value) error {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return d.fill(name, t, v.Elem())
	case reflect.Slice:
		if t == json.Delim('[') {
			return d.list(name, v)
		}
		return unreadable(name + " must be a list")
	case reflect.Struct:
		if t == json.Delim('{') {
			return d.structure(v)
		}
		return unreadable(name + " must be an object")
	case reflect.String:
		text, ok := t.(string)
		if !ok {
			return unreadable(name + " must be a string")
		}
		v.SetString(text)
		return nil
	case reflect.Bool:
		b, ok := t.(bool)
		if !ok {
			return unreadable(name + " must be true or false")
		}
		v.SetBool(b)
		return nil
	case reflect.Int:
		n, _ := t.(json.Number)
		i, err := strconv.ParseInt(n.String(), 10, 32)
		if err != nil {
			return unreadable(name + " must be an integer of 32 bits")
		}
		v.SetInt(i)
		return nil
	}
	return errors.New("there is no member of type " + v.Type().String()) // the struct of the operation is wrong
}

func (d jsonDecoder) list(name string, v reflect.Value) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for d.More() {
		element := reflect.New(v.Type().Elem()).Elem()
		there, err := d.value("an element of "+name, element)
		switch {
		case err != nil:
			return err
		case !there:
			return unreadable("an element of " + name + " is null")
		case v.Len() == maxElements:
			return invalid("%s has more than %d elements", name, maxElements)
		}
		v.Set(reflect.Append(v, element))
	}
	_, err := d.token() // the end
	return err
}

func (d jsonDecoder) structure(v reflect.Value) error {
	fields := fieldsOf(v)
	for d.More() {
		t, err := d.token()
		if err != nil {
			return err
		}
		name := t.(string) // Token takes no other key
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		switch {
		case i < 0:
			return invalid("the emulator does not have the member %.64q of this operation", name)
		case fields[i].seen:
			return unreadable(name + " stands twice")
		}
		fields[i].seen = true
		if fields[i].given, err = d.value(name, fields[i].value); err != nil {
			return err
		}
	}
	if _, err := d.token(); err != nil { // the end
		return err
	}
	for _, f := range fields {
		if f.required && !f.given {
			return invalid("The request must contain the parameter %s.", f.name)
		}
	}
	return nil
}

// A field is a member of a struct with its value, and whether a request has it.
type field struct {
	member
	value       reflect.Value
	seen, given bool // one that is null is seen and not given
}

func fieldsOf(v reflect.Value) (all []field) {
	for _, m := range members(v.Type()) {
		if m.inline {
			all = append(all, fieldsOf(v.Field(m.index))...)
		} else {
			all = append(all, field{member: m, value: v.Field(m.index)})
		}
	}
	return all
}

// inJSON is what package json writes of an answer: what encodeXML leaves out is not
// there either.
func inJSON(v reflect.Value) any {
	switch {
	case v.Type() == timeType:
		return json.Number(strconv.FormatFloat(float64(v.Interface().(time.Time).UnixMilli())/1000, 'f', -1, 64))
	case v.Kind() == reflect.Pointer:
		return inJSON(v.Elem())
	case v.Kind() == reflect.Slice:
		list := []any{}
		for i := range v.Len() {
			list = append(list, inJSON(v.Index(i)))
		}
		return list
	case v.Kind() == reflect.Struct:
		object := map[string]any{}
		for _, f := range fieldsOf(v) {
			if !absent(f.value) {
				object[f.name] = inJSON(f.value)
			}
		}
		return object
	}
	return v.Interface()
}
