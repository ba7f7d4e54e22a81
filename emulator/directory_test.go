package emulator_test

import (
	"context"
	"sync"
	"testing"

	"github.com/rediam/rediam/emulator"
)

// An emulator that starts sweeps away what killed ones have left, and not what
// others are just making.
func TestEmulatorsStartAtTheSameTime(t *testing.T) {
	var starting sync.WaitGroup
	for range 8 {
		starting.Go(func() {
			for range 25 {
				srv, err := emulator.Open(context.Background(), emulator.Config{Engine: "embedded", Empty: true})
				if err != nil {
					t.Errorf("start emulator: %v", err)
					return
				}
				srv.Close()
			}
		})
	}
	starting.Wait()
}
