package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// grid is a borderless table: a header in capitals, then rows, columns two spaces apart. Every cell shows something, so that a
// line can be cut into columns.
type grid struct {
	w      io.Writer
	header []string
	rows   [][]string
	indent string
}

func newGrid(w io.Writer, header ...string) *grid { return &grid{w: w, header: header} }

func (g *grid) row(cells ...string) {
	for i, c := range cells {
		if c == "" {
			cells[i] = "-"
		}
	}
	g.rows = append(g.rows, cells)
}

// flush prints the table, or, when it has no rows, the sentence that says so.
func (g *grid) flush(empty string) {
	if len(g.rows) == 0 {
		if empty != "" {
			fmt.Fprintf(g.w, "%s%s\n", g.indent, empty)
		}
		return
	}
	t := table.NewWriter()
	st := table.StyleDefault
	st.Options = table.OptionsNoBordersAndSeparators
	st.Box.PaddingLeft, st.Box.PaddingRight = "", "  "
	st.Format.Header = text.FormatUpper
	t.SetStyle(st)
	t.SuppressTrailingSpaces()
	t.AppendHeader(cellsOf(g.header))
	for _, r := range g.rows {
		t.AppendRow(cellsOf(r))
	}
	for line := range strings.SplitSeq(strings.TrimRight(t.Render(), "\n"), "\n") {
		fmt.Fprintf(g.w, "%s%s\n", g.indent, strings.TrimRight(line, " "))
	}
}

func cellsOf(cells []string) table.Row {
	r := make(table.Row, len(cells))
	for i, c := range cells {
		r[i] = c
	}
	return r
}
