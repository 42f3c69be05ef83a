package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAppendMergeAndJudge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results")
	t.Setenv(ResultsVariable, path)
	t.Setenv(CommitVariable, "")
	outage := Measurement{ID: "F2", Scenario: "power off", Metric: "outage", Unit: "s", Limit: 3.7}
	for _, v := range []float64{3.5, 3.8123456, 3.6} {
		m := outage
		m.Value = v
		if v > 3.7 {
			m.Note = "slow"
		}
		require.NoError(t, Append(m))
	}
	require.NoError(t, Append(Measurement{ID: "bench-no-op", Metric: "times faster", Value: 21, Limit: 20, AtLeast: true}))
	require.NoError(t, Append(Measurement{ID: "bench-no-op", Metric: "times faster", Value: 30, Limit: 20, AtLeast: true}))
	require.NoError(t, Append(Measurement{ID: "F10", Metric: "failed", Unit: "requests", Value: 0, Limit: 0}))
	require.NoError(t, Append(Measurement{ID: "C1", Metric: "manual steps", Value: 0, Limit: 0}))

	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	all, err := Read(f)
	require.NoError(t, err)
	got := Merge(all)
	want := []Result{
		{ID: "C1", Runs: 1, Metric: "manual steps", OK: true},
		{ID: "F2", Scenario: "power off", Runs: 3, Metric: "outage", Unit: "s", Median: 3.6, Worst: 3.812, Limit: 3.7, Note: "slow"},
		{ID: "F10", Runs: 1, Metric: "failed", Unit: "requests", OK: true},
		{ID: "bench-no-op", Runs: 2, Metric: "times faster", Median: 25.5, Worst: 21, Limit: 20, OK: true},
	}
	require.Equal(t, want, got)

	md := Report{Results: got}.Markdown()
	require.Contains(t, md, "3 of 4 figures are within their limits")
	require.Contains(t, md, "### F2: power off\n")
	require.Contains(t, md, "| outage | 3 | 3.6 s | 3.81 s | ≤ 3.7 s | **no** | slow |")
	require.Contains(t, md, "≥ 20")
	require.Contains(t, md, "| failed | 1 | 0 requests | 0 requests | 0 requests | yes |")
}

// A value above the limit by less than the rounding is not ok.
func TestRoundingJudgesNothing(t *testing.T) {
	got := Merge([]Measurement{{ID: "F2", Metric: "outage", Value: 3.70001, Limit: 3.7}})
	require.False(t, got[0].OK)
}

// Nothing that was measured is lost because two runs do not agree.
func TestRunsThatDiffer(t *testing.T) {
	got := Merge([]Measurement{{ID: "F8", Scenario: "10 reloads", Metric: "lost"}, {ID: "F8", Scenario: "50 reloads", Metric: "lost", Value: 1}})
	require.Len(t, got, 2)
	require.True(t, got[0].OK)
	require.False(t, got[1].OK)
}

// A run that failed before it could take a figure is in the report, and not as
// good; what it was a run of is known from the others.
func TestFailedRuns(t *testing.T) {
	got := Merge([]Measurement{Outcome("C9", "", true), {ID: "C9", Scenario: "locked out", Metric: "unreachable", Unit: "s", Value: 3, Limit: 60}, Outcome("C9", "locked out", false)})
	require.Len(t, got, 2)
	require.Equal(t, Result{ID: "C9", Scenario: "locked out", Runs: 2, Metric: failedRuns, Unit: "runs", Median: 0.5, Worst: 1, Note: got[0].Note}, got[0])
	require.NotEmpty(t, got[0].Note)
	md := Report{Results: got}.Markdown()
	require.Equal(t, 1, strings.Count(md, "### C9"), md)
}

// Runs of two commits are one result, and the report says so.
func TestRunsOfTwoCommits(t *testing.T) {
	got := Merge([]Measurement{{ID: "F1", Metric: "x", Commit: "b"}, {ID: "F1", Metric: "x", Commit: "a"}, {ID: "F1", Metric: "x", Commit: "b"}})
	require.Len(t, got, 1)
	require.Equal(t, []string{"a", "b"}, got[0].Commits)
	require.Contains(t, Report{Commit: "b", Results: got}.Markdown(), "Figures are of runs at a (1), b (1).")
	require.NotContains(t, Report{Commit: "b", Results: Merge([]Measurement{{ID: "F1", Metric: "x", Commit: "b"}})}.Markdown(), "Figures are of")
}

