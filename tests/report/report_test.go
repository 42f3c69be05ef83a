package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAppendMergeAndJudge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results")
	t.Setenv(ResultsVariable, path)
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
	got, err := Merge(all)
	require.NoError(t, err)
	want := []Result{
		{ID: "C1", Runs: 1, Metric: "manual steps", OK: true},
		{ID: "F2", Scenario: "power off", Runs: 3, Metric: "outage", Unit: "s", Median: 3.6, Worst: 3.812, Limit: 3.7, Note: "slow"},
		{ID: "F10", Runs: 1, Metric: "failed", Unit: "requests", OK: true},
		{ID: "bench-no-op", Runs: 2, Metric: "times faster", Median: 25.5, Worst: 21, Limit: 20, OK: true, atLeast: true},
	}
	require.Equal(t, want, got)

	md := Report{Results: got}.Markdown()
	require.Contains(t, md, "3 of 4 figures are within their limits")
	require.Contains(t, md, "| F2 | power off | outage | 3 | 3.6 s | 3.812 s | ≤ 3.7 s | **no** | slow |")
	require.Contains(t, md, "≥ 20")
}

// A value above the limit by less than the rounding is not ok.
func TestRoundingJudgesNothing(t *testing.T) {
	got, err := Merge([]Measurement{{ID: "F2", Metric: "outage", Value: 3.70001, Limit: 3.7}})
	require.NoError(t, err)
	require.False(t, got[0].OK)
}

func TestRunsMustAgree(t *testing.T) {
	_, err := Merge([]Measurement{{ID: "F2", Metric: "outage", Limit: 1}, {ID: "F2", Metric: "outage", Limit: 2}})
	require.ErrorContains(t, err, "the runs differ")
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
