// Package report keeps what the fault scenarios and the benchmarks measured.
//
// A test appends a [Measurement] per run to the file that HALINUX_RESULTS
// names; [Merge] makes one [Result] per scenario and metric of them. Limits are
// judged here and nowhere else: machines differ too much for a test to pass or
// fail on an absolute time. It knows nothing of what was measured, or how.
package report

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// ResultsVariable is the environment variable that names the file to which
// measurements are appended. Without it they are only logged.
const ResultsVariable = "HALINUX_RESULTS"

// Measurement is what one run of a scenario gave for one metric.
type Measurement struct {
	ID       string  `json:"id"`       // F1, bench-no-op
	Scenario string  `json:"scenario"` // what was done
	Metric   string  `json:"metric"`   // what was measured
	Unit     string  `json:"unit"`     // s, requests, ...
	Value    float64 `json:"value"`
	Limit    float64 `json:"limit"`             // the value that still is good
	AtLeast  bool    `json:"atLeast,omitempty"` // more is better: the limit is a minimum
	Note     string  `json:"note,omitempty"`
}

// Result is a scenario's metric over all of its runs.
type Result struct {
	ID       string  `json:"id"`
	Scenario string  `json:"scenario"`
	Runs     int     `json:"runs"`
	Metric   string  `json:"metric"`
	Unit     string  `json:"unit"`
	Median   float64 `json:"median"`
	Worst    float64 `json:"worst"`
	Limit    float64 `json:"limit"`
	OK       bool    `json:"ok"`
	Note     string  `json:"note"` // of the worst run

	atLeast bool
}

// Report is the file docs/report.json.
type Report struct {
	Commit  string   `json:"commit"`
	Date    string   `json:"date"`
	Machine string   `json:"machine"`
	Results []Result `json:"results"`
}

// Append adds a measurement to the file that HALINUX_RESULTS names.
func Append(m Measurement) error {
	path := os.Getenv(ResultsVariable)
	if path == "" {
		return nil
	}
	line, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("measurement of %s: %w", m.ID, err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("measurement of %s: %w", m.ID, err)
	}
	// One write per line, so that programs that append at once do not mix.
	_, err = f.Write(append(line, '\n'))
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}

// Read reads measurements, one JSON object a line.
func Read(r io.Reader) ([]Measurement, error) {
	var all []Measurement
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var m Measurement
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&m); err != nil {
			return nil, fmt.Errorf("line %d: %w", n, err)
		}
		if m.ID == "" || m.Metric == "" {
			return nil, fmt.Errorf("line %d: a measurement without id or metric", n)
		}
		all = append(all, m)
	}
	return all, lines.Err()
}

// Merge makes one result of all runs of a scenario's metric, in the order of
// their ids.
func Merge(all []Measurement) ([]Result, error) {
	type key struct{ id, metric string }
	groups := map[key][]Measurement{}
	var keys []key
	for _, m := range all {
		k := key{m.ID, m.Metric}
		if g := groups[k]; len(g) == 0 {
			keys = append(keys, k)
		} else if g[0].Unit != m.Unit || g[0].Limit != m.Limit || g[0].AtLeast != m.AtLeast || g[0].Scenario != m.Scenario {
			return nil, fmt.Errorf("%s, %s: the runs differ in scenario, unit or limit", m.ID, m.Metric)
		}
		groups[k] = append(groups[k], m)
	}
	slices.SortStableFunc(keys, func(a, b key) int { return compareIDs(a.id, b.id) })
	var results []Result
	for _, k := range keys {
		results = append(results, merge(groups[k]))
	}
	return results, nil
}

func merge(runs []Measurement) Result {
	first := runs[0]
	better := func(a, b Measurement) int {
		switch {
		case a.Value == b.Value:
			return 0
		case a.Value < b.Value == !first.AtLeast:
			return -1
		}
		return 1
	}
	slices.SortStableFunc(runs, better)
	worst := runs[len(runs)-1]
	median := runs[len(runs)/2].Value
	if len(runs)%2 == 0 {
		median = (runs[len(runs)/2-1].Value + median) / 2
	}
	ok := worst.Value <= first.Limit
	if first.AtLeast {
		ok = worst.Value >= first.Limit
	}
	return Result{
		ID: first.ID, Scenario: first.Scenario, Runs: len(runs), Metric: first.Metric, Unit: first.Unit,
		Median: round(median), Worst: round(worst.Value), Limit: first.Limit, OK: ok, Note: worst.Note,
		atLeast: first.AtLeast,
	}
}

// round keeps four significant digits, which is more than a run repeats.
func round(v float64) float64 {
	if v == float64(int64(v)) {
		return v
	}
	r, _ := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 4, 64), 64)
	return r
}

// compareIDs puts F2 before F10, and benchmarks last.
func compareIDs(a, b string) int {
	letters := func(s string) (string, int) {
		word := strings.TrimRight(s, "0123456789")
		n, _ := strconv.Atoi(s[len(word):])
		if strings.HasPrefix(s, "bench-") {
			word = "~" + s
		}
		return word, n
	}
	aw, an := letters(a)
	bw, bn := letters(b)
	if c := strings.Compare(aw, bw); c != 0 {
		return c
	}
	return an - bn
}

// Markdown is the report for people.
func (r Report) Markdown() string {
	var b strings.Builder
	good := 0
	for _, x := range r.Results {
		if x.OK {
			good++
		}
	}
	fmt.Fprintf(&b, "# Report\nWritten by `make report`. Commit %s, %s, on: %s.\n\n", r.Commit, r.Date, r.Machine)
	fmt.Fprintf(&b, "%d of %d figures are within their limits. A limit counts for the worst run. A scenario that did not run is not listed.\n\n", good, len(r.Results))
	b.WriteString("| id | scenario | metric | runs | median | worst | limit | ok | note |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, x := range r.Results {
		sign, ok := "≤", "yes"
		if x.atLeast {
			sign = "≥"
		}
		if !x.OK {
			ok = "**no**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %s | %s | %s %s | %s | %s |\n", x.ID, cell(x.Scenario), cell(x.Metric), x.Runs,
			figure(x.Median, x.Unit), figure(x.Worst, x.Unit), sign, figure(x.Limit, x.Unit), ok, cell(x.Note))
	}
	return b.String()
}

func cell(s string) string { return strings.ReplaceAll(strings.ReplaceAll(s, "|", "\\|"), "\n", " ") }

func figure(v float64, unit string) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if unit != "" {
		s += " " + unit
	}
	return s
}
