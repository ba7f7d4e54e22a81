package world

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A table holds what there is of one kind, by key. Its values are not to be changed
// in place: put a new one.
type table[V any] struct {
	rows    map[string]V
	name    string
	journal *journal
	pack    func(V) any             // what is saved of a value, as JSON
	unpack  func([]byte) (V, error) // the value again
	quiet   bool                    // no listener needs to hear of changes
}

func (t *table[V]) get(key string) (V, bool) {
	v, ok := t.rows[key]
	return v, ok
}

func (t *table[V]) put(key string, v V) {
	t.note(key)
	t.rows[key] = v
}

func (t *table[V]) delete(key string) {
	if _, ok := t.rows[key]; ok {
		t.note(key)
		delete(t.rows, key)
	}
}

// note has the change of a value taken back if what it belongs to fails, and saved
// if it does not.
func (t *table[V]) note(key string) {
	old, was := t.rows[key]
	t.journal.undo = append(t.journal.undo, func() {
		if was {
			t.rows[key] = old
		} else {
			delete(t.rows, key)
		}
	})
	t.journal.loud = t.journal.loud || !t.quiet
	t.journal.changed[t.name+"/"+key] = func() ([]byte, error) {
		if v, ok := t.rows[key]; ok {
			return json.Marshal(t.pack(v))
		}
		return nil, nil
	}
}

// keys are those of the rows, in order.
func (t *table[V]) keys() []string { return slices.Sorted(maps.Keys(t.rows)) }

// load takes a record that was saved; ok is false if it is another table's.
func (t *table[V]) load(key string, record []byte) (ok bool, err error) {
	key, ok = strings.CutPrefix(key, t.name+"/")
	if !ok {
		return false, nil
	}
	v, err := t.unpack(record)
	if err != nil {
		return true, err
	}
	t.rows[key] = v
	return true, nil
}

// A journal is what one change has done so far.
type journal struct {
	undo    []func()
	changed map[string]func() ([]byte, error) // the records now; nil for those that are gone
	loud    bool
}

// back takes everything back that has been done.
func (j *journal) back() {
	for _, undo := range slices.Backward(j.undo) {
		undo()
	}
	j.clear()
}

func (j *journal) clear() {
	j.undo, j.loud = nil, false
	clear(j.changed)
}

// records are what is to be saved.
func (j *journal) records() (map[string][]byte, error) {
	records := make(map[string][]byte, len(j.changed))
	var problems []error
	for key, now := range j.changed {
		record, err := now()
		records[key] = record
		problems = append(problems, err)
	}
	return records, errors.Join(problems...)
}

// a saver is any table.
type saver interface {
	load(key string, record []byte) (ok bool, err error)
}

// Load fills an empty world with the records that Save was given, or those of them
// that came last for their keys. Call it before the world is shared.
func (w *World) Load(records map[string][]byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, record := range records {
		if err := w.loadOne(key, record); err != nil {
			return fmt.Errorf("record %.100q: %w", key, err)
		}
	}
	return nil
}

func (w *World) loadOne(key string, record []byte) error {
	for _, t := range w.tables {
		if ok, err := t.load(key, record); ok || err != nil {
			return err
		}
	}
	return errors.New("of no kind that is known")
}

// plain is pack and unpack of values whose JSON says everything.
func plain[V any](v V) any { return v }

func fromJSON[V any](record []byte) (v V, err error) {
	err = json.Unmarshal(record, &v)
	return v, err
}
