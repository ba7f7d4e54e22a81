//go:build linux

package main

import (
	"fmt"
	"html"
	"io"
	"slices"
)

// The plot's measures, in pixels.
const (
	barWidth, barGap, groupGap = 26, 4, 34
	plotTop, plotHeight        = 40, 240
	plotLeft                   = 50
)

// shades are those of the targets, in their order, and readable on white and on black.
var shades = []string{"#c2512f", "#3f7fbf", "#4f9a5f", "#9a6fb0", "#b08a2e", "#8a8f98"}

// plot draws, for each load and command, how much of direct TLS each proxy lets
// through: the median as a bar, the least and the most as a line.
func plot(w io.Writer, loads []load, peers []peer, got results) {
	peers = slices.DeleteFunc(slices.Clone(peers), func(p peer) bool { return p.direct() })
	type group struct{ load, column string }
	var groups []group
	for _, l := range loads {
		for _, column := range []string{"SET × TLS", "GET × TLS"} {
			if len(got[l.name][rediam].column(column)) > 0 {
				groups = append(groups, group{l.name, column})
			}
		}
	}
	y := func(v float64) float64 { return plotTop + plotHeight*(1-min(v, 1.1)/1.1) }
	groupWidth := len(peers)*(barWidth+barGap) + groupGap
	width, height := max(plotLeft+len(groups)*groupWidth, 110*len(peers)), plotTop+plotHeight+40
	fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" fill="#777">`+"\n", width, height)
	for i, p := range peers {
		fmt.Fprintf(w, `<rect x="%d" y="10" width="12" height="12" fill="%s"/><text x="%d" y="20">%s</text>`+"\n",
			plotLeft+i*100, shades[i%len(shades)], plotLeft+i*100+16, html.EscapeString(p.name))
	}
	for _, v := range []float64{0, 0.25, 0.5, 0.75, 1} {
		fmt.Fprintf(w, `<path d="M%d %.0fH%d" stroke="#999" stroke-width="0.5"/><text x="%d" y="%.0f" text-anchor="end">%.2f</text>`+"\n",
			plotLeft, y(v), width, plotLeft-6, y(v)+4, v)
	}
	for i, g := range groups {
		left := plotLeft + groupGap/2 + i*groupWidth
		for j, p := range peers {
			values := got[g.load][p.name].column(g.column)
			if len(values) == 0 {
				continue
			}
			x, m := left+j*(barWidth+barGap), median(values)
			fmt.Fprintf(w, `<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="%s"><title>%s, %s of %s: %.2f</title></rect>`+"\n",
				x, y(m), barWidth, y(0)-y(m), shades[j%len(shades)], html.EscapeString(p.name), g.column, g.load, m)
			fmt.Fprintf(w, `<path d="M%d %.1fV%.1f" stroke="#777"/>`+"\n", x+barWidth/2, y(slices.Max(values)), y(slices.Min(values)))
		}
		fmt.Fprintf(w, `<text x="%d" y="%d" text-anchor="middle">%s %s</text>`+"\n", left+(groupWidth-groupGap)/2, plotTop+plotHeight+20, g.load, g.column[:3])
	}
	fmt.Fprintln(w, "</svg>")
}
