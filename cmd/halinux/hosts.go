package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"

	"github.com/halinux/halinux/stacks"
)

// read reads a stack's configuration without the engine and without its
// secrets: enough to look at the hosts.
func read(stack string) (*stacks.Config, error) {
	_, s, err := settings(stack)
	if err != nil {
		return nil, err
	}
	values, err := s.Config.Decrypt(config.NewBlindingDecrypter())
	if err != nil {
		return nil, err
	}
	texts := map[string]string{}
	for key, value := range values {
		if key.Namespace() == "halinux" {
			texts[key.Name()] = value
		}
	}
	return stacks.Read(texts)
}

// preflight asks all hosts at once whether they are what the platform needs,
// and prints one table of what is wrong.
func preflight(ctx context.Context, stack string) error {
	c, err := read(stack)
	if err != nil {
		return err
	}
	report, err := stacks.Preflight(ctx, c)
	if err != nil {
		return err
	}
	if report.Err() != nil {
		return report.Err()
	}
	fmt.Printf("preflight: %d hosts asked, nothing found\n", len(report.Hosts))
	return nil
}

// drift prints how the hosts differ from what up left there. It needs the
// hosts and the settings, and neither the engine nor any secret.
func drift(ctx context.Context, stack string) error {
	c, err := read(stack)
	if err != nil {
		return err
	}
	differs := false
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "HOST\tPHASE\tSTATE")
	for _, h := range stacks.Probe(ctx, c) {
		switch d := h.Drift; {
		case d.Err != nil:
			differs = true
			fmt.Fprintf(w, "%s\t\tunknown: %s\n", h.Name, d.Err)
		case len(d.Phases) == 0:
			differs = true
			fmt.Fprintf(w, "%s\t\tdrifted: nothing that up makes is on this host\n", h.Name)
		default:
			var names []string
			for name := range d.Phases {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				state := "as it was left"
				if lines := d.Phases[name].Differences; len(lines) > 0 {
					differs = true
					state = "drifted: " + strings.Join(lines, "\n\t\t         ")
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", h.Name, name, state)
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if differs {
		return exitCode(2)
	}
	return nil
}
