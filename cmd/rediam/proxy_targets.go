package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// places are the targets of the command line: that of the flags, or those of the
// arguments, for which the flags are what they do not say.
func (c *proxyCommand) places() ([]place, error) {
	places := []place{c.place}
	if len(c.Targets) > 0 {
		places = nil
	}
	for _, argument := range c.Targets {
		p, err := c.place.with(argument)
		if err != nil {
			return nil, fmt.Errorf("target %q: %w", argument, err)
		}
		places = append(places, p)
	}
	taken := map[string]bool{}
	for i := range places {
		p := &places[i]
		if p.Listen == "" && p.Unix == "" && len(places) == 1 {
			p.Listen = "127.0.0.1:6379"
		}
		switch at := p.Listen + p.Unix; {
		case p.Listen != "" && p.Unix != "":
			return nil, errors.New("clients find a target at --listen or at --unix, not at both: name it twice for that")
		case at == "" || taken[at] && !isAnyPort(at):
			return nil, hinted{errors.New("each of several targets needs a place of its own to listen"), "'orders?listen=127.0.0.1:6379&endpoint=…' 'sessions?listen=127.0.0.1:6380&endpoint=…'"}
		default:
			taken[at] = true
		}
	}
	return places, nil
}

func isAnyPort(address string) bool {
	_, port, _ := net.SplitHostPort(address)
	return port == "0"
}

// with is p with what a target argument says.
func (p place) with(argument string) (place, error) {
	cache, query, _ := strings.Cut(argument, "?")
	settings, err := url.ParseQuery(query)
	if err != nil || cache == "" {
		return p, errors.New("a target is 'CACHE?listen=HOST:PORT&endpoint=HOST:PORT'")
	}
	p.Listen, p.Unix, p.Cache = "", "", cache
	parser, err := kong.New(&p)
	if err != nil {
		return p, err
	}
	for key, values := range settings {
		flag := named(parser.Model.Flags, key)
		switch {
		case flag == nil:
			return p, fmt.Errorf("there is no %q: the keys are the target flags' names, listen and unix", key)
		case len(values) > 1:
			return p, fmt.Errorf("%s is given %d times", key, len(values))
		}
		if err := flag.Parse(kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: values[0]}), flag.Target); err != nil {
			return p, fmt.Errorf("%s: %w", key, err)
		}
	}
	return p, nil
}

// named finds a flag of ours by its name or another that it has.
func named(flags []*kong.Flag, name string) *kong.Flag {
	for _, f := range flags {
		if f.Name == name && name != "help" || slices.Contains(f.Aliases, name) {
			return f
		}
	}
	return nil
}
