// Command bench measures halinux: against Ansible doing the same work on the
// same hosts of the lab, and how its cost grows with the number of hosts.
//
// The hosts of `bench ansible` and `bench cluster` are a lab of its own; the simulated ones of
// `bench hosts` and `bench workers` need loopback only. Every run appends a
// measurement to the file that HALINUX_RESULTS names; package report judges.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/halinux/halinux/tests/simulated"
)

const usage = `usage: bench [flags] VERB
verbs:
  ansible    the same work by Ansible and by halinux, on a lab of its own (root)
  hosts      how cost grows with the number of (simulated) hosts
  cluster    a cluster from bare hosts, on a lab of its own, against kubeadm alone (root)
  workers    how cost grows with the number of (simulated) workers of a cluster
flags:
`

func main() {
	sizes := flag.String("sizes", "", "numbers of simulated hosts; by default 10,100,1000, and 100,1000 workers")
	runs := flag.Int("runs", 5, "runs of each tool")
	within := flag.Duration("within", 25*time.Minute, "begin no run of the tools that would end later")
	bare := flag.Bool("bare", true, "begin on hosts without packages too")
	lab := flag.String("lab", "bin/lab", "the program of the lab")
	halinux := flag.String("halinux", "bin/halinux", "the program that is measured")
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage); flag.PrintDefaults() }
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, flag.Args(), *sizes, *runs, *within, *bare, *lab, *halinux); err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, sizes string, runs int, within time.Duration, bare bool, lab, halinux string) error {
	if len(args) == 4 && args[0] == "_simulated" {
		first, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return simulated.Serve(first, n, args[3])
	}
	if len(args) != 1 {
		flag.Usage()
		return errors.New("one verb is needed")
	}
	halinux, err := filepath.Abs(halinux)
	if err != nil {
		return err
	}
	work, err := workFolder()
	if err != nil {
		return err
	}
	lock, err := os.Create(filepath.Join(work, "lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return fmt.Errorf("%s: %w; another benchmark is running", lock.Name(), err)
	}
	switch args[0] {
	case "ansible":
		if lab, err = filepath.Abs(lab); err != nil {
			return err
		}
		return compare(ctx, runs, within, bare, lab, halinux, filepath.Join(work, "ansible"))
	case "cluster":
		if lab, err = filepath.Abs(lab); err != nil {
			return err
		}
		return benchCluster(ctx, lab, halinux, filepath.Join(work, "cluster"))
	case "hosts", "workers":
		k, numbers := plainHosts, cmp.Or(sizes, "10,100,1000")
		if args[0] == "workers" {
			k, numbers = workers, cmp.Or(sizes, "100,1000")
		}
		all, err := parseSizes(numbers)
		if err != nil {
			return err
		}
		return growth(ctx, k, all, halinux, work)
	default:
		return fmt.Errorf("there is no verb %q", args[0])
	}
}

func parseSizes(text string) ([]int, error) {
	var all []int
	for _, word := range strings.Split(text, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > 1900 {
			return nil, fmt.Errorf("%q is not a number of hosts up to 1900", word)
		}
		all = append(all, n)
	}
	return all, nil
}

// workFolder is on a disk, where bytes written can be counted, and not in
// /tmp, which may be memory.
func workFolder() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(home, ".cache", "halinux", "bench")
	return dir, os.MkdirAll(dir, 0o755)
}
