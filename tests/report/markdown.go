package report

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// parts are the report's chapters, by how ids begin.
var parts = []struct{ prefix, title, about string }{
	{"C", "Controller and hosts", "What is done to `up` and to the hosts while it works on them."},
	{"F", "Service", "What is done to hosts that serve, while a client sends a steady load."},
	{"bench-", "Benchmarks", "The same work by Ansible and by halinux, and how cost grows with the number of hosts."},
	{"", "Other faults", "What the lists above do not name."},
}

// Markdown is the report for people: a chapter for each kind of fault, a
// heading for each fault, a row for each metric.
func (r Report) Markdown() string {
	var b strings.Builder
	good := 0
	for _, x := range r.Results {
		if x.OK {
			good++
		}
	}
	fmt.Fprintf(&b, "# What was done to the platform, and what came of it\nWritten by `make report` from [report.json](report.json); do not edit. Commit %s, %s, on: %s.%s\n\n", r.Commit, r.Date, r.Machine, r.taken())
	fmt.Fprintf(&b, "%d of %d figures are within their limits. Each is the median and the worst of its runs; the limit counts for the worst. The note is that of the worst run. \"%s\" counts 1 for a run in which the platform behaved wrongly or a figure could not be taken. A scenario that is not listed did not run.\n", good, len(r.Results), upper(failedRuns))
	listed := map[int]bool{}
	for _, part := range parts {
		title := false
		for i, first := range r.Results {
			if listed[i] || !strings.HasPrefix(first.ID, part.prefix) {
				continue
			}
			if !title {
				title = true
				fmt.Fprintf(&b, "\n## %s\n%s\n", part.title, part.about)
			}
			fmt.Fprintf(&b, "\n### %s\n| metric | runs | median | worst | limit | ok | note |\n|---|---|---|---|---|---|---|\n", strings.TrimSuffix(first.ID+": "+first.Scenario, ": "))
			for j, x := range r.Results {
				if listed[j] || x.ID != first.ID || x.Scenario != first.Scenario {
					continue
				}
				listed[j] = true
				fmt.Fprintf(&b, "| %s | %d | %s | %s | %s | %s | %s |\n", cell(x.Metric), x.Runs,
					figure(x.Median, x.Unit), figure(x.Worst, x.Unit), x.limit(), x.verdict(), cell(x.Note))
			}
		}
	}
	return b.String()
}

// taken says at which commits figures were taken, where it was not that of the
// report.
func (r Report) taken() string {
	count := map[string]int{}
	for _, x := range r.Results {
		for _, c := range x.Commits {
			count[c]++
		}
	}
	if len(count) == 0 || len(count) == 1 && count[r.Commit] > 0 {
		return ""
	}
	var list []string
	for _, c := range slices.Sorted(maps.Keys(count)) {
		list = append(list, fmt.Sprintf("%s (%d)", c, count[c]))
	}
	return " Figures are of runs at " + strings.Join(list, ", ") + "."
}

// main are the faults and benchmarks whose figures README.md shows.
var main = []string{"F1", "F2", "F8", "F12", "F13", "F14", "F20", "F21", "F24", "F30", "agents", "F53", "F54", "F55", "F56", "node-reboots", "cluster-power", "bond", "C1", "bench-first-run", "bench-no-op", "bench-drift"}

// table is a short table of the main figures: one row for all of a scenario's that
// are zero and have to be. How many runs failed is in it only where one did, and
// figures without a limit are not.
func (r Report) table() string {
	var b strings.Builder
	row := func(x Result, metric string) {
		if b.Len() == 0 {
			b.WriteString("| id | what was done | measured | median | worst | limit | ok |\n|---|---|---|---|---|---|---|\n")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", x.ID, cell(x.Scenario), cell(metric),
			figure(x.Median, x.Unit), figure(x.Worst, x.Unit), x.limit(), x.verdict())
	}
	for _, id := range main {
		zeros := map[string][]string{} // metrics by scenario
		for _, x := range r.Results {
			if x.ID == id && x.none() && x.Metric != failedRuns {
				zeros[x.Scenario] = append(zeros[x.Scenario], x.Metric)
			}
		}
		for _, x := range r.Results {
			if x.ID != id || x.unlimited() || x.none() && zeros[x.Scenario] == nil {
				continue
			}
			if !x.none() {
				row(x, x.Metric)
				continue
			}
			if all := zeros[x.Scenario]; len(all) > 1 {
				x.Unit = ""
				row(x, strings.Join(all, "; "))
			} else {
				row(x, all[0])
			}
			delete(zeros, x.Scenario)
		}
	}
	if b.Len() == 0 {
		return "No report of the main scenarios has been made yet.\n"
	}
	return b.String()
}

// none is a figure that is zero in all runs, as it has to be.
func (x Result) none() bool { return x.OK && x.Limit == 0 && x.Median == 0 && x.Worst == 0 }

// unlimited is a figure that is good whatever it is.
func (x Result) unlimited() bool { return x.OK && x.Limit == 0 && x.Worst > 0 }

const (
	tableBegin = "<!-- The main figures: written by `make report`. -->\n"
	tableEnd   = "<!-- End of the main figures. -->\n"
)

// Insert puts the table of the main figures between the two marks of a text.
func (r Report) Insert(text string) (string, error) {
	before, rest, begins := strings.Cut(text, tableBegin)
	_, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		return "", fmt.Errorf("there is no %q with a %q after it", strings.TrimSpace(tableBegin), strings.TrimSpace(tableEnd))
	}
	return before + tableBegin + "\n" + r.table() + "\n" + tableEnd + after, nil
}

// limit is the limit with the side on which it is good. The report does not
// keep the side, but all figures that are not on the limit itself tell it.
func (x Result) limit() string {
	if x.unlimited() {
		return "none"
	}
	sign := ""
	switch {
	case x.Worst != x.Limit:
		sign = "≤ "
		if x.OK == (x.Worst > x.Limit) {
			sign = "≥ "
		}
	case x.Median != x.Limit:
		sign = "≤ "
		if x.Median > x.Limit {
			sign = "≥ "
		}
	}
	return sign + figure(x.Limit, x.Unit)
}

func (x Result) verdict() string {
	switch {
	case x.unlimited():
		return ""
	case x.OK:
		return "yes"
	}
	return "**no**"
}

func upper(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func cell(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "|", "\\|"), "\n", " ") }

// figure shows three significant digits, or all of a whole number.
func figure(v float64, unit string) string {
	if v != float64(int64(v)) && v < 1000 {
		v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	}
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if unit != "" {
		s += " " + unit
	}
	return s
}
