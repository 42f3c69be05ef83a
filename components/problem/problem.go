// Package problem collects what is wrong with a configuration, so that its
// reader gets one report of everything instead of the first error of many.
// It knows nothing of what is being checked.
package problem

import (
	"fmt"
	"strings"
)

// Problem is one thing that is wrong: where, what, and what to do about it.
type Problem struct {
	Path   string // the place in the configuration, like edge.vips[0].address
	What   string // what is wrong there, with the value
	Remedy string // what to do
}

// String is the problem on one line.
func (p Problem) String() string {
	s := p.Path + ": " + p.What
	if p.Remedy != "" {
		s += "; " + p.Remedy
	}
	return s
}

// List is a report in the making. Its zero value is ready to use.
type List struct {
	problems []Problem
}

// Add notes a problem at a path. The what and remedy are fixed texts or were
// made with fmt.Sprintf.
func (l *List) Add(path, what, remedy string) {
	l.problems = append(l.problems, Problem{path, what, remedy})
}

// Include takes over the problems of a part, its paths below prefix.
func (l *List) Include(prefix string, part List) {
	for _, p := range part.problems {
		if prefix != "" && p.Path != "" && p.Path[0] != '[' {
			p.Path = prefix + "." + p.Path
		} else {
			p.Path = prefix + p.Path
		}
		l.problems = append(l.problems, p)
	}
}

// All returns the problems in the order in which they were found.
func (l *List) All() []Problem { return l.problems }

// Err returns nil where there is no problem, else an *Error with all of them.
func (l *List) Err() error {
	if len(l.problems) == 0 {
		return nil
	}
	return &Error{Problems: l.problems}
}

// Error is the whole report.
type Error struct {
	Problems []Problem // one or more, in the order in which they were found
}

// Error is the report, one problem on each line.
func (e *Error) Error() string {
	var b strings.Builder
	if len(e.Problems) == 1 {
		return "1 problem in the configuration, nothing was touched:\n  " + e.Problems[0].String()
	}
	fmt.Fprintf(&b, "%d problems in the configuration, nothing was touched:", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}
