// Package report keeps what the fault scenarios and the benchmarks measured.
//
// A test appends a [Measurement] per run to the file that HALINUX_RESULTS
// names; [Merge] makes one [Result] per scenario and metric of them. Limits are
// judged here and nowhere else: machines differ too much for a test to pass or
// fail on an absolute time. What people read is made from docs/report.json
// alone (see [Report.Markdown] and [Report.Insert]). The package knows nothing of
// what was measured, or how.
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

// CommitVariable is the environment variable that says of which commit the
// measurements are, so that one report can have those of several.
const CommitVariable = "HALINUX_COMMIT"

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
	Commit   string  `json:"commit,omitempty"` // see CommitVariable
}

// Result is a scenario's metric over all of its runs.
type Result struct {
	ID       string   `json:"id"`
	Scenario string   `json:"scenario"`
	Runs     int      `json:"runs"`
	Metric   string   `json:"metric"`
	Unit     string   `json:"unit"`
	Median   float64  `json:"median"`
	Worst    float64  `json:"worst"`
	Limit    float64  `json:"limit"`
	OK       bool     `json:"ok"`
	Note     string   `json:"note"`              // of the worst run
	Commits  []string `json:"commits,omitempty"` // of the runs, sorted
}

// Report is the file docs/report.json.
type Report struct {
	Commit  string   `json:"commit"`
	Date    string   `json:"date"`
	Machine string   `json:"machine"`
	Results []Result `json:"results"`
}

// failedRuns is the metric of what is no figure: whether the platform did what
// the scenario asks for, and the figures could be taken at all.
const failedRuns = "runs that failed"

// Outcome is the measurement which says how a run of a scenario ended, so that
// a run which failed is seen even where its figures are good, or are missing.
func Outcome(id, scenario string, failed bool) Measurement {
	m := Measurement{ID: id, Scenario: scenario, Metric: failedRuns, Unit: "runs"}
	if failed {
		m.Value, m.Note = 1, "wrong behaviour, or no figure; the log of the run says which"
	}
	return m
}

// Append adds a measurement to the file that HALINUX_RESULTS names.
func Append(m Measurement) error {
	path := os.Getenv(ResultsVariable)
	if path == "" {
		return nil
	}
	if m.Commit == "" {
		m.Commit = os.Getenv(CommitVariable)
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
// their ids. Runs that were judged by different limits are different results:
// nothing that was measured is refused.
func Merge(all []Measurement) []Result {
	groups := map[Measurement][]Measurement{}
	var keys []Measurement
	done := map[string]string{} // id -> what was done
	for _, m := range all {
		if done[m.ID] == "" {
			done[m.ID] = m.Scenario
		}
	}
	for _, m := range all {
		if m.Metric == failedRuns {
			m.Scenario = done[m.ID] // a run that failed early may not have said it
		}
		k := m
		k.Value, k.Note, k.Commit = 0, "", ""
		if len(groups[k]) == 0 {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], m)
	}
	slices.SortStableFunc(keys, func(a, b Measurement) int { return compareIDs(a.ID, b.ID) })
	results := []Result{}
	for _, k := range keys {
		results = append(results, merge(groups[k]))
	}
	return results
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
	var commits []string
	for _, m := range runs {
		if m.Commit != "" {
			commits = append(commits, m.Commit)
		}
	}
	slices.Sort(commits)
	ok := worst.Value <= first.Limit
	if first.AtLeast {
		ok = worst.Value >= first.Limit
	}
	return Result{
		ID: first.ID, Scenario: first.Scenario, Runs: len(runs), Metric: first.Metric, Unit: first.Unit,
		Median: round(median), Worst: round(worst.Value), Limit: first.Limit, OK: ok, Note: worst.Note,
		Commits: slices.Compact(commits),
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
