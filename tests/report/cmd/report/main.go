// Command report merges the measurements of tests and benchmarks into
// docs/report.json and docs/report.md.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/halinux/halinux/tests/report"
)

func main() {
	results := flag.String("results", os.Getenv(report.ResultsVariable), "file of measurements, one JSON object a line")
	jsonPath := flag.String("json", "docs/report.json", "report to write")
	markdownPath := flag.String("markdown", "docs/report.md", "report to write, for people")
	flag.Parse()
	if err := write(*results, *jsonPath, *markdownPath); err != nil {
		fmt.Fprintf(os.Stderr, "report: %v\n", err)
		os.Exit(1)
	}
}

func write(results, jsonPath, markdownPath string) error {
	f, err := os.Open(results)
	if err != nil {
		return fmt.Errorf("%w; run the scenarios with %s set to a file first", err, report.ResultsVariable)
	}
	defer f.Close()
	all, err := report.Read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", results, err)
	}
	merged, err := report.Merge(all)
	if err != nil {
		return fmt.Errorf("%s: %w", results, err)
	}
	commit, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").Output()
	if err != nil {
		return fmt.Errorf("git describe: %w", err)
	}
	r := report.Report{
		Commit:  strings.TrimSpace(string(commit)),
		Date:    time.Now().UTC().Format(time.RFC3339),
		Machine: report.Machine(),
		Results: merged,
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(jsonPath, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(markdownPath, []byte(r.Markdown()), 0o644)
}
