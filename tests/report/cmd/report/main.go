// Command report merges the measurements of tests and benchmarks into
// docs/report.json, and makes of it docs/report.md and the table of README.md.
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
	flag.Parse()
	if err := write(*results); err != nil {
		fmt.Fprintf(os.Stderr, "report: %v\n", err)
		os.Exit(1)
	}
}

// figuresOfTheReport are what it writes itself, and so no change of the code.
var figuresOfTheReport = []string{":!docs/report.json", ":!docs/report.md", ":!README.md"}

func write(results string) error {
	f, err := os.Open(results)
	if err != nil {
		return fmt.Errorf("%w; run the scenarios with %s set to a file first", err, report.ResultsVariable)
	}
	defer f.Close()
	all, err := report.Read(f)
	if err != nil {
		return fmt.Errorf("%s: %w", results, err)
	}
	if len(all) == 0 {
		return fmt.Errorf("%s: nothing was measured; the report is left as it was", results)
	}
	commit, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return err
	}
	changed, err := git(append([]string{"status", "--porcelain", "--", "."}, figuresOfTheReport...)...)
	if err != nil {
		return err
	}
	if changed != "" {
		commit += "-dirty"
	}
	r := report.Report{Commit: commit, Date: time.Now().UTC().Format(time.RFC3339), Machine: report.Machine(), Results: report.Merge(all)}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		return err
	}
	text, err := r.Insert(string(readme))
	if err != nil {
		return fmt.Errorf("README.md: %w", err)
	}
	for path, text := range map[string]string{"docs/report.json": string(b) + "\n", "docs/report.md": r.Markdown(), "README.md": text} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	fmt.Printf("report: %d measurements of %s are in docs/report.json, docs/report.md and README.md\n", len(all), results)
	return nil
}

func git(args ...string) (string, error) {
	out, err := exec.Command("git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}