func TestLimitTellsItsSide(t *testing.T) {
	for want, r := range map[string]Result{
		"≤ 2 s":  {Unit: "s", Median: 1, Worst: 1.5, Limit: 2, OK: true},
		"≤ 3 s":  {Unit: "s", Median: 1, Worst: 4, Limit: 3},
		"≥ 4 s":  {Unit: "s", Median: 6, Worst: 5, Limit: 4, OK: true},
		"≥ 5 s":  {Unit: "s", Median: 6, Worst: 3, Limit: 5},
		"≥ 6 s":  {Unit: "s", Median: 7, Worst: 6, Limit: 6, OK: true},
		"≤ 7 s":  {Unit: "s", Median: 6, Worst: 7, Limit: 7, OK: true},
		"0 lost": {Unit: "lost", OK: true},
		"none":   {Unit: "1/s", Median: 6, Worst: 5, OK: true},
	} {
		require.Equal(t, want, r.limit())
	}
}

func TestInsert(t *testing.T) {
	r := Report{Results: Merge([]Measurement{{ID: "F12", Scenario: "renew", Metric: "failed", Unit: "requests"}, {ID: "C4", Metric: "x"}, Outcome("F12", "", false), Outcome("F8", "reload", true)})}
	const around = "# x\n" + tableBegin + "%s" + tableEnd + "y\n"
	text, err := r.Insert(fmt.Sprintf(around, "old\n"))
	require.NoError(t, err)
	require.Contains(t, text, "| F12 | renew | failed | 0 requests | 0 requests | 0 requests | yes |\n\n"+tableEnd+"y\n")
	require.Contains(t, text, "| F8 | reload | runs that failed | 1 runs | 1 runs | ≤ 0 runs | **no** |")
	require.NotContains(t, text, "C4")
	require.NotContains(t, text, "old")
	again, err := r.Insert(text)
	require.NoError(t, err)
	require.Equal(t, text, again)

	text, err = Report{}.Insert(fmt.Sprintf(around, ""))
	require.NoError(t, err)
	require.Contains(t, text, "No report of the main scenarios")
	_, err = r.Insert("no marks")
	require.Error(t, err)
}

// What is nought and has to be is one row of a scenario; what has no limit is none.
func TestTheTableIsShort(t *testing.T) {
	zero := func(metric string) Measurement {
		return Measurement{ID: "F1", Scenario: "x", Metric: metric, Unit: "records"}
	}
	one := zero("refused")
	one.Value = 1
	r := Report{Results: Merge([]Measurement{zero("lost"), {ID: "F1", Scenario: "x", Metric: "stall", Unit: "s", Value: 1, Limit: 2}, zero("torn"), one,
		{ID: "F1", Scenario: "x", Metric: "rate", Unit: "1/s", Value: 3, AtLeast: true}})}
	_, rows, _ := strings.Cut(r.table(), "|---|\n")
	require.Equal(t, "| F1 | x | lost; torn | 0 | 0 | 0 | yes |\n| F1 | x | stall | 1 s | 1 s | ≤ 2 s | yes |\n| F1 | x | refused | 1 records | 1 records | ≤ 0 records | **no** |\n", rows)
}

// What people read says what docs/report.json says, and nothing else.
func TestReportIsWhatPeopleRead(t *testing.T) {
	root := filepath.Join("..", "..")
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	var r Report
	b, err := os.ReadFile(filepath.Join(root, "docs", "report.json"))
	if !errors.Is(err, fs.ErrNotExist) { // then README.md has to say that there is none
		require.NoError(t, err)
		d := json.NewDecoder(bytes.NewReader(b))
		d.DisallowUnknownFields()
		require.NoError(t, d.Decode(&r))
		md, err := os.ReadFile(filepath.Join(root, "docs", "report.md"))
		require.NoError(t, err)
		require.Equal(t, r.Markdown(), string(md), "docs/report.md was edited, or is of another run than docs/report.json: make report")
	}
	want, err := r.Insert(string(readme))
	require.NoError(t, err)
	require.Equal(t, want, string(readme), "the table of README.md is not of docs/report.json: make report")
}

func TestReadRefusesWhatIsNotAMeasurement(t *testing.T) {
	for _, line := range []string{`{"id":"F1"}`, `{"id":"F1","metric":"x","ok":true}`, `nonsense`} {
		_, err := Read(strings.NewReader(line))
		require.Error(t, err, line)
	}
}

// The format is an agreement with whoever reads docs/report.json.
func TestFormat(t *testing.T) {
	b, err := json.Marshal(Report{Results: []Result{{}}})
	require.NoError(t, err)
	require.JSONEq(t, `{"commit":"","date":"","machine":"","results":[{"id":"","scenario":"","runs":0,"metric":"","unit":"","median":0,"worst":0,"limit":0,"ok":false,"note":""}]}`, string(b))
}

func TestMachineHasNoName(t *testing.T) {
	name, err := os.Hostname()
	require.NoError(t, err)
	require.NotContains(t, Machine(), name)
	require.Contains(t, Machine(), "cores")
}
