package command_test

import (
	"slices"
	"testing"

	"github.com/rediam/rediam/internal/command"
	"github.com/rediam/rediam/internal/installed"
	"github.com/redis/go-redis/v9"
)

// TestCommandsAreDescribedAsTheEngineDoes looks at the rows of the table that are
// of the engine: those of Valkey are its own, of the others Redis has the same
// places of keys.
func TestCommandsAreDescribedAsTheEngineDoes(t *testing.T) {
	for name, engine := range map[string]command.Engines{"redis-server": command.Redis, "valkey-server": command.Valkey} {
		t.Run(name, func(t *testing.T) {
			client := redis.NewClient(&redis.Options{Network: "unix", Addr: installed.Engine(t, name), Protocol: 2})
			defer client.Close()
			described, err := client.Command(t.Context()).Result()
			if err != nil {
				t.Fatal(err)
			}
			for c := range command.All() {
				if c.Engines&engine == 0 || described[c.Name] == nil {
					continue // a subcommand
				}
				want := described[c.Name]
				first, last, step := c.Range()
				if first != int(want.FirstKeyPos) || last != int(want.LastKeyPos) || step != int(want.StepCount) {
					t.Errorf("the keys of %s are at %d, %d, %d, want %d, %d, %d", c.Name, first, last, step, want.FirstKeyPos, want.LastKeyPos, want.StepCount)
				}
				if slices.Sort(want.Flags); engine == command.Valkey && !slices.Equal(c.Flags.Names(), want.Flags) {
					t.Errorf("the flags of %s are %q, want %q", c.Name, c.Flags.Names(), want.Flags)
				}
			}
			categories, err := client.Do(t.Context(), "ACL", "CAT").StringSlice()
			if err != nil {
				t.Fatal(err)
			}
			if got := command.AllCategories.Names(); !slices.Equal(got, categories) {
				t.Errorf("the categories are %q, want %q", got, categories)
			}
		})
	}
}
